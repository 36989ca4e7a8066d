// All ops but the convolutions, one row at a time. Included once for each instruction set, after conv_kernels.h.
#pragma once

namespace {

// Apply f to vectors of a row; planes are padded, so whole vectors may be written past the width.
template <class F>
inline void each_vector(int64_t width, F f) {
    for (int64_t x = 0; x < width; x += V::LANES) f(x);
}

inline const float *plane(const Source &in, int64_t row, int64_t channel) { return in.rows[row] + channel * in.plane; }

void activation(const Task &task) {
    const Op &op = *task.op;
    for (int c = 0; c < task.out_channels; ++c) {
        const float *in = plane(task.in[0], 0, c);
        float *out = task.out + c * task.out_plane;
        const V slope = V::set(op.act == thinlens::PRELU ? op.slopes[op.slope_count == 1 ? 0 : c] : op.slope);
        each_vector(task.out_width, [&](int64_t x) { activated(V::load(in + x), op.act, slope).store(out + x); });
    }
}

void clamp(const Task &task) {
    const V low = V::set(task.op->a), high = V::set(task.op->b);
    for (int c = 0; c < task.out_channels; ++c) {
        const float *in = plane(task.in[0], 0, c);
        float *out = task.out + c * task.out_plane;
        each_vector(task.out_width, [&](int64_t x) { V::min(high, V::max(low, V::load(in + x))).store(out + x); });
    }
}

void affine(const Task &task) {
    const Op &op = *task.op;
    for (int c = 0; c < task.out_channels; ++c) {
        const float *in = plane(task.in[0], 0, c);
        float *out = task.out + c * task.out_plane;
        const V weight = V::set(op.weight ? op.weight[c] : 1.0f), bias = V::set(op.bias ? op.bias[c] : 0.0f);
        each_vector(task.out_width, [&](int64_t x) { V::fma(weight, V::load(in + x), bias).store(out + x); });
    }
}

// One operand of a broadcast op: a row of a plane, or one number for all of it.
struct Operand {
    const float *row;
    bool single;
    V at(int64_t x) const { return single ? V::set(*row) : V::load(row + x); }
};

Operand operand(const Task &task, int j, int c) {
    const Source &in = task.in[j];
    return {plane(in, 0, in.channels == 1 ? 0 : c), in.width == 1 && task.out_width != 1};
}

template <class F>
void broadcast(const Task &task, F f) {
    for (int c = 0; c < task.out_channels; ++c) {
        const Operand a = operand(task, 0, c), b = operand(task, 1, c);
        float *out = task.out + c * task.out_plane;
        each_vector(task.out_width, [&](int64_t x) { f(a.at(x), b.at(x)).store(out + x); });
    }
}

void add(const Task &task) {
    const V a = V::set(task.op->a), b = V::set(task.op->b);
    broadcast(task, [&](V x, V y) { return V::fma(b, y, a * x); });
}

void multiply(const Task &task) {
    broadcast(task, [](V x, V y) { return x * y; });
}

inline void copy_plane(const Task &task, const float *in, int c) {
    std::memcpy(task.out + c * task.out_plane, in, size_t(task.out_width) * 4);
}

void concat(const Task &task) {
    int c = 0;
    for (int j = 0; j < task.inputs; ++j)
        for (int i = 0; i < task.in[j].channels; ++i) copy_plane(task, plane(task.in[j], 0, i), c++);
}

void gather(const Task &task) {
    for (int c = 0; c < task.out_channels; ++c) copy_plane(task, plane(task.in[0], 0, task.op->channels[c]), c);
}

void copy_row(const Task &task) {
    for (int c = 0; c < task.out_channels; ++c) copy_plane(task, plane(task.in[0], 0, c), c);
}

// A row of the band before; zeros before the first band.
void line_delay(const Task &task) {
    for (int c = 0; c < task.out_channels; ++c) {
        if (task.in[1].count)
            copy_plane(task, plane(task.in[1], 0, c), c);
        else
            std::memset(task.out + c * task.out_plane, 0, size_t(task.out_width) * 4);
    }
}

// Gates are what they see of the band and what is recalled: input, forget, output and candidate, all channels of each.
void lstm_cell(const Task &task) {
    const bool state = task.op->mode == thinlens::CELL_STATE;
    const Source &recalled = task.in[state ? 3 : 1], &cell = task.in[state ? 4 : 2];
    const int channels = task.out_channels;
    for (int c = 0; c < channels; ++c) {
        const float *s = plane(cell, 0, c);
        float *out = task.out + c * task.out_plane;
        const auto gate = [&](int input, int which, int64_t x) {
            return V::load(plane(task.in[input], 0, c) + x) + V::load(plane(recalled, 0, which * channels + c) + x);
        };
        each_vector(task.out_width, [&](int64_t x) {
            if (state)
                V::fma(vsigmoid(gate(1, 1, x)), V::load(s + x), vsigmoid(gate(0, 0, x)) * vtanh(gate(2, 3, x))).store(out + x);
            else
                (vsigmoid(gate(0, 2, x)) * vtanh(V::load(s + x))).store(out + x);
        });
    }
}

void channel_max(const Task &task) {
    const Source &in = task.in[0];
    each_vector(task.out_width, [&](int64_t x) {
        V best = V::load(in.rows[0] + x);
        for (int c = 1; c < in.channels; ++c) best = V::max_or_nan(best, V::load(plane(in, 0, c) + x));
        best.store(task.out + x);
    });
}

void softmax_sum(const Task &task) {
    const Source &values = task.in[0], &logits = task.in[1];
    each_vector(task.out_width, [&](int64_t x) {
        V most_likely = V::load(logits.rows[0] + x);
        for (int c = 1; c < logits.channels; ++c) most_likely = V::max(most_likely, V::load(plane(logits, 0, c) + x));
        V sum = V::set(0.0f), total = V::set(0.0f);
        for (int c = 0; c < logits.channels; ++c) {
            const V weight = vexp(V::load(plane(logits, 0, c) + x) - most_likely);
            total = total + weight;
            sum = V::fma(weight, V::load(plane(values, 0, c) + x), sum);
        }
        (sum / total).store(task.out + x);
    });
}

// out[s x + p] = in_p[x]: the columns of s planes, one after the other.
void interleave(const float *const *in, int s, int64_t width, float *__restrict out) {
    const float *__restrict a = in[0], *__restrict b = in[s > 1], *__restrict c = in[s > 2 ? 2 : 0], *__restrict d = in[s > 3 ? 3 : 0];
    switch (s) {
        case 1: std::memcpy(out, a, size_t(width) * 4); return;
        case 2:
            for (int64_t x = 0; x < width; ++x) out[2 * x] = a[x], out[2 * x + 1] = b[x];
            return;
        case 3:
            for (int64_t x = 0; x < width; ++x) out[3 * x] = a[x], out[3 * x + 1] = b[x], out[3 * x + 2] = c[x];
            return;
        case 4:
            for (int64_t x = 0; x < width; ++x) out[4 * x] = a[x], out[4 * x + 1] = b[x], out[4 * x + 2] = c[x], out[4 * x + 3] = d[x];
            return;
        default:
            for (int p = 0; p < s; ++p)
                for (int64_t x = 0; x < width; ++x) out[s * x + p] = in[p][x];
    }
}

void pixel_shuffle(const Task &task) {
    const int s = task.op->scale;
    const int64_t i = task.y % s;
    const float *planes[16];
    for (int g = 0; g < task.out_channels; ++g) {
        for (int j = 0; j < s; ++j) planes[j] = plane(task.in[0], 0, (int64_t(g) * s + i) * s + j);
        interleave(planes, s, task.in[0].width, task.out + g * task.out_plane);
    }
}

void pixel_unshuffle(const Task &task) {
    const int s = task.op->scale;
    for (int c = 0; c < task.in[0].channels; ++c)
        for (int i = 0; i < s; ++i) {
            const float *in = plane(task.in[0], i, c);
            for (int j = 0; j < s; ++j) {
                float *out = task.out + ((int64_t(c) * s + i) * s + j) * task.out_plane;
                for (int64_t x = 0; x < task.out_width; ++x) out[x] = in[s * x + j];
            }
        }
}

// Vertical maximum of each column first, then along the row. Padding never wins: it is left out.
void max_pool(const Task &task) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    float *column = static_cast<float *>(task.scratch);
    for (int c = 0; c < task.out_channels; ++c) {
        int64_t first = 0;
        while (!in.rows[first]) ++first;  // padding is at most half the kernel: one row at least is inside
        std::memcpy(column, plane(in, first, c), size_t(in.width) * 4);
        for (int64_t k = first + 1; k < in.count; ++k) {
            if (!in.rows[k]) continue;
            const float *row = plane(in, k, c);
            each_vector(in.width, [&](int64_t x) { V::max_or_nan(V::load(column + x), V::load(row + x)).store(column + x); });
        }
        float *out = task.out + c * task.out_plane;
        for (int64_t x = 0; x < task.out_width; ++x) {
            const int64_t from = most(x * op.stride - op.pw, 0), to = least(x * op.stride - op.pw + op.kw, in.width);
            float best = column[from];
            for (int64_t i = from + 1; i < to; ++i) best = best != best || best > column[i] ? best : column[i];
            out[x] = best;
        }
    }
}

