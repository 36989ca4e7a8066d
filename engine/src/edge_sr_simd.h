// One vector type for each instruction set, all with the same operations, so that the kernels are written once.
// Included by the edge_sr_<isa>.cpp only, each of which defines one THINLENS_ESR_* first; everything has internal linkage, lest
// the linker takes code of one instruction set for another.
//
//     F  N floats        I  N int32        H  2 N int16
//
// pair(a, b) makes two I, `low` and `high`, whose lanes hold (a[x], b[x]) of 2 N columns x in an order of its own; bytes_paired
// and unpair put such lanes back in order.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(THINLENS_ESR_AVX512) || defined(THINLENS_ESR_AVX2)
#include <immintrin.h>
#elif defined(THINLENS_ESR_NEON)
#include <arm_neon.h>
#endif

namespace {

#if defined(THINLENS_ESR_AVX512)

struct V {
    static constexpr int N = 16, BLOCK = 4;  // BLOCK: vectors of one row of sums that are made together
    using F = __m512;
    using I = __m512i;
    using H = __m512i;
    static F load(const float *p) { return _mm512_loadu_ps(p); }
    static void store(float *p, F v) { _mm512_storeu_ps(p, v); }
    static F set(float v) { return _mm512_set1_ps(v); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F max(F a, F b) { return _mm512_max_ps(a, b); }
    static F min(F a, F b) { return _mm512_min_ps(a, b); }
    static I load(const int32_t *p) { return _mm512_loadu_si512(p); }
    static void store(int32_t *p, I v) { _mm512_storeu_si512(p, v); }
    static I set(int32_t v) { return _mm512_set1_epi32(v); }
    static I add(I a, I b) { return _mm512_add_epi32(a, b); }
    static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
    static I max(I a, I b) { return _mm512_max_epi32(a, b); }
    static I shift_right(I a, int n) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(n)); }
    static I exponent(I a) { return _mm512_slli_epi32(a, 23); }
    static F from_bits(I a) { return _mm512_castsi512_ps(a); }
    static I bits(F a) { return _mm512_castps_si512(a); }
    static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
    static I to_int(F a) { return _mm512_cvtps_epi32(a); }
    static H load(const int16_t *p) { return _mm512_loadu_si512(p); }
    static void store(int16_t *p, H v) { _mm512_storeu_si512(p, v); }
    static H add16(H a, H b) { return _mm512_add_epi16(a, b); }
    static H sub16(H a, H b) { return _mm512_sub_epi16(a, b); }
    static void pair(H a, H b, I &low, I &high) {
        low = _mm512_unpacklo_epi16(a, b);
        high = _mm512_unpackhi_epi16(a, b);
    }
    static I dot(I sum, I pairs, I weights) {
#if defined(THINLENS_ESR_VNNI)
        return _mm512_dpwssd_epi32(sum, pairs, weights);
#else
        return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, weights));
#endif
    }
    static void bytes_paired(uint8_t *out, I low, I high) {
        const __m512i words = _mm512_max_epi16(_mm512_packs_epi32(low, high), _mm512_setzero_si512());
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm512_cvtusepi16_epi8(words));
    }
    static void bytes(uint8_t *out, I a, I b) {
        const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
        const __m512i words = _mm512_max_epi16(_mm512_packs_epi32(a, b), _mm512_setzero_si512());
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm512_cvtusepi16_epi8(_mm512_permutexvar_epi64(order, words)));
    }
    static void unpair(I &low, I &high) {
        const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
        const __m512i a = _mm512_permutex2var_epi64(low, first, high), b = _mm512_permutex2var_epi64(low, second, high);
        low = a, high = b;
    }
};

#elif defined(THINLENS_ESR_AVX2)

