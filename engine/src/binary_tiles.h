// Binary convolutions, one tile of a row. Included once for each instruction set, after low_kernels.h.
//
// Planes hold 32-bit elements: the signs of 32 neighbouring channels, a set bit for -1. So one broadcast weight meets a vector of
// columns, as in float; a product of signs is an exclusive or, and bits that differ are counted. Counts are exact in any order.
#pragma once

#if defined(_MSC_VER)
#define NEVER_INLINE __declspec(noinline)
#else
#define NEVER_INLINE __attribute__((noinline))
#endif

namespace {

// Compilers would rather load a vector anew for each instruction that takes it, across two cache lines.
inline void keep_in_register(I &x) {
#if defined(__GNUC__) && (defined(THINLENS_USE_AVX512) || defined(THINLENS_USE_AVX2))
    asm("" : "+v"(x.v));
#else
    (void)x;
#endif
}

// Set bits of each 32-bit lane, of at most MOST vectors.
#if defined(THINLENS_USE_AVX512) && defined(THINLENS_POPCNT)

struct Bits {
    static constexpr int64_t MOST = int64_t(1) << 26;
    __m512i v = _mm512_setzero_si512();
    void add(I x) { v = _mm512_add_epi32(v, _mm512_popcnt_epi32(x.v)); }
    I total() const { return {v}; }
};
inline I differing(I a, I b) { return {_mm512_xor_si512(a.v, b.v)}; }

#elif defined(THINLENS_USE_AVX512)

// Counts of half bytes from a table, summed in bytes.
struct Bits {
    static constexpr int64_t MOST = 31;
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
    static constexpr int64_t MOST = 31;
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
    static constexpr int64_t MOST = 31;
    uint8x16_t v = vdupq_n_u8(0);
    void add(I x) { v = vaddq_u8(v, vcntq_u8(vreinterpretq_u8_s32(x.v))); }
    I total() const { return {vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(v)))}; }
};
inline I differing(I a, I b) { return {veorq_s32(a.v, b.v)}; }

#else

struct Bits {
    static constexpr int64_t MOST = int64_t(1) << 26;
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

// One tile of a row in the making.
struct BinaryTile {
    const Task *task;
    const int32_t *const *taps;  // where each tap of each element begins, in the order of the weights
    int64_t tap_count, x0, columns;
    const int32_t *edges;    // what padding at the sides adds to the bits that differ, twice them: TILE of each channel; null: nothing
    const int32_t *outside;  // what rows of padding add, a number a channel
    const float *zeros;      // TILE of them
};

// Bits that differ, twice, of COUNT output channels and N vectors of columns. A function of its own, lest registers run out.
template <int COUNT, int N>
NEVER_INLINE void count_bits(const int32_t *const *taps, int64_t tap_count, int64_t x, const int32_t *weight, int32_t *twice) {
    for (int64_t first = 0; first < tap_count; first += Bits::MOST) {
        Bits bits[COUNT][N];
        const int64_t stop = least(first + Bits::MOST, tap_count);
        for (int64_t tap = first; tap < stop; ++tap, weight += COUNT) {
            I in[N];
            for (int n = 0; n < N; ++n) in[n] = I::load(taps[tap] + x + n * I::LANES), keep_in_register(in[n]);
            for (int o = 0; o < COUNT; ++o) {
                const I factor = I::set(weight[o]);
                for (int n = 0; n < N; ++n) bits[o][n].add(differing(in[n], factor));
            }
        }
        for (int o = 0; o < COUNT; ++o)
            for (int n = 0; n < N; ++n) {
                int32_t *to = twice + o * TILE + x + n * I::LANES;
                const I more = bits[o][n].total() + bits[o][n].total();
                (first ? I::load(to) + more : more).store(to);
            }
    }
}

// Twice the bits that differ -> one channel of the row. All is computed in the steps of the reference, none of them fused: so both see
// the same signs after it, as long as they see the same values before.
template <class Activate>
inline void finish_channel(const BinaryTile &tile, int channel, const int32_t *twice, const Activate &activate) {
    const Task &task = *tile.task;
    const Op &op = *task.op;
    const I all = I::set(op.in * op.kh * op.kw - tile.outside[channel]);
    const V scale = V::set(op.scales[channel]), bias = V::set(op.bias ? op.bias[channel] : 0.0f), shift = V::set(op.shift ? op.shift[channel] : 0.0f);
    const V slope = V::set(op.act == thinlens::PRELU ? op.slopes[op.slope_count == 1 ? 0 : channel] : op.slope);
    const float *shortcut = op.repeat ? task.in[1].rows[0] + int64_t(channel / op.repeat) * task.in[1].plane + tile.x0 : tile.zeros;
    float *out = task.out + int64_t(channel) * task.out_plane + tile.x0;
    for (int64_t x = 0; x < tile.columns; x += V::LANES) {
        const V value = (all - I::load(twice + x)).number() * scale + bias;
        (activate(value, slope) + shift + V::load(shortcut + x)).store(out + x);
    }
}

void finish_binary(const BinaryTile &tile, int channel, int32_t *twice) {
    if (tile.edges)
        for (int64_t x = 0; x < tile.columns; ++x) twice[x] += tile.edges[channel * TILE + x];
    switch (tile.task->op->act) {
        case thinlens::NONE: return finish_channel(tile, channel, twice, [](V v, V) { return v; });
        case thinlens::PRELU: return finish_channel(tile, channel, twice, [](V v, V slope) { return activated(v, thinlens::PRELU, slope); });
        default: return finish_channel(tile, channel, twice, [&](V v, V slope) { return activated(v, tile.task->op->act, slope); });
    }
}

template <int COUNT>
void count_block(const BinaryTile &tile, const int32_t *weight, int32_t *twice) {
    constexpr int N = I::PER_BLOCK;
    for (int64_t x = 0; x < tile.columns; x += N * I::LANES) {
        if (tile.columns - x <= N / 2 * I::LANES)
            count_bits<COUNT, N / 2>(tile.taps, tile.tap_count, x, weight, twice);
        else
            count_bits<COUNT, N>(tile.taps, tile.tap_count, x, weight, twice);
    }
}

// Each block's bits are counted before those of the block before it are finished: by then they have reached the cache.
void binary_tile(const BinaryTile &tile) {
    const Op &op = *tile.task->op;
    constexpr int COUNT = thinlens::BINARY_BLOCK;
    static_assert(COUNT == 2, "a block of each size");
    alignas(64) int32_t twice[2][COUNT * TILE];
    for (int o = 0; o < op.out + COUNT; o += COUNT) {
        if (op.out - o > 1) count_block<2>(tile, op.low_weight.data() + o * tile.tap_count, twice[o / COUNT % 2]);
        if (op.out - o == 1) count_block<1>(tile, op.low_weight.data() + o * tile.tap_count, twice[o / COUNT % 2]);
        for (int done = o - COUNT; done >= 0 && done < least(o, op.out); ++done)
            finish_binary(tile, done, twice[done / COUNT % 2] + done % COUNT * TILE);
    }
}

}  // namespace