// Along the row, where every `factor`-th column has the same weights: phase by phase into `phases`, which are then interleaved.
void resize_by_factor(const Op &op, const float *mixed, int64_t in_width, float *phases, float *out) {
    const int64_t run = thinlens::round_up(in_width, TILE);
    const float *planes[16];
    for (int p = 0; p < op.factor; ++p) {
        const int64_t deep = 4;  // a column far enough inside an endless row
        const thinlens::ResizeTap tap = thinlens::resize_tap(op, deep * op.factor + p, 1, op.factor);
        const float *from = mixed + (tap.index - deep);
        float *phase = phases + p * run;
        planes[p] = phase;
        each_vector(in_width, [&](int64_t x) {
            V sum = V::set(tap.weight[0]) * V::load(from + x);
            for (int k = 1; k < tap.count; ++k) sum = V::fma(V::set(tap.weight[k]), V::load(from + x + k), sum);
            sum.store(phase + x);
        });
    }
    interleave(planes, op.factor, in_width, out);
}

void resize_by_taps(const thinlens::ResizeTap *taps, const float *mixed, int64_t out_width, float *out) {
    for (int64_t x = 0; x < out_width; ++x) {
        const thinlens::ResizeTap &tap = taps[x];
        float sum = tap.weight[0] * mixed[tap.index];
        for (int k = 1; k < tap.count; ++k) sum = std::fma(tap.weight[k], mixed[tap.index + k], sum);
        out[x] = sum;
    }
}