struct V {
    static constexpr int N = 8, BLOCK = 2;
    using F = __m256;
    using I = __m256i;
    using H = __m256i;
    static F load(const float *p) { return _mm256_loadu_ps(p); }
    static void store(float *p, F v) { _mm256_storeu_ps(p, v); }
    static F set(float v) { return _mm256_set1_ps(v); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    static F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
    static F add(F a, F b) { return _mm256_add_ps(a, b); }
    static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    static F max(F a, F b) { return _mm256_max_ps(a, b); }
    static F min(F a, F b) { return _mm256_min_ps(a, b); }
    static I load(const int32_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    static void store(int32_t *p, I v) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), v); }
    static I set(int32_t v) { return _mm256_set1_epi32(v); }
    static I add(I a, I b) { return _mm256_add_epi32(a, b); }
    static I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
    static I max(I a, I b) { return _mm256_max_epi32(a, b); }
    static I shift_right(I a, int n) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(n)); }
    static I exponent(I a) { return _mm256_slli_epi32(a, 23); }
    static F from_bits(I a) { return _mm256_castsi256_ps(a); }
    static I bits(F a) { return _mm256_castps_si256(a); }
    static F to_float(I a) { return _mm256_cvtepi32_ps(a); }
    static I to_int(F a) { return _mm256_cvtps_epi32(a); }
    static H load(const int16_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    static void store(int16_t *p, H v) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), v); }
    static H add16(H a, H b) { return _mm256_add_epi16(a, b); }
    static H sub16(H a, H b) { return _mm256_sub_epi16(a, b); }
    static void pair(H a, H b, I &low, I &high) {
        low = _mm256_unpacklo_epi16(a, b);
        high = _mm256_unpackhi_epi16(a, b);
    }
    static I dot(I sum, I pairs, I weights) { return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, weights)); }
    static void bytes_paired(uint8_t *out, I low, I high) { store_words(out, _mm256_packs_epi32(low, high)); }
    static void bytes(uint8_t *out, I a, I b) { store_words(out, _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8)); }
    static void store_words(uint8_t *out, __m256i words) {
        const __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
        _mm_storeu_si128(reinterpret_cast<__m128i *>(out), _mm_packus_epi16(low, high));
    }
    static void unpair(I &low, I &high) {
        const __m256i a = _mm256_permute2x128_si256(low, high, 0x20), b = _mm256_permute2x128_si256(low, high, 0x31);
        low = a, high = b;
    }
};

#elif defined(THINLENS_ESR_NEON)

struct V {
    static constexpr int N = 4, BLOCK = 4;
    using F = float32x4_t;
    using I = int32x4_t;
    using H = int16x8_t;
    static F load(const float *p) { return vld1q_f32(p); }
    static void store(float *p, F v) { vst1q_f32(p, v); }
    static F set(float v) { return vdupq_n_f32(v); }
    static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
    static F fnma(F a, F b, F c) { return vfmsq_f32(c, a, b); }
    static F add(F a, F b) { return vaddq_f32(a, b); }
    static F sub(F a, F b) { return vsubq_f32(a, b); }
    static F mul(F a, F b) { return vmulq_f32(a, b); }
    static F max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }  // as x86: the second if they do not compare
    static F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
    static I load(const int32_t *p) { return vld1q_s32(p); }
    static void store(int32_t *p, I v) { vst1q_s32(p, v); }
    static I set(int32_t v) { return vdupq_n_s32(v); }
    static I add(I a, I b) { return vaddq_s32(a, b); }
    static I sub(I a, I b) { return vsubq_s32(a, b); }
    static I max(I a, I b) { return vmaxq_s32(a, b); }
    static I shift_right(I a, int n) { return vshlq_s32(a, vdupq_n_s32(-n)); }
    static I exponent(I a) { return vshlq_n_s32(a, 23); }
    static F from_bits(I a) { return vreinterpretq_f32_s32(a); }
    static I bits(F a) { return vreinterpretq_s32_f32(a); }
    static F to_float(I a) { return vcvtq_f32_s32(a); }
    static I to_int(F a) { return vcvtnq_s32_f32(a); }
    static H load(const int16_t *p) { return vld1q_s16(p); }
    static void store(int16_t *p, H v) { vst1q_s16(p, v); }
    static H add16(H a, H b) { return vaddq_s16(a, b); }
    static H sub16(H a, H b) { return vsubq_s16(a, b); }
    // Not interleaved: four columns of a, then the same of b, so that widening multiply-adds take each half as it is.
    static void pair(H a, H b, I &low, I &high) {
        const int64x2_t x = vreinterpretq_s64_s16(a), y = vreinterpretq_s64_s16(b);
        low = vreinterpretq_s32_s64(vzip1q_s64(x, y));
        high = vreinterpretq_s32_s64(vzip2q_s64(x, y));
    }
    static I dot(I sum, I pairs, I weights) {
        const int16x8_t x = vreinterpretq_s16_s32(pairs), w = vreinterpretq_s16_s32(weights);
        return vmlal_laneq_s16(vmlal_laneq_s16(sum, vget_low_s16(x), w, 0), vget_high_s16(x), w, 1);
    }
    static void bytes_paired(uint8_t *out, I low, I high) { bytes(out, low, high); }
    static void bytes(uint8_t *out, I a, I b) { vst1_u8(out, vqmovun_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)))); }
    static void unpair(I &, I &) {}
};

#else

