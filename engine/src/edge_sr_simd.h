// One vector type for each instruction set, all with the same operations, so that the kernels are written once.
// Included by the edge_sr_<isa>.cpp only, each of which defines one THINLENS_ESR_* first; everything has internal linkage, lest
// the linker takes code of one instruction set for another.
//
//     F  N floats        I  N int32, or N pairs of int16        H  WORDS int16
//
// interleave makes pairs (a[x], b[x]) and stores them: the first half of WORDS at out, the second at out + 16, which is the order of
// x if the vectors were shuffled; load_pairs may give the halves of its N pairs in an order of its own,
// which add_pairs, subtract_pairs and dot share. The weave functions take int32 with 16 fraction bits, and
// saturate: rows of N or 2 N columns of several phases -> bytes, phases innermost.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(THINLENS_ESR_AVX512) || defined(THINLENS_ESR_AVX2)
#include <immintrin.h>
#elif defined(THINLENS_ESR_NEON)
#include <arm_neon.h>
#endif

// Makes the compiler hold a value in a register: it likes to load it again for each use, and loads across cache lines are dear.
#if defined(__GNUC__) && (defined(THINLENS_ESR_AVX512) || defined(THINLENS_ESR_AVX2))
#define THINLENS_ESR_KEEP(value) asm("" : "+v"(value))
#elif defined(__GNUC__) && defined(THINLENS_ESR_NEON)
#define THINLENS_ESR_KEEP(value) asm("" : "+w"(value))
#else
#define THINLENS_ESR_KEEP(value) (void)(value)
#endif

namespace {

// What V::shuffle does: fours of a block of 32 in the order 0 4 1 5 2 6 3 7.
[[maybe_unused]] void shuffle_fours(int16_t *block) {
    uint64_t fours[8], shuffled[8];
    std::memcpy(fours, block, sizeof fours);
    for (int i = 0; i < 8; ++i) shuffled[i] = fours[i % 2 * 4 + i / 2];
    std::memcpy(block, shuffled, sizeof shuffled);
}

#if defined(THINLENS_ESR_AVX512)

struct V {
    static constexpr bool UNROLLED = true;
    static constexpr int N = 16, WORDS = 32;
    static constexpr int BLOCK = 4;                     // vectors of one row of sums that are made together
    static constexpr int VECTORS = 2, CANDIDATES = 4;  // the same of fused sums; candidates at a time if there are many
    using F = __m512;
    using I = __m512i;
    using H = __m512i;
    static F load(const float *p) { return _mm512_loadu_ps(p); }
    static void store(float *p, F v) { _mm512_storeu_ps(p, v); }
    static F set(float v) { return _mm512_set1_ps(v); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F div(F a, F b) { return _mm512_div_ps(a, b); }
    static F max(F a, F b) { return _mm512_max_ps(a, b); }
    static F min(F a, F b) { return _mm512_min_ps(a, b); }
    static I load(const int32_t *p) { return _mm512_loadu_si512(p); }
    static void store(int32_t *p, I v) { _mm512_storeu_si512(p, v); }
    static I set(int32_t v) { return _mm512_set1_epi32(v); }
    static I add(I a, I b) { return _mm512_add_epi32(a, b); }
    static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
    static I max(I a, I b) { return _mm512_max_epi32(a, b); }
    static F rest(F a) { return _mm512_reduce_ps(a, 0); }        // a minus the nearest (even) integer
    static F scale(F p, F n) { return _mm512_scalef_ps(p, n); }  // p 2^n for integers n; p and the result in the normal range
    static F from_bits(I a) { return _mm512_castsi512_ps(a); }
    static I bits(F a) { return _mm512_castps_si512(a); }
    static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
    static I to_int(F a) { return _mm512_cvtps_epi32(a); }
    static void keep(F &v) { THINLENS_ESR_KEEP(v); }
    static void keep(I &v) { THINLENS_ESR_KEEP(v); }
    static H load(const int16_t *p) { return _mm512_loadu_si512(p); }
    static H add16(H a, H b) { return _mm512_add_epi16(a, b); }
    static H sub16(H a, H b) { return _mm512_sub_epi16(a, b); }
    static void shuffle(int16_t *block) {
        _mm512_storeu_si512(block, _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), load(block)));
    }
    static void interleave(int32_t *out, H a, H b) {
        store(out, _mm512_unpacklo_epi16(a, b));
        store(out + 16, _mm512_unpackhi_epi16(a, b));
    }
    static I load_pairs(const int32_t *p) { return load(p); }
    static I add_pairs(I a, I b) { return _mm512_add_epi16(a, b); }
    static I subtract_pairs(I a, I b) { return _mm512_sub_epi16(a, b); }
    static I dot(I sum, I pairs, I weights) {
#if defined(THINLENS_ESR_VNNI)
        return _mm512_dpwssd_epi32(sum, pairs, weights);
#else
        return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, weights));