constexpr int AROUND = 3;  // columns outside the image that taps may read

// Rows first, into `mixed`; then columns. The border's columns are made once the rows are mixed.
void resize(const Task &task) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    const thinlens::ResizeTap tap = thinlens::resize_tap(op, task.y, in.height, task.out_height);
    auto *taps = static_cast<thinlens::ResizeTap *>(task.scratch);
    if (!op.factor)
        for (int64_t x = 0; x < task.out_width; ++x) taps[x] = thinlens::resize_tap(op, x, in.width, task.out_width);
    float *mixed = reinterpret_cast<float *>(taps + (op.factor ? 0 : task.out_width)) + 16;
    const int pad_mode = op.border == 1 ? int(thinlens::SYMMETRIC) : int(thinlens::EDGE);
    for (int c = 0; c < task.out_channels; ++c) {
        each_vector(in.width, [&](int64_t x) {
            V sum = V::set(tap.weight[0]) * V::load(plane(in, 0, c) + x);
            for (int k = 1; k < tap.count; ++k) sum = V::fma(V::set(tap.weight[k]), V::load(plane(in, k, c) + x), sum);
            sum.store(mixed + x);
        });
        for (int k = 1; k <= AROUND; ++k) {
            mixed[-k] = mixed[thinlens::resolve(pad_mode, -k, in.width)];
            mixed[in.width - 1 + k] = mixed[thinlens::resolve(pad_mode, in.width - 1 + k, in.width)];
        }
        float *out = task.out + c * task.out_plane;
        if (op.factor)
            resize_by_factor(op, mixed, in.width, mixed + thinlens::round_up(in.width, TILE) + TILE, out);
        else
            resize_by_taps(taps, mixed, task.out_width, out);
    }
}

void pad(const Task &task) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    for (int c = 0; c < task.out_channels; ++c) {
        float *out = task.out + c * task.out_plane;
        if (in.rows[0])
            copy_columns(in, plane(in, 0, c), -op.left, task.out_width, op.pad_mode, out);
        else
            std::memset(out, 0, size_t(task.out_width) * 4);
    }
}

void crop(const Task &task) {
    for (int c = 0; c < task.out_channels; ++c) copy_plane(task, plane(task.in[0], 0, c) + task.op->left, c);
}

// Sums of a channel's values and squares, row after row, pixel after pixel, in double precision.
void absorb_sums(const Source &row, double *sums) {
    for (int c = 0; c < row.channels; ++c) {
        const float *in = plane(row, 0, c);
        double sum = sums[2 * c], squares = sums[2 * c + 1];
        for (int64_t x = 0; x < row.width; ++x) {
            const double value = in[x];
            sum += value, squares += value * value;
        }
        sums[2 * c] = sum, sums[2 * c + 1] = squares;
    }
}

void global_statistics(const Task &task) {
    const double *sums = static_cast<const double *>(task.state);
    const double count = double(task.in[0].width) * double(task.in[0].height);
    for (int c = 0; c < task.out_channels; ++c) {
        const double mean = sums[2 * c] / count, variance = sums[2 * c + 1] / count - mean * mean;
        const double result = task.op->kind == thinlens::GLOBAL_MEAN ? mean : std::sqrt(variance > 0 ? variance : 0);
        task.out[c * task.out_plane] = float(result);
    }
}

void edge_sr(const Task &task) {
    const Op &op = *task.op;
    thinlens_edge_sr().produce(op.edge_sr, task.lines, task.in[0].width, task.raw, op.raw_out, task.scratch);
}

}  // namespace
