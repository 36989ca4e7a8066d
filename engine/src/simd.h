// One vector type for each instruction set, all with the same few operations, so that kernels are written once. All operations are
// IEEE single steps (a fused multiply-add rounds once, everywhere), so every instruction set gives the same bits. Of two numbers that
// cannot be compared, max and min give the second: written after a constant, what is not a number stays so and is found at the end.
// Included by the kernels_*.cpp only: everything has internal linkage, lest the linker mixes code of different instruction sets.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(THINLENS_USE_AVX512) || defined(THINLENS_USE_AVX2)
#include <immintrin.h>
#elif defined(THINLENS_USE_NEON)
#include <arm_neon.h>
#endif

namespace {

#if defined(THINLENS_USE_AVX512)

struct V {
    static constexpr int LANES = 16, PER_BLOCK = 4;  // vectors of one channel that a convolution's block holds in registers
    __m512 v;
    static V load(const float *p) { return {_mm512_loadu_ps(p)}; }
    static V set(float x) { return {_mm512_set1_ps(x)}; }
    void store(float *p) const { _mm512_storeu_ps(p, v); }
    static V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    static V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }
    static V max_or_nan(V a, V b) { return {_mm512_mask_max_ps(a.v, _mm512_cmp_ps_mask(a.v, a.v, _CMP_ORD_Q), a.v, b.v)}; }
    static V min(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }
    V operator+(V o) const { return {_mm512_add_ps(v, o.v)}; }
    V operator-(V o) const { return {_mm512_sub_ps(v, o.v)}; }
    V operator*(V o) const { return {_mm512_mul_ps(v, o.v)}; }
    V operator/(V o) const { return {_mm512_div_ps(v, o.v)}; }
    static V power_of_two(V n) {  // 2^n for integers n in -126..127
        return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
    }
};

#elif defined(THINLENS_USE_AVX2)

struct V {
    static constexpr int LANES = 8, PER_BLOCK = 2;
    __m256 v;
    static V load(const float *p) { return {_mm256_loadu_ps(p)}; }
    static V set(float x) { return {_mm256_set1_ps(x)}; }
    void store(float *p) const { _mm256_storeu_ps(p, v); }
    static V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    static V max(V a, V b) { return {_mm256_max_ps(a.v, b.v)}; }
    static V max_or_nan(V a, V b) { return {_mm256_blendv_ps(_mm256_max_ps(a.v, b.v), a.v, _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))}; }
    static V min(V a, V b) { return {_mm256_min_ps(a.v, b.v)}; }
    V operator+(V o) const { return {_mm256_add_ps(v, o.v)}; }
    V operator-(V o) const { return {_mm256_sub_ps(v, o.v)}; }
    V operator*(V o) const { return {_mm256_mul_ps(v, o.v)}; }
    V operator/(V o) const { return {_mm256_div_ps(v, o.v)}; }
    static V power_of_two(V n) {
        return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23))};
    }
};

#elif defined(THINLENS_USE_NEON)

struct V {
    static constexpr int LANES = 4, PER_BLOCK = 4;
    float32x4_t v;
    static V load(const float *p) { return {vld1q_f32(p)}; }
    static V set(float x) { return {vdupq_n_f32(x)}; }
    void store(float *p) const { vst1q_f32(p, v); }
    static V fma(V a, V b, V c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
    static V max(V a, V b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
    static V max_or_nan(V a, V b) { return {vbslq_f32(vceqq_f32(a.v, a.v), max(a, b).v, a.v)}; }
    static V min(V a, V b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
    V operator+(V o) const { return {vaddq_f32(v, o.v)}; }
    V operator-(V o) const { return {vsubq_f32(v, o.v)}; }
    V operator*(V o) const { return {vmulq_f32(v, o.v)}; }
    V operator/(V o) const { return {vdivq_f32(v, o.v)}; }
    static V power_of_two(V n) { return {vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.v), vdupq_n_s32(127)), 23))}; }
};

#else

struct V {
    static constexpr int LANES = 1, PER_BLOCK = 2;
    float v;
    static V load(const float *p) { return {*p}; }
    static V set(float x) { return {x}; }
    void store(float *p) const { *p = v; }
    static V fma(V a, V b, V c) { return {std::fma(a.v, b.v, c.v)}; }
    static V max(V a, V b) { return {a.v > b.v ? a.v : b.v}; }
    static V max_or_nan(V a, V b) { return {a.v != a.v || a.v > b.v ? a.v : b.v}; }
    static V min(V a, V b) { return {a.v < b.v ? a.v : b.v}; }
    V operator+(V o) const { return {v + o.v}; }
    V operator-(V o) const { return {v - o.v}; }
    V operator*(V o) const { return {v * o.v}; }
    V operator/(V o) const { return {v / o.v}; }
    static V power_of_two(V n) {
        uint32_t bits = uint32_t(int32_t(n.v) + 127) << 23;
        float x;
        std::memcpy(&x, &bits, sizeof x);
        return {x};
    }
};

#endif

// exp(x) for x in -87..88 (clamped): 2^n times a polynomial of the rest, whose relative error is below 2e-7.
inline V vexp(V x) {
    x = V::min(V::set(88.0f), V::max(V::set(-87.0f), x));
    const V magic = V::set(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest integer
    V n = V::fma(x, V::set(1.44269504f), magic) - magic;
    V r = V::fma(n, V::set(-0.693359375f), x);
    r = V::fma(n, V::set(2.12194440e-4f), r);
    V p = V::set(1.9875691500e-4f);
    p = V::fma(p, r, V::set(1.3981999507e-3f));
    p = V::fma(p, r, V::set(8.3334519073e-3f));
    p = V::fma(p, r, V::set(4.1665795894e-2f));
    p = V::fma(p, r, V::set(1.6666665459e-1f));
    p = V::fma(p, r, V::set(5.0000001201e-1f));
    p = V::fma(p, r * r, r) + V::set(1.0f);
    return p * V::power_of_two(n);
}

inline V vsigmoid(V x) {
    const V one = V::set(1.0f);
    return one / (one + vexp(V::set(0.0f) - x));
}

inline V vtanh(V x) {
    const V one = V::set(1.0f);
    return one - V::set(2.0f) / (one + vexp(x + x));
}

}  // namespace