// Arrays instead of registers: compilers turn these loops into whatever the processor at least has.
struct V {
    static constexpr int N = 8, BLOCK = 1;
    struct F { float v[N]; };
    struct I { int32_t v[N]; };
    struct H { int16_t v[2 * N]; };
    template <class T, class Op>
    static T each(Op op) {
        T r;
        for (int i = 0; i < int(sizeof r.v / sizeof r.v[0]); ++i) r.v[i] = op(i);
        return r;
    }
    static F load(const float *p) { return each<F>([&](int i) { return p[i]; }); }
    static void store(float *p, const F &v) { std::memcpy(p, v.v, sizeof v); }
    static F set(float v) { return each<F>([&](int) { return v; }); }
    static F fma(const F &a, const F &b, const F &c) { return each<F>([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); }); }
    static F fnma(const F &a, const F &b, const F &c) { return each<F>([&](int i) { return std::fma(-a.v[i], b.v[i], c.v[i]); }); }
    static F add(const F &a, const F &b) { return each<F>([&](int i) { return a.v[i] + b.v[i]; }); }
    static F sub(const F &a, const F &b) { return each<F>([&](int i) { return a.v[i] - b.v[i]; }); }
    static F mul(const F &a, const F &b) { return each<F>([&](int i) { return a.v[i] * b.v[i]; }); }
    static F max(const F &a, const F &b) { return each<F>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
    static F min(const F &a, const F &b) { return each<F>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
    static I load(const int32_t *p) { return each<I>([&](int i) { return p[i]; }); }
    static void store(int32_t *p, const I &v) { std::memcpy(p, v.v, sizeof v); }
    static I set(int32_t v) { return each<I>([&](int) { return v; }); }
    static int32_t wrap(uint32_t v) { return int32_t(v); }
    static I add(const I &a, const I &b) { return each<I>([&](int i) { return wrap(uint32_t(a.v[i]) + uint32_t(b.v[i])); }); }
    static I sub(const I &a, const I &b) { return each<I>([&](int i) { return wrap(uint32_t(a.v[i]) - uint32_t(b.v[i])); }); }
    static I max(const I &a, const I &b) { return each<I>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
    static I shift_right(const I &a, int n) { return each<I>([&](int i) { return a.v[i] >> n; }); }
    static I exponent(const I &a) { return each<I>([&](int i) { return wrap(uint32_t(a.v[i]) << 23); }); }
    static F from_bits(const I &a) {
        F r;
        std::memcpy(&r, &a, sizeof r);
        return r;
    }
    static I bits(const F &a) {
        I r;
        std::memcpy(&r, &a, sizeof r);
        return r;
    }
    static F to_float(const I &a) { return each<F>([&](int i) { return float(a.v[i]); }); }
    static I to_int(const F &a) { return each<I>([&](int i) { return int32_t(std::nearbyint(a.v[i])); }); }  // a: of bytes
    static H load(const int16_t *p) { return each<H>([&](int i) { return p[i]; }); }
    static void store(int16_t *p, const H &v) { std::memcpy(p, v.v, sizeof v); }
    static H add16(const H &a, const H &b) { return each<H>([&](int i) { return int16_t(a.v[i] + b.v[i]); }); }
    static H sub16(const H &a, const H &b) { return each<H>([&](int i) { return int16_t(a.v[i] - b.v[i]); }); }
    static int32_t two(int16_t a, int16_t b) { return wrap(uint32_t(uint16_t(a)) | uint32_t(uint16_t(b)) << 16); }
    static void pair(const H &a, const H &b, I &low, I &high) {
        low = each<I>([&](int i) { return two(a.v[i], b.v[i]); });
        high = each<I>([&](int i) { return two(a.v[N + i], b.v[N + i]); });
    }
    static int32_t first(int32_t pair) { return int16_t(uint16_t(uint32_t(pair))); }
    static int32_t second(int32_t pair) { return int16_t(uint16_t(uint32_t(pair) >> 16)); }
    static I dot(const I &sum, const I &pairs, const I &weights) {
        return each<I>([&](int i) {
            const int32_t x = pairs.v[i], w = weights.v[i];
            return sum.v[i] + first(x) * first(w) + second(x) * second(w);
        });
    }
    static uint8_t byte(int32_t v) { return uint8_t(v < 0 ? 0 : v > 255 ? 255 : v); }
    static void bytes_paired(uint8_t *out, const I &low, const I &high) { bytes(out, low, high); }
    static void bytes(uint8_t *out, const I &a, const I &b) {
        for (int i = 0; i < N; ++i) out[i] = byte(a.v[i]), out[N + i] = byte(b.v[i]);
    }
    static void unpair(I &, I &) {}
};

#endif

}  // namespace
