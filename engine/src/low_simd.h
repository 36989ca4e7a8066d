// 32-bit integers, bytes and bfloat16 pairs in them, beside the floats of simd.h.
//
//     dot              sum + the four products of unsigned bytes and signed ones, exact
//     even, odd        the halves of a pair of bfloat16, as floats
//     bfloat16         a float rounded (to nearest, ties to even) to bfloat16, in the low half
#pragma once

#include "simd.h"

namespace {

#if defined(THINLENS_USE_AVX512)

struct I {
    static constexpr int LANES = 16, PER_BLOCK = 4;
    __m512i v;
    static I load(const int32_t *p) { return {_mm512_loadu_si512(p)}; }
    static I set(int32_t x) { return {_mm512_set1_epi32(x)}; }
    void store(int32_t *p) const { _mm512_storeu_si512(p, v); }
    I operator+(I o) const { return {_mm512_add_epi32(v, o.v)}; }
    I operator-(I o) const { return {_mm512_sub_epi32(v, o.v)}; }
    I operator|(I o) const { return {_mm512_or_si512(v, o.v)}; }
    I operator&(I o) const { return {_mm512_and_si512(v, o.v)}; }
    template <int N>
    I left() const { return {_mm512_slli_epi32(v, N)}; }
    template <int N>
    I right() const { return {_mm512_srli_epi32(v, N)}; }
    V number() const { return {_mm512_cvtepi32_ps(v)}; }
    static I rounded(V x) { return {_mm512_cvtps_epi32(x.v)}; }
    static I bits(V x) { return {_mm512_castps_si512(x.v)}; }
    V as_float() const { return {_mm512_castsi512_ps(v)}; }
#if defined(THINLENS_VNNI)
    static I dot(I sum, I in, I factor) { return {_mm512_dpbusd_epi32(sum.v, in.v, factor.v)}; }
#else
    static I dot(I sum, I in, I factor) {  // as for AVX2
        const __m512i low = _mm512_set1_epi32(0x00ff00ff);
        const __m512i even = _mm512_madd_epi16(_mm512_and_si512(in.v, low), _mm512_srai_epi16(_mm512_slli_epi16(factor.v, 8), 8));
        const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(in.v, 8), _mm512_srai_epi16(factor.v, 8));
        return {_mm512_add_epi32(sum.v, _mm512_add_epi32(even, odd))};
    }
#endif

#elif defined(THINLENS_USE_AVX2)

struct I {
    static constexpr int LANES = 8, PER_BLOCK = 2;
    __m256i v;
    static I load(const int32_t *p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p))}; }
    static I set(int32_t x) { return {_mm256_set1_epi32(x)}; }
    void store(int32_t *p) const { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), v); }
    I operator+(I o) const { return {_mm256_add_epi32(v, o.v)}; }
    I operator-(I o) const { return {_mm256_sub_epi32(v, o.v)}; }
    I operator|(I o) const { return {_mm256_or_si256(v, o.v)}; }
    I operator&(I o) const { return {_mm256_and_si256(v, o.v)}; }
    template <int N>
    I left() const { return {_mm256_slli_epi32(v, N)}; }
    template <int N>
    I right() const { return {_mm256_srli_epi32(v, N)}; }
    V number() const { return {_mm256_cvtepi32_ps(v)}; }
    static I rounded(V x) { return {_mm256_cvtps_epi32(x.v)}; }
    static I bits(V x) { return {_mm256_castps_si256(x.v)}; }
    V as_float() const { return {_mm256_castsi256_ps(v)}; }
    static I dot(I sum, I in, I factor) {  // bytes 0 and 2, then 1 and 3, as 16 bits: products of bytes, added in pairs, may not fit
        const __m256i low = _mm256_set1_epi32(0x00ff00ff);
        const __m256i even = _mm256_madd_epi16(_mm256_and_si256(in.v, low), _mm256_srai_epi16(_mm256_slli_epi16(factor.v, 8), 8));
        const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(in.v, 8), _mm256_srai_epi16(factor.v, 8));
        return {_mm256_add_epi32(sum.v, _mm256_add_epi32(even, odd))};
    }

