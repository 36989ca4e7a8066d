// Sums of binary convolutions, one tile of a row. Included once for each instruction set.
//
// Planes hold 32-bit elements: the signs of 32 neighbouring channels, a set bit for -1. So one broadcast weight meets a vector of
// columns, as in float; a product of signs is an exclusive or, and bits that differ are counted. Counts are exact in any order.
#pragma once

#include "kernels.h"
#include "low_simd.h"

namespace {

using thinlens::LowSums;
using thinlens::LOW_BLOCK;
using thinlens::Op;

// Set bits of each 32-bit lane, of at most MOST vectors.
#if defined(THINLENS_USE_AVX512) && defined(THINLENS_POPCNT)

struct Bits {
    static constexpr int MOST = 1 << 24;
    __m512i v = _mm512_setzero_si512();
    void add(I x) { v = _mm512_add_epi32(v, _mm512_popcnt_epi32(x.v)); }
    I total() const { return {v}; }
};
inline I differing(I a, I b) { return {_mm512_xor_si512(a.v, b.v)}; }

#elif defined(THINLENS_USE_AVX512)

// Counts of half bytes from a table, summed in bytes.
struct Bits {
    static constexpr int MOST = 31;
    __m512i v = _mm512_setzero_si512();
    void add(I x) {
        const __m512i counts = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4)), half = _mm512_set1_epi8(15);
        const __m512i low = _mm512_shuffle_epi8(counts, _mm512_and_si512(x.v, half));
        const __m512i high = _mm512_shuffle_epi8(counts, _mm512_and_si512(_mm512_srli_epi32(x.v, 4), half));
        v = _mm512_add_epi8(v, _mm512_add_epi8(low, high));
    }
    I total() const { return {_mm512_madd_epi16(_mm512_maddubs_epi16(v, _mm512_set1_epi8(1)), _mm512_set1_epi16(1))}; }
};
inline I differing(I a, I b) { return {_mm512_xor_si512(a.v, b.v)}; }

#elif defined(THINLENS_USE_AVX2)

struct Bits {
    static constexpr int MOST = 31;
    __m256i v = _mm256_setzero_si256();
    void add(I x) {
        const __m256i counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4)), half = _mm256_set1_epi8(15);
        const __m256i low = _mm256_shuffle_epi8(counts, _mm256_and_si256(x.v, half));
        const __m256i high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi32(x.v, 4), half));
        v = _mm256_add_epi8(v, _mm256_add_epi8(low, high));
    }
    I total() const { return {_mm256_madd_epi16(_mm256_maddubs_epi16(v, _mm256_set1_epi8(1)), _mm256_set1_epi16(1))}; }
};
inline I differing(I a, I b) { return {_mm256_xor_si256(a.v, b.v)}; }

#elif defined(THINLENS_USE_NEON)

struct Bits {
    static constexpr int MOST = 31;
    uint8x16_t v = vdupq_n_u8(0);
    void add(I x) { v = vaddq_u8(v, vcntq_u8(vreinterpretq_u8_s32(x.v))); }
    I total() const { return {vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(v)))}; }
};
inline I differing(I a, I b) { return {veorq_s32(a.v, b.v)}; }

#else

struct Bits {
    static constexpr int MOST = 1 << 24;
    uint32_t v = 0;
    void add(I x) {
        uint32_t u = uint32_t(x.v);
        u -= (u >> 1) & 0x55555555u;
        u = (u & 0x33333333u) + ((u >> 2) & 0x33333333u);
        v += (((u + (u >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24;
    }
    I total() const { return {int32_t(v)}; }
};
inline I differing(I a, I b) { return {a.v ^ b.v}; }

#endif

// COUNT output channels of N vectors of columns. What is stored are bits that differ, twice.
template <int COUNT, int N>
inline void binary_vectors(const LowSums &task, int64_t x, const int32_t *weight, int32_t *out) {
    const Op &op = *task.op;
    const int64_t elements = op.low_elements();
    Bits bits[COUNT][N];
    int counted = 0;
    bool stored = false;
    const auto store = [&] {
        for (int o = 0; o < COUNT; ++o)
            for (int n = 0; n < N; ++n) {
                int32_t *to = out + o * task.sum_plane + x + n * I::LANES;
                const I twice = bits[o][n].total() + bits[o][n].total();
                (stored ? I::load(to) + twice : twice).store(to);
                bits[o][n] = Bits();
            }
        stored = true, counted = 0;
    };
    for (int ky = 0; ky < op.kh; ++ky) {
        const int32_t *row = task.rows[ky].first + x;
        for (int64_t e = 0; e < elements; ++e, row += task.rows[ky].plane) {
            if (counted + op.kw > Bits::MOST) store();
            counted += op.kw;
            for (int kx = 0; kx < op.kw; ++kx, weight += COUNT) {
                I in[N];
                for (int n = 0; n < N; ++n) in[n] = I::load(row + kx + n * I::LANES);
                for (int o = 0; o < COUNT; ++o) {
                    const I factor = I::set(weight[o]);
                    for (int n = 0; n < N; ++n) bits[o][n].add(differing(in[n], factor));
                }
            }
        }
    }
    store();
}

template <int COUNT>
void binary_block(const LowSums &task, int first, const int32_t *weight) {
    constexpr int N = I::PER_BLOCK;
    int32_t *out = static_cast<int32_t *>(task.sums) + first * task.sum_plane;
    for (int64_t x = 0; x < task.columns; x += N * I::LANES) {
        if (task.columns - x <= N / 2 * I::LANES)
            binary_vectors<COUNT, N / 2>(task, x, weight, out);
        else
            binary_vectors<COUNT, N>(task, x, weight, out);
    }
}

const thinlens::LowBlock BINARY_BLOCKS[LOW_BLOCK + 1] = {nullptr, binary_block<1>, binary_block<2>, binary_block<3>, binary_block<4>};

void binary_sums(const LowSums &task) {
    const Op &op = *task.op;
    const int64_t taps = op.low_elements() * op.kh * op.kw;
    for (int o = 0; o < op.out; o += LOW_BLOCK)
        BINARY_BLOCKS[op.out - o < LOW_BLOCK ? op.out - o : LOW_BLOCK](task, o, op.low_weight.data() + o * taps);
}

}  // namespace
