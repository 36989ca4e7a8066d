// Signs of values, and binary convolutions of them, one row at a time. Included once for each instruction set, after low_kernels.h.
//
// All is computed in the steps of the reference, none of them fused: so both see the same signs, as long as they see the same values.
#pragma once

namespace {

// A set bit for -1. A threshold is never -0, so no sum is.
void sign(const Task &task) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    constexpr int N = I::PER_BLOCK, PER = thinlens::channels_of_element(thinlens::BINARY);
    const I top = I::set(int32_t(0x80000000u));
    Levels levels(1.0f, 0);
    for (int first = 0; first < in.channels; first += PER) {
        const int stop = int(least(first + PER, in.channels));
        int32_t *out = elements(task.out) + int64_t(first / PER) * task.out_plane;
        for (int64_t x0 = 0; x0 < task.out_width; x0 += N * I::LANES) {
            I element[N];
            for (int n = 0; n < N; ++n) element[n] = I::set(0);
            for (int c = first; c < stop; ++c) {
                const float *row = in.rows[0] + int64_t(c) * in.plane + x0;
                const V threshold = V::set(op.bias[c] + 0.0f);
                for (int n = 0; n < N; ++n) {
                    const V x = V::load(row + n * I::LANES);
                    levels.left = most(0, task.out_width - x0 - n * I::LANES);
                    levels.note(x);
                    element[n] = element[n].right<1>() | (I::bits(x + threshold) & top);
                }
            }
            for (int n = 0; n < N; ++n) {
                for (int c = stop; c < first + PER; ++c) element[n] = element[n].right<1>();
                element[n].store(out + x0 + n * I::LANES);
            }
        }
    }
    levels.report(task.not_a_number);
}

// The sum of a channel's weights that kernel column kx has in the rows inside the image, or outside it.
int32_t weights_at(const Task &task, int channel, int kx, bool inside) {
    const Op &op = *task.op;
    int32_t sum = 0;
    for (int ky = 0; ky < op.kh; ++ky)
        if ((task.in[0].rows[ky] != nullptr) == inside) sum += op.corrections[(int64_t(channel) * op.kh + ky) * op.kw + kx];
    return sum;
}

// Padding was counted as +1. What is wrong by that is added to twice the bits that differ: in columns whose kernel leaves the image at the
// sides here; the rows above and below are left to `outside_rows`.
void correct_sides(const Task &task, int32_t *sums, int64_t x0, int64_t columns) {
    const Op &op = *task.op;
    const int64_t width = task.in[0].width;
    const int factor = 1 - op.pad_value;
    if (!factor) return;
    for (int64_t x = x0; x < x0 + columns; ++x) {
        if (x >= op.pw && x - op.pw + op.kw <= width) {
            x = most(x, least(x0 + columns, width + op.pw - op.kw + 1) - 1);  // on to the last one whose kernel lies inside
            continue;
        }
        for (int o = 0; o < op.out; ++o)
            for (int kx = 0; kx < op.kw; ++kx)
                if (x - op.pw + kx < 0 || x - op.pw + kx >= width) sums[o * TILE + x - x0] += factor * weights_at(task, o, kx, true);
    }
}

int32_t outside_rows(const Task &task, int channel) {
    const Op &op = *task.op;
    int32_t sum = 0;
    for (int kx = 0; kx < op.kw; ++kx) sum += weights_at(task, channel, kx, false);
    return (1 - op.pad_value) * sum;
}

// Sums of a tile -> the row's values there.
void finish_binary(const Task &task, const int32_t *sums, int64_t x0, int64_t columns) {
    const Op &op = *task.op;
    bool edge = false;
    for (int ky = 0; ky < op.kh; ++ky) edge = edge || !task.in[0].rows[ky];
    for (int o = 0; o < op.out; ++o) {
        const I all = I::set(op.in * op.kh * op.kw - (edge ? outside_rows(task, o) : 0));
        const V scale = V::set(op.scales[o]), bias = V::set(op.bias ? op.bias[o] : 0.0f), shift = V::set(op.shift ? op.shift[o] : 0.0f);
        const V slope = V::set(op.act == thinlens::PRELU ? op.slopes[op.slope_count == 1 ? 0 : o] : op.slope);
        const float *shortcut = op.repeat ? task.in[1].rows[0] + int64_t(o / op.repeat) * task.in[1].plane + x0 : nullptr;
        const int32_t *sum = sums + o * TILE;
        float *out = task.out + int64_t(o) * task.out_plane + x0;
        for (int64_t x = 0; x < columns; x += V::LANES) {
            const V value = (all - I::load(sum + x)).number() * scale + bias;
            (activated(value, op.act, slope) + shift + (shortcut ? V::load(shortcut + x) : V::set(0.0f))).store(out + x);
        }
    }
}

void binary_conv2d(const Task &task) {
    const Op &op = *task.op;
    const LowScratch scratch = low_scratch(task);
    for (int64_t x0 = next_tile(task, -TILE); x0 < task.out_width; x0 = next_tile(task, x0)) {
        const int64_t columns = least(TILE, task.out_width - x0);
        point_at_rows(task, scratch, x0, columns);
        task.kernels->binary_sums({&op, scratch.rows, columns, scratch.sums, TILE});
        correct_sides(task, scratch.sums, x0, columns);
        finish_binary(task, scratch.sums, x0, columns);
    }
}

}  // namespace