#endif
    }
    static I words(I a, I b) { return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srai_epi32(a, 16), b); }  // whole levels
    static void weave1(uint8_t *out, I a0, I a1) {
        const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
        const __m512i w = _mm512_packs_epi32(_mm512_srai_epi32(a0, 16), _mm512_srai_epi32(a1, 16));
        const __m512i positive = _mm512_max_epi16(_mm512_permutexvar_epi64(order, w), _mm512_setzero_si512());
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm512_cvtusepi16_epi8(positive));
    }
    static void weave2(uint8_t *out, I a0, I b0, I a1, I b1) {
        const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
        const __m512i bytes = _mm512_packus_epi16(words(a0, b0), words(a1, b1));
        _mm512_storeu_si512(out, _mm512_permutexvar_epi64(order, bytes));
    }
    static void weave3(uint8_t *out, I a, I b, I c) {
        const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 2, 3, 10, 4, 5, 12, 6, 7, 14, -1, -1, -1, -1));
        const __m512i dense = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
        const __m512i bytes = _mm512_shuffle_epi8(_mm512_packus_epi16(words(a, b), _mm512_srai_epi32(c, 16)), order);
        _mm512_mask_storeu_epi32(out, 0x0fff, _mm512_permutexvar_epi32(dense, bytes));
    }
    static void weave4(uint8_t *out, I a, I b, I c, I d) {
        const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
        _mm512_storeu_si512(out, _mm512_shuffle_epi8(_mm512_packus_epi16(words(a, b), words(c, d)), order));
    }
    static void weave2(float *out, F a, F b) {
        const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
        store(out, _mm512_permutex2var_ps(a, first, b));
        store(out + N, _mm512_permutex2var_ps(a, second, b));
    }
};

#elif defined(THINLENS_ESR_AVX2)