#elif defined(THINLENS_USE_NEON)

struct I {
    static constexpr int LANES = 4, PER_BLOCK = 4;
    int32x4_t v;
    static I load(const int32_t *p) { return {vld1q_s32(p)}; }
    static I set(int32_t x) { return {vdupq_n_s32(x)}; }
    void store(int32_t *p) const { vst1q_s32(p, v); }
    I operator+(I o) const { return {vaddq_s32(v, o.v)}; }
    I operator-(I o) const { return {vsubq_s32(v, o.v)}; }
    I operator|(I o) const { return {vorrq_s32(v, o.v)}; }
    I operator&(I o) const { return {vandq_s32(v, o.v)}; }
    template <int N>
    I left() const { return {vshlq_n_s32(v, N)}; }
    template <int N>
    I right() const { return {vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(v), N))}; }
    V number() const { return {vcvtq_f32_s32(v)}; }
    static I rounded(V x) { return {vcvtnq_s32_f32(x.v)}; }
    static I bits(V x) { return {vreinterpretq_s32_f32(x.v)}; }
    V as_float() const { return {vreinterpretq_f32_s32(v)}; }
    static I dot(I sum, I in, I factor) {
        const uint8x16_t bytes = vreinterpretq_u8_s32(in.v);
        const int8x16_t w = vreinterpretq_s8_s32(factor.v);
        const int16x8_t x0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), x1 = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes)));
        const int16x8_t w0 = vmovl_s8(vget_low_s8(w)), w1 = vmovl_s8(vget_high_s8(w));
        const int32x4_t a = vmull_s16(vget_low_s16(x0), vget_low_s16(w0)), b = vmull_s16(vget_high_s16(x0), vget_high_s16(w0));
        const int32x4_t c = vmull_s16(vget_low_s16(x1), vget_low_s16(w1)), d = vmull_s16(vget_high_s16(x1), vget_high_s16(w1));
        return {vaddq_s32(sum.v, vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)))};
    }

#else

struct I {
    static constexpr int LANES = 1, PER_BLOCK = 2;
    int32_t v;
    static I load(const int32_t *p) { return {*p}; }
    static I set(int32_t x) { return {x}; }
    void store(int32_t *p) const { *p = v; }
    I operator+(I o) const { return {int32_t(uint32_t(v) + uint32_t(o.v))}; }
    I operator-(I o) const { return {int32_t(uint32_t(v) - uint32_t(o.v))}; }
    I operator|(I o) const { return {v | o.v}; }
    I operator&(I o) const { return {v & o.v}; }
    template <int N>
    I left() const { return {int32_t(uint32_t(v) << N)}; }
    template <int N>
    I right() const { return {int32_t(uint32_t(v) >> N)}; }
    V number() const { return {float(v)}; }
    static I rounded(V x) { return {x.v == x.v ? int32_t(std::nearbyint(x.v)) : 0}; }  // x is small
    static I bits(V x) {
        I i;
        std::memcpy(&i.v, &x.v, 4);
        return i;
    }
    V as_float() const {
        V x;
        std::memcpy(&x.v, &v, 4);
        return x;
    }
    static I dot(I sum, I in, I factor) {
        uint8_t bytes[4];
        int8_t w[4];
        std::memcpy(bytes, &in.v, 4), std::memcpy(w, &factor.v, 4);
        return {sum.v + bytes[0] * w[0] + bytes[1] * w[1] + bytes[2] * w[2] + bytes[3] * w[3]};
    }

#endif

    V even() const { return left<16>().as_float(); }
    V odd() const { return (*this & set(int32_t(0xffff0000u))).as_float(); }
    static I bfloat16(V x) {
        const I u = bits(x);
        return (u + set(0x7fff) + (u.right<16>() & set(1))).right<16>();
    }
};

}  // namespace
