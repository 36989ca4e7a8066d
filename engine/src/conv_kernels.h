// Convolutions, plain and transposed, one row at a time. Included once for each instruction set, after simd.h.
//
// Every output is bias + sum of weight * input over (input channel, kernel row, kernel column), in that order, by fused
// multiply-adds: vectors lie along the row, so the order of an output's additions is the same for every width of vector.
#pragma once

namespace {

using thinlens::ConvPhase;
using thinlens::OC_BLOCK;
using thinlens::Op;
using thinlens::Source;
using thinlens::Task;
using thinlens::TILE;

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Activations that need no more than a maximum are applied in registers.
struct Epilogue {
    int act;
    float slope[OC_BLOCK];
};

inline V activated(V x, int act, V slope) {
    const V zero = V::set(0.0f);
    switch (act) {
        case thinlens::RELU: return V::max(zero, x);
        case thinlens::LEAKY:
        case thinlens::PRELU: return V::fma(slope, V::min(zero, x), V::max(zero, x));
        case thinlens::TANH: return vtanh(x);
        case thinlens::SIGMOID: return vsigmoid(x);
        default: return x;
    }
}

// Some taps of one tile: rows for (input channel, kernel row), each pointing at its first tap, and `off`, how far right the taps lie.
struct Taps {
    const float *const *rows;
    int64_t row_count;
    const int32_t *off;
    int64_t count;  // of each row
    int64_t columns;  // of the tile that are needed
    bool first, last;  // the sums begin with the bias, or go on from what is stored; they are done, or only stored
};

// COUNT output channels of N vectors of columns, from column x of a tile on.
template <int COUNT, int N>
inline void conv_vectors(const Taps &all, int64_t x, const float *weight, const float *bias, const Epilogue &epilogue, float *out,
                         int64_t out_plane) {
    V sum[COUNT][N];
    for (int o = 0; o < COUNT; ++o)
        for (int n = 0; n < N; ++n)
            sum[o][n] = all.first ? V::set(bias ? bias[o] : 0.0f) : V::load(out + o * out_plane + x + n * V::LANES);
    for (int64_t r = 0; r < all.row_count; ++r) {
        const float *row = all.rows[r] + x;
        for (int64_t k = 0; k < all.count; ++k, weight += COUNT) {
            const float *p = row + all.off[k];
            V in[N];
            for (int n = 0; n < N; ++n) in[n] = V::load(p + n * V::LANES);
            for (int o = 0; o < COUNT; ++o) {
                const V factor = V::set(weight[o]);
                for (int n = 0; n < N; ++n) sum[o][n] = V::fma(factor, in[n], sum[o][n]);
            }
        }
    }
    const int act = all.last ? epilogue.act : int(thinlens::NONE);
    for (int o = 0; o < COUNT; ++o)
        for (int n = 0; n < N; ++n) activated(sum[o][n], act, V::set(epilogue.slope[o])).store(out + o * out_plane + x + n * V::LANES);
}

// COUNT output channels of one tile.
template <int COUNT>
void conv_block(const Taps &all, const float *weight, const float *bias, const Epilogue &epilogue, float *out, int64_t out_plane) {
    constexpr int N = V::PER_BLOCK, STEP = N * V::LANES;
    for (int64_t x = 0; x < all.columns; x += STEP) {
        const int64_t left = all.columns - x;
        if (N >= 4 && left <= V::LANES)
            conv_vectors<COUNT, 1>(all, x, weight, bias, epilogue, out, out_plane);
        else if (N >= 4 && left <= 2 * V::LANES)
            conv_vectors<COUNT, 2>(all, x, weight, bias, epilogue, out, out_plane);
        else
            conv_vectors<COUNT, N>(all, x, weight, bias, epilogue, out, out_plane);
    }
}

using Block = void (*)(const Taps &, const float *, const float *, const Epilogue &, float *, int64_t);
const Block BLOCKS[OC_BLOCK + 1] = {nullptr, conv_block<1>, conv_block<2>, conv_block<3>, conv_block<4>, conv_block<5>, conv_block<6>};

// Copy input columns [base, base + count) of one row to `to`, columns outside the image made by the pad mode.
void copy_columns(const Source &in, const float *row, int64_t base, int64_t count, int pad_mode, float *to) {
    const int64_t first = least(most(-base, 0), count), stop = most(first, least(count, in.width - base));
    const auto outside = [&](int64_t from, int64_t end) {
        for (int64_t j = from; j < end; ++j) {
            const int64_t column = thinlens::resolve(pad_mode, base + j, in.width);
            to[j] = column < 0 ? 0.0f : row[column];
        }
    };
    outside(0, first);
    if (first < stop) std::memcpy(to + first, row + base + first, size_t(stop - first) * 4);
    outside(stop, count);
}

// The same, taken apart into `stride` runs: run p holds columns base + p, base + p + stride, ...
void copy_apart(const Source &in, const float *row, int64_t base, int64_t count, int pad_mode, int stride, int64_t run, float *to) {
    for (int64_t j = 0; j < count; ++j) {
        const int64_t from = base + j >= 0 && base + j < in.width ? base + j : thinlens::resolve(pad_mode, base + j, in.width);
        to[(j % stride) * run + j / stride] = from < 0 ? 0.0f : row[from];
    }
}

// The part of a convolution's scratch: pointers, packed rows, one block of a tile.
struct ConvScratch {
    const float **rows;
    float *packed, *tile;
    int32_t *off;
};

// The next column where a tile begins; `before` is the one before, -TILE at first.
inline int64_t next_tile(const Task &task, int64_t before) {
    return task.claim ? task.claim(task.claims) * TILE : before + TILE;
}

// One phase of one row. Output column x (of `width`) reads input columns x * stride + base + column[k].
struct Pass {
    const Task *task;
    const ConvPhase *phase;
    const Source *in;
    const int64_t *source_row;  // for each kernel row of the phase: which of the source's rows
    int stride;
    int64_t base, width;
};

int64_t span_of(const Pass &pass) {
    int64_t span = 1;
    for (int32_t column : pass.phase->columns) span = most(span, column + 1);
    return span;
}

// Point `rows` at the taps of the tile that begins at column x0; pack them where they leave the image or are strided.
void gather_rows(const Pass &pass, int group, int64_t x0, const ConvScratch &scratch, int64_t span) {
    const Task &task = *pass.task;
    const Source &in = *pass.in;
    const int per_group = in.channels / task.op->groups;
    const int64_t kernel_rows = int64_t(pass.phase->rows.size());
    const int64_t base = x0 * pass.stride + pass.base, last = least(x0 + TILE, pass.width) - 1;
    const bool direct = pass.stride == 1 && base >= 0 && last + pass.base + span <= in.width && base + TILE + span - 1 <= in.plane;
    const int64_t needed = (last - x0) * pass.stride + span;  // columns that outputs inside the image read
    const int64_t run = thinlens::round_up(((TILE - 1) * pass.stride + span + pass.stride - 1) / pass.stride, 16);
    const float **to = scratch.rows;
    float *packed = scratch.packed;
    for (int i = 0; i < per_group; ++i)
        for (int64_t k = 0; k < kernel_rows; ++k, ++to) {
            const float *row = in.rows[pass.source_row[k]];
            if (!row) {
                *to = task.zeros;
                continue;
            }
            row += int64_t(group * per_group + i) * in.plane;
            if (direct) {
                *to = row + base;
                continue;
            }
            if (pass.stride == 1)
                copy_columns(in, row, base, needed, task.op->pad_mode, packed);
            else
                copy_apart(in, row, base, needed, task.op->pad_mode, pass.stride, run, packed);
            *to = packed, packed += run * pass.stride;
        }
    for (size_t k = 0; k < pass.phase->columns.size(); ++k) {
        const int64_t column = pass.phase->columns[k];
        scratch.off[k] = int32_t(pass.stride == 1 ? column : (column % pass.stride) * run + column / pass.stride);
    }
}

Epilogue epilogue_of(const Op &op, int64_t first, int count) {
    Epilogue epilogue{op.act, {}};
    for (int o = 0; o < count; ++o) epilogue.slope[o] = op.act == thinlens::PRELU ? op.slopes[op.slope_count == 1 ? 0 : first + o] : op.slope;
    return epilogue;
}

// Write every `step`-th column of a row, from `first` on, out of a tile.
void spread(const float *tile, int64_t count, int step, float *to) {
    for (int64_t x = 0; x < count; ++x) to[x * step] = tile[x];
}

// Rows whose part in a tile stays in the first-level cache while all output channels read it: 16 kB.
constexpr int64_t ROWS_AT_ONCE = 64;

// All output channels of one group in one tile.
void run_tile(const Pass &pass, const ConvScratch &scratch, int group, int64_t x0, int step, int64_t first, const float *weight) {
    const Task &task = *pass.task;
    const Op &op = *task.op;
    const int per_group = op.out / op.groups;
    const int64_t rows = int64_t(pass.in->channels / op.groups) * int64_t(pass.phase->rows.size()), taps = int64_t(pass.phase->columns.size());
    const int64_t chunk = step == 1 ? ROWS_AT_ONCE : rows;
    for (int64_t at = 0; at == 0 || at < rows; at += chunk) {
        const Taps some{scratch.rows + at, least(chunk, rows - at), scratch.off, taps, least(TILE, pass.width - x0), at == 0, at + chunk >= rows};
        for (int b = 0; b < per_group; b += OC_BLOCK) {
            const int count = int(least(OC_BLOCK, per_group - b));
            const int64_t oc = int64_t(group) * per_group + b;
            float *out = step == 1 ? task.out + oc * task.out_plane + x0 : scratch.tile;
            BLOCKS[count](some, weight + b * rows * taps + at * taps * count, op.bias ? op.bias + oc : nullptr, epilogue_of(op, oc, count), out,
                          step == 1 ? task.out_plane : TILE);
            for (int o = 0; o < count && step != 1; ++o)
                spread(scratch.tile + o * TILE, least(TILE, pass.width - x0), step, task.out + (oc + o) * task.out_plane + first + x0 * step);
        }
        if (chunk == 0) break;  // a phase without taps: the bias alone
    }
}

// Run one pass; its columns go to every `step`-th column of the output, from `first` on.
void run_pass(const Pass &pass, const ConvScratch &scratch, int step, int64_t first) {
    const Op &op = *pass.task->op;
    const int64_t span = span_of(pass), group_weights = int64_t(pass.phase->weight.size()) / op.groups;
    for (int64_t x0 = next_tile(*pass.task, -TILE); x0 < pass.width; x0 = next_tile(*pass.task, x0))
        for (int g = 0; g < op.groups; ++g) {
            gather_rows(pass, g, x0, scratch, span);
            run_tile(pass, scratch, g, x0, step, first, pass.phase->weight.data() + g * group_weights);
        }
}

ConvScratch conv_scratch(const Task &task) {
    const Op &op = *task.op;
    const int64_t rows = int64_t(op.in / op.groups) * op.kh;
    char *at = static_cast<char *>(task.scratch);
    ConvScratch scratch;
    scratch.tile = reinterpret_cast<float *>(at), at += OC_BLOCK * TILE * 4;
    scratch.off = reinterpret_cast<int32_t *>(at), at += 256 * 4;
    scratch.rows = reinterpret_cast<const float **>(at), at += thinlens::round_up(rows * 8, 64);
    scratch.packed = reinterpret_cast<float *>(at);
    return scratch;
}

void winograd(const Task &task);

void conv2d(const Task &task) {
    const Op &op = *task.op;
    if (op.winograd) return winograd(task);
    int64_t source_row[256];
    for (int k = 0; k < op.kh; ++k) source_row[k] = k;
    run_pass(Pass{&task, &op.phases[0], &task.in[0], source_row, op.stride, -int64_t(op.pw), task.out_width}, conv_scratch(task), 1, 0);
}

// Phase (ry, rx) makes the output columns whose x + pw is stride * q + rx, each from the input columns around q.
void conv_transpose2d(const Task &task) {
    const Op &op = *task.op;
    const int s = op.stride;
    const int ry = int((task.y + op.ph) % s);
    const int64_t above = op.kh - 1 >= ry ? (op.kh - 1 - ry) / s : 0;  // rows above q among the source's
    for (int rx = 0; rx < s; ++rx) {
        const ConvPhase &phase = op.phases[size_t(ry) * s + rx];
        const int64_t q0 = op.pw > rx ? (op.pw - rx + s - 1) / s : 0, first = s * q0 + rx - op.pw;
        if (first >= task.out_width) continue;
        int64_t source_row[256];
        for (size_t k = 0; k < phase.rows.size(); ++k) source_row[k] = above - phase.rows[k];
        const int64_t width = (task.out_width - first + s - 1) / s;
        run_pass(Pass{&task, &phase, &task.in[0], source_row, 1, q0 - phase.left, width}, conv_scratch(task), s, first);
    }
}

}  // namespace