struct V {
    static constexpr bool UNROLLED = true;
    static constexpr int N = 8, WORDS = 16, BLOCK = 2, VECTORS = 1, CANDIDATES = 2;
    using F = __m256;
    using I = __m256i;
    using H = __m256i;
    static F load(const float *p) { return _mm256_loadu_ps(p); }
    static void store(float *p, F v) { _mm256_storeu_ps(p, v); }
    static F set(float v) { return _mm256_set1_ps(v); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    static F add(F a, F b) { return _mm256_add_ps(a, b); }
    static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    static F div(F a, F b) { return _mm256_div_ps(a, b); }
    static F max(F a, F b) { return _mm256_max_ps(a, b); }
    static F min(F a, F b) { return _mm256_min_ps(a, b); }
    static I load(const int32_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    static void store(int32_t *p, I v) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), v); }
    static I set(int32_t v) { return _mm256_set1_epi32(v); }
    static I add(I a, I b) { return _mm256_add_epi32(a, b); }
    static I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
    static I max(I a, I b) { return _mm256_max_epi32(a, b); }
    static F rest(F a) { return _mm256_sub_ps(a, _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
    static F scale(F p, F n) { return from_bits(add(bits(p), _mm256_slli_epi32(to_int(n), 23))); }
    static F from_bits(I a) { return _mm256_castsi256_ps(a); }
    static I bits(F a) { return _mm256_castps_si256(a); }
    static F to_float(I a) { return _mm256_cvtepi32_ps(a); }
    static I to_int(F a) { return _mm256_cvtps_epi32(a); }
    static void keep(F &v) { THINLENS_ESR_KEEP(v); }
    static void keep(I &v) { THINLENS_ESR_KEEP(v); }
    static H load(const int16_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    static H add16(H a, H b) { return _mm256_add_epi16(a, b); }
    static H sub16(H a, H b) { return _mm256_sub_epi16(a, b); }
    static void shuffle(int16_t *block) {
        const __m256i a = load(block), b = load(block + 16), even = _mm256_unpacklo_epi64(a, b), odd = _mm256_unpackhi_epi64(a, b);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(block), _mm256_permute2x128_si256(even, odd, 0x20));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(block + 16), _mm256_permute2x128_si256(even, odd, 0x31));
    }
    static void interleave(int32_t *out, H a, H b) {
        store(out, _mm256_unpacklo_epi16(a, b));
        store(out + 16, _mm256_unpackhi_epi16(a, b));
    }
    static I load_pairs(const int32_t *p) { return load(p); }
    static I add_pairs(I a, I b) { return _mm256_add_epi16(a, b); }
    static I subtract_pairs(I a, I b) { return _mm256_sub_epi16(a, b); }
    static I dot(I sum, I pairs, I weights) { return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, weights)); }
    static I words(I a, I b) { return _mm256_blend_epi16(_mm256_srai_epi32(a, 16), b, 0xaa); }  // whole levels
    static void weave1(uint8_t *out, I a0, I a1) {
        const __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_srai_epi32(a0, 16), _mm256_srai_epi32(a1, 16)), 0xd8);
        const __m128i low = _mm256_castsi256_si128(w), high = _mm256_extracti128_si256(w, 1);
        _mm_storeu_si128(reinterpret_cast<__m128i *>(out), _mm_packus_epi16(low, high));
    }
    static void weave2(uint8_t *out, I a0, I b0, I a1, I b1) {
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(words(a0, b0), words(a1, b1)), 0xd8);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), bytes);
    }
    static void weave3(uint8_t *out, I a, I b, I c) {
        const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 2, 3, 10, 4, 5, 12, 6, 7, 14, -1, -1, -1, -1));
        const __m256i bytes = _mm256_shuffle_epi8(_mm256_packus_epi16(words(a, b), _mm256_srai_epi32(c, 16)), order);
        const __m256i dense = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(out), _mm256_castsi256_si128(dense));
        _mm_storel_epi64(reinterpret_cast<__m128i *>(out + 16), _mm256_extracti128_si256(dense, 1));
    }
    static void weave4(uint8_t *out, I a, I b, I c, I d) {
        const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
        const __m256i bytes = _mm256_shuffle_epi8(_mm256_packus_epi16(words(a, b), words(c, d)), order);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), bytes);
    }
    static void weave2(float *out, F a, F b) {
        const __m256 low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
        store(out, _mm256_permute2f128_ps(low, high, 0x20));
        store(out + N, _mm256_permute2f128_ps(low, high, 0x31));
    }
};

#elif defined(THINLENS_ESR_NEON)

