// Sums of convolutions in low precision, one tile of a row. Included once for each instruction set.
//
// Planes hold 32-bit elements: four neighbouring channels as unsigned bytes, or two as bfloat16. So one broadcast weight meets a
// vector of columns, as in float: only an element's product is a little sum of its own.
//
// Integers are exact in any order. Floats are not: each tap's even and odd channels are summed apart, at most LOW_DEPTH elements of
// them, and then added, even and odd first, to what there is: the order of Intel's tile instructions, which every other set repeats.
// Source: Intel, "Architecture Instruction Set Extensions Programming Reference", TDPBF16PS.
#pragma once

#include "kernels.h"
#include "low_simd.h"

namespace {

using thinlens::LowSums;
using thinlens::LOW_BLOCK;
using thinlens::Op;

// COUNT output channels of N vectors of columns. There is one of everything at least: loops that know it keep the sums in registers.
template <int COUNT, int N>
inline void int8_vectors(const LowSums &task, int64_t elements, int64_t x, const int32_t *weight, int32_t *out) {
    const int64_t kh = task.op->kh, kw = task.op->kw;
    I sum[COUNT][N];
    for (int o = 0; o < COUNT; ++o)
        for (int n = 0; n < N; ++n) sum[o][n] = I::set(0);
    int64_t ky = 0;
    do {
        const int32_t *row = task.rows[ky].first + x;
        const int64_t plane = task.rows[ky].plane;
        int64_t e = 0;
        do {
            int64_t kx = 0;
            do {
                I in[N];
                for (int n = 0; n < N; ++n) in[n] = I::load(row + kx + n * I::LANES);
                for (int o = 0; o < COUNT; ++o) {
                    const I factor = I::set(weight[o]);
                    for (int n = 0; n < N; ++n) sum[o][n] = I::dot(sum[o][n], in[n], factor);
                }
                weight += COUNT;
            } while (++kx < kw);
            row += plane;
        } while (++e < elements);
    } while (++ky < kh);
    for (int o = 0; o < COUNT; ++o)
        for (int n = 0; n < N; ++n) sum[o][n].store(out + o * task.sum_plane + x + n * I::LANES);
}

template <int COUNT, int N>
inline void bfloat16_vectors(const LowSums &task, int64_t x, const int32_t *weight, float *out) {
    const Op &op = *task.op;
    V sum[COUNT][N], even[COUNT][N], odd[COUNT][N];
    for (int o = 0; o < COUNT; ++o)
        for (int n = 0; n < N; ++n) sum[o][n] = V::set(0.0f);
    for (int ky = 0; ky < op.kh; ++ky)
        for (int kx = 0; kx < op.kw; ++kx)
            for (int64_t first = 0, depth = op.low_depth(), stop = op.low_elements(); first < stop; first += depth) {
                for (int o = 0; o < COUNT; ++o)
                    for (int n = 0; n < N; ++n) even[o][n] = odd[o][n] = V::set(0.0f);
                for (int64_t e = first; e < first + depth && e < stop; ++e, weight += 2 * COUNT) {
                    const int32_t *row = task.rows[ky].first + e * task.rows[ky].plane + kx + x;
                    for (int n = 0; n < N; ++n) {
                        const I pair = I::load(row + n * I::LANES);
                        for (int o = 0; o < COUNT; ++o) {
                            even[o][n] = V::fma(pair.even(), I::set(weight[2 * o]).as_float(), even[o][n]);
                            odd[o][n] = V::fma(pair.odd(), I::set(weight[2 * o + 1]).as_float(), odd[o][n]);
                        }
                    }
                }
                for (int o = 0; o < COUNT; ++o)
                    for (int n = 0; n < N; ++n) sum[o][n] = sum[o][n] + (even[o][n] + odd[o][n]);
            }
    for (int o = 0; o < COUNT; ++o)
        for (int n = 0; n < N; ++n) sum[o][n].store(out + o * task.sum_plane + x + n * V::LANES);
}

// All vectors of a tile, PER_BLOCK at a time; the last ones, if there are fewer, on their own.
template <int COUNT>
void int8_block(const LowSums &task, int first, const int32_t *weight) {
    constexpr int N = I::PER_BLOCK, LESS = N > 2 ? 2 : 1;
    int32_t *out = static_cast<int32_t *>(task.sums) + first * task.sum_plane;
    const int64_t elements = task.op->low_elements();
    int64_t x = 0;
    for (; x + LESS * I::LANES < task.columns; x += N * I::LANES) int8_vectors<COUNT, N>(task, elements, x, weight, out);
    if (x < task.columns) int8_vectors<COUNT, LESS>(task, elements, x, weight, out);
}

template <int COUNT>
void bfloat16_block(const LowSums &task, int first, const int32_t *weight) {
    float *out = static_cast<float *>(task.sums) + first * task.sum_plane;
    constexpr int N = I::PER_BLOCK / 2;
    for (int64_t x = 0; x < task.columns; x += N * V::LANES) bfloat16_vectors<COUNT, N>(task, x, weight, out);
}

using thinlens::LowBlock;
const LowBlock INT8_BLOCKS[LOW_BLOCK + 1] = {nullptr, int8_block<1>, int8_block<2>, int8_block<3>, int8_block<4>};
const LowBlock BFLOAT16_BLOCKS[LOW_BLOCK + 1] = {nullptr, bfloat16_block<1>, bfloat16_block<2>, bfloat16_block<3>, bfloat16_block<4>};

void low_sums(const LowSums &task) {
    const Op &op = *task.op;
    const int64_t taps = op.low_elements() * op.kh * op.kw * (op.precision == thinlens::INT8 ? 1 : 2);
    const LowBlock *blocks = op.precision == thinlens::INT8 ? INT8_BLOCKS : BFLOAT16_BLOCKS;
    for (int o = 0; o < op.out; o += LOW_BLOCK) {
        const int count = op.out - o < LOW_BLOCK ? op.out - o : LOW_BLOCK;
        blocks[count](task, o, op.low_weight.data() + o * taps);
    }
}

}  // namespace
