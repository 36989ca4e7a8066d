// Convolutions with three rows, four output rows at once. Included once for each instruction set, after conv_kernels.h.
//
// Six input rows become six transformed ones, element by element; each is convolved along the row with its own weights, all
// channels, by the same blocks as a plain convolution; six sums become four output rows. All transforms work down columns: no
// shuffles, and any width.
#pragma once

namespace {

using thinlens::WINOGRAD_ROWS;
using thinlens::WINOGRAD_TAPS;

struct WinogradScratch {
    const float **rows;
    int32_t *off;
    float *padded, *transformed, *sums;
    int64_t plane;  // of a padded or transformed row
};

constexpr int64_t SUM_PLANE = TILE + 16;

WinogradScratch winograd_scratch(const Task &task) {
    const Op &op = *task.op;
    char *at = static_cast<char *>(task.scratch);
    WinogradScratch scratch;
    scratch.plane = thinlens::round_up(TILE + op.kw - 1, 16) + 16;
    scratch.rows = reinterpret_cast<const float **>(at), at += thinlens::round_up(int64_t(op.in) * 8, 64);
    scratch.off = reinterpret_cast<int32_t *>(at), at += 256 * 4;
    scratch.padded = reinterpret_cast<float *>(at), at += WINOGRAD_TAPS * scratch.plane * 4;
    scratch.transformed = reinterpret_cast<float *>(at), at += WINOGRAD_TAPS * int64_t(op.in) * scratch.plane * 4;
    scratch.sums = reinterpret_cast<float *>(at);
    return scratch;
}

// Six rows of one channel, from input column `base` on: where they lie, or copies with the image's border made.
void six_rows(const Task &task, int channel, int64_t base, int64_t needed, bool direct, float *padded, int64_t plane, const float **rows) {
    const Source &in = task.in[0];
    for (int r = 0; r < WINOGRAD_TAPS; ++r) {
        const float *row = in.rows[r];
        if (!row) {
            rows[r] = task.zeros;
        } else if (direct) {
            rows[r] = row + channel * in.plane + base;
        } else {
            copy_columns(in, row + channel * in.plane, base, needed, task.op->pad_mode, padded + r * plane);
            rows[r] = padded + r * plane;
        }
    }
}

void transform_rows(const float *const *rows, int64_t columns, float *to, int64_t step) {
    const V four = V::set(4.0f), five = V::set(-5.0f), two = V::set(2.0f), minus = V::set(-4.0f);
    for (int64_t x = 0; x < columns; x += V::LANES) {
        const V r0 = V::load(rows[0] + x), r1 = V::load(rows[1] + x), r2 = V::load(rows[2] + x);
        const V r3 = V::load(rows[3] + x), r4 = V::load(rows[4] + x), r5 = V::load(rows[5] + x);
        const V a = V::fma(minus, r2, r4), b = V::fma(minus, r1, r3), c = r4 - r2, d = two * (r3 - r1);
        V::fma(four, r0, V::fma(five, r2, r4)).store(to + x);
        (a + b).store(to + step + x);
        (a - b).store(to + 2 * step + x);
        (c + d).store(to + 3 * step + x);
        (c - d).store(to + 4 * step + x);
        V::fma(four, r1, V::fma(five, r3, r5)).store(to + 5 * step + x);
    }
}

void output_rows(const Task &task, int channel, int64_t x0, int64_t columns, const float *sums, int64_t step) {
    const Op &op = *task.op;
    const V bias = V::set(op.bias ? op.bias[channel] : 0.0f);
    const V slope = V::set(op.act == thinlens::PRELU ? op.slopes[op.slope_count == 1 ? 0 : channel] : op.slope);
    const V two = V::set(2.0f), four = V::set(4.0f), eight = V::set(8.0f);
    float *out[WINOGRAD_ROWS];
    for (int i = 0; i < WINOGRAD_ROWS; ++i) out[i] = static_cast<float *>(task.raw[i]) + channel * task.out_plane + x0;
    for (int64_t x = 0; x < columns; x += V::LANES) {
        const V m0 = V::load(sums + x), m1 = V::load(sums + step + x), m2 = V::load(sums + 2 * step + x);
        const V m3 = V::load(sums + 3 * step + x), m4 = V::load(sums + 4 * step + x), m5 = V::load(sums + 5 * step + x);
        const V s1 = m1 + m2, d1 = m1 - m2, s2 = m3 + m4, d2 = m3 - m4;
        activated((m0 + s1) + (s2 + bias), op.act, slope).store(out[0] + x);
        activated(V::fma(two, d2, d1) + bias, op.act, slope).store(out[1] + x);
        activated(V::fma(four, s2, s1) + bias, op.act, slope).store(out[2] + x);
        activated(V::fma(eight, d2, d1) + (m5 + bias), op.act, slope).store(out[3] + x);
    }
}

void winograd(const Task &task) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    const WinogradScratch scratch = winograd_scratch(task);
    const int64_t row_step = int64_t(op.in) * scratch.plane, sum_step = int64_t(op.out) * SUM_PLANE;
    for (int k = 0; k < op.kw; ++k) scratch.off[k] = k;
    for (int64_t x0 = next_tile(task, -TILE); x0 < task.out_width; x0 = next_tile(task, x0)) {
        const int64_t columns = least(TILE, task.out_width - x0), base = x0 - op.pw, needed = columns + op.kw - 1;
        const int64_t whole = thinlens::round_up(needed, 16);
        const bool direct = base >= 0 && base + needed <= in.width && base + whole <= in.plane;
        for (int i = 0; i < op.in; ++i) {
            const float *rows[WINOGRAD_TAPS];
            six_rows(task, i, base, needed, direct, scratch.padded, scratch.plane, rows);
            transform_rows(rows, needed, scratch.transformed + i * scratch.plane, row_step);
        }
        for (int t = 0; t < WINOGRAD_TAPS; ++t) {
            for (int i = 0; i < op.in; ++i) scratch.rows[i] = scratch.transformed + t * row_step + i * scratch.plane;
            const float *weight = op.phases[t].weight.data();
            const Epilogue nothing{thinlens::NONE, {}};
            for (int64_t at = 0; at < op.in; at += ROWS_AT_ONCE) {
                const int64_t rows = least(ROWS_AT_ONCE, op.in - at);
                const Taps some{scratch.rows + at, rows, scratch.off, op.kw, columns, at == 0, at + rows == op.in};
                for (int b = 0; b < op.out; b += OC_BLOCK) {
                    const int count = int(least(OC_BLOCK, op.out - b));
                    BLOCKS[count](some, weight + int64_t(b) * op.in * op.kw + at * op.kw * count, nullptr, nothing,
                                  scratch.sums + t * sum_step + b * SUM_PLANE, SUM_PLANE);
                }
            }
        }
        for (int o = 0; o < op.out; ++o) output_rows(task, o, x0, columns, scratch.sums + o * SUM_PLANE, sum_step);
    }
}

}  // namespace