struct V {
    static constexpr bool UNROLLED = true;
    static constexpr int N = 4, WORDS = 8, BLOCK = 4, VECTORS = 2, CANDIDATES = 4;
    using F = float32x4_t;
    using I = int32x4_t;
    using H = int16x8_t;
    static F load(const float *p) { return vld1q_f32(p); }
    static void store(float *p, F v) { vst1q_f32(p, v); }
    static F set(float v) { return vdupq_n_f32(v); }
    static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
    static F add(F a, F b) { return vaddq_f32(a, b); }
    static F sub(F a, F b) { return vsubq_f32(a, b); }
    static F mul(F a, F b) { return vmulq_f32(a, b); }
    static F div(F a, F b) { return vdivq_f32(a, b); }
    static F max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }  // as x86: the second if they do not compare
    static F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
    static I load(const int32_t *p) { return vld1q_s32(p); }
    static void store(int32_t *p, I v) { vst1q_s32(p, v); }
    static I set(int32_t v) { return vdupq_n_s32(v); }
    static I add(I a, I b) { return vaddq_s32(a, b); }
    static I sub(I a, I b) { return vsubq_s32(a, b); }
    static I max(I a, I b) { return vmaxq_s32(a, b); }
    static F rest(F a) { return vsubq_f32(a, vrndnq_f32(a)); }
    static F scale(F p, F n) { return from_bits(add(bits(p), vshlq_n_s32(to_int(n), 23))); }
    static F from_bits(I a) { return vreinterpretq_f32_s32(a); }
    static I bits(F a) { return vreinterpretq_s32_f32(a); }
    static F to_float(I a) { return vcvtq_f32_s32(a); }
    static I to_int(F a) { return vcvtnq_s32_f32(a); }
    static void keep(F &v) { THINLENS_ESR_KEEP(v); }
    static void keep(I &v) { THINLENS_ESR_KEEP(v); }
    static H load(const int16_t *p) { return vld1q_s16(p); }
    static H add16(H a, H b) { return vaddq_s16(a, b); }
    static H sub16(H a, H b) { return vsubq_s16(a, b); }
    static void shuffle(int16_t *block) { shuffle_fours(block); }
    static void interleave(int32_t *out, H a, H b) {
        store(out, vreinterpretq_s32_s16(vzip1q_s16(a, b)));
        store(out + 16, vreinterpretq_s32_s16(vzip2q_s16(a, b)));
    }
    // Four first halves, then four second ones: widening multiply-adds take each as it is.
    static I load_pairs(const int32_t *p) {
        const int16x4x2_t halves = vld2_s16(reinterpret_cast<const int16_t *>(p));
        return vreinterpretq_s32_s16(vcombine_s16(halves.val[0], halves.val[1]));
    }
    static I add_pairs(I a, I b) { return vreinterpretq_s32_s16(vaddq_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b))); }
    static I subtract_pairs(I a, I b) { return vreinterpretq_s32_s16(vsubq_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b))); }
    static I dot(I sum, I pairs, I weights) {
        const int16x8_t x = vreinterpretq_s16_s32(pairs), w = vreinterpretq_s16_s32(weights);
        return vmlal_laneq_s16(vmlal_laneq_s16(sum, vget_low_s16(x), w, 0), vget_high_s16(x), w, 1);
    }
    static int16x8_t words(I a, I b) { return vuzp2q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)); }  // a's, then b's
    static void weave1(uint8_t *out, I a0, I a1) { vst1_u8(out, vqmovun_s16(words(a0, a1))); }
    static void weave2(uint8_t *out, I a0, I b0, I a1, I b1) {
        vst2_u8(out, uint8x8x2_t{{vqmovun_s16(words(a0, a1)), vqmovun_s16(words(b0, b1))}});
    }
    static void weave3(uint8_t *out, I a, I b, I c) {
        static const uint8_t ORDER[16] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 12, 13, 14, 15};
        const uint8x16_t bytes = vqtbl1q_u8(vcombine_u8(vqmovun_s16(words(a, b)), vqmovun_s16(words(c, c))), vld1q_u8(ORDER));
        vst1_u8(out, vget_low_u8(bytes));
        const uint32_t rest = vgetq_lane_u32(vreinterpretq_u32_u8(bytes), 2);
        std::memcpy(out + 8, &rest, sizeof rest);
    }
    static void weave4(uint8_t *out, I a, I b, I c, I d) {
        static const uint8_t ORDER[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
        vst1q_u8(out, vqtbl1q_u8(vcombine_u8(vqmovun_s16(words(a, b)), vqmovun_s16(words(c, d))), vld1q_u8(ORDER)));
    }
    static void weave2(float *out, F a, F b) { vst2q_f32(out, float32x4x2_t{{a, b}}); }
};

#else

// One column at a time.
struct V {
    static constexpr bool UNROLLED = false;
    static constexpr int N = 1, WORDS = 8, BLOCK = 4, VECTORS = 2, CANDIDATES = 2;
    using F = float;
    using I = int32_t;
    struct H { int16_t v[WORDS]; };
    static F load(const float *p) { return *p; }
    static void store(float *p, F v) { *p = v; }
    static F set(float v) { return v; }
    static F fma(F a, F b, F c) { return std::fma(a, b, c); }
    static F add(F a, F b) { return a + b; }
    static F sub(F a, F b) { return a - b; }
    static F mul(F a, F b) { return a * b; }
    static F div(F a, F b) { return a / b; }
    static F max(F a, F b) { return a > b ? a : b; }
    static F min(F a, F b) { return a < b ? a : b; }
    static I load(const int32_t *p) { return *p; }
    static void store(int32_t *p, I v) { *p = v; }
    static I set(int32_t v) { return v; }
    static I add(I a, I b) { return I(uint32_t(a) + uint32_t(b)); }
    static I sub(I a, I b) { return I(uint32_t(a) - uint32_t(b)); }
    static I max(I a, I b) { return a > b ? a : b; }
    static F rest(F a) { return a - std::nearbyint(a); }
    static F scale(F p, F n) { return from_bits(add(bits(p), I(uint32_t(I(n)) << 23))); }
    static F from_bits(I a) {
        F r;
        std::memcpy(&r, &a, sizeof r);
        return r;
    }
    static I bits(F a) {
        I r;
        std::memcpy(&r, &a, sizeof r);
        return r;
    }
    static F to_float(I a) { return F(a); }
    static I to_int(F a) { return I(std::nearbyint(a)); }  // a is small
    static void keep(F &v) { THINLENS_ESR_KEEP(v); }
    static void keep(I &v) { THINLENS_ESR_KEEP(v); }
    static H load(const int16_t *p) {
        H h;
        std::memcpy(h.v, p, sizeof h.v);
        return h;
    }
    static H add16(H a, H b) {
        for (int i = 0; i < WORDS; ++i) a.v[i] = int16_t(a.v[i] + b.v[i]);
        return a;
    }
    static H sub16(H a, H b) {
        for (int i = 0; i < WORDS; ++i) a.v[i] = int16_t(a.v[i] - b.v[i]);
        return a;
    }
    static I two(int a, int b) { return I(uint32_t(uint16_t(a)) | uint32_t(uint16_t(b)) << 16); }
    static int first(I pair) { return int16_t(uint16_t(uint32_t(pair))); }
    static int second(I pair) { return int16_t(uint16_t(uint32_t(pair) >> 16)); }
    static void shuffle(int16_t *block) { shuffle_fours(block); }
    static void interleave(int32_t *out, H a, H b) {
        for (int i = 0; i < WORDS; ++i) out[i < WORDS / 2 ? i : 16 + i - WORDS / 2] = two(a.v[i], b.v[i]);
    }
    static I load_pairs(const int32_t *p) { return *p; }
    static I add_pairs(I a, I b) { return two(first(a) + first(b), second(a) + second(b)); }
    static I subtract_pairs(I a, I b) { return two(first(a) - first(b), second(a) - second(b)); }
    static I dot(I sum, I pairs, I weights) { return sum + first(pairs) * first(weights) + second(pairs) * second(weights); }
    static uint8_t byte(I v) { return uint8_t(v < 0 ? 0 : v >> 16 > 255 ? 255 : v >> 16); }
    static void weave1(uint8_t *out, I a0, I a1) { out[0] = byte(a0), out[1] = byte(a1); }
    static void weave2(uint8_t *out, I a0, I b0, I a1, I b1) { weave1(out, a0, b0), weave1(out + 2, a1, b1); }
    static void weave3(uint8_t *out, I a, I b, I c) { weave1(out, a, b), out[2] = byte(c); }
    static void weave4(uint8_t *out, I a, I b, I c, I d) { weave1(out, a, b), weave1(out + 2, c, d); }
    static void weave2(float *out, F a, F b) { out[0] = a, out[1] = b; }
};

#endif

}  // namespace
