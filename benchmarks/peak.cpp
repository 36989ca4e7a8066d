// How many products a second one thread's registers allow, floats and signs; what comes from memory costs nothing here.
// Compiled for the host at hand by binary_speed.py.
#include <chrono>
#include <cstdint>

#if defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
#endif

namespace {

constexpr int STEPS = 200000, SUMS = 16;

template <class Step>
double seconds(Step step) {
    const auto begun = std::chrono::steady_clock::now();
    for (int k = 0; k < STEPS; ++k) step();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

}  // namespace

// Products of signs: exclusive or, count, add.
extern "C" double sign_products() {
#if defined(__AVX512VPOPCNTDQ__)
    __m512i sum[SUMS] = {}, in = _mm512_set1_epi32(99991), factor[SUMS];
    for (int i = 0; i < SUMS; ++i) factor[i] = _mm512_set1_epi32(7777 * i);
    const double taken = seconds([&] {
        asm volatile("" : "+v"(in));
        for (int i = 0; i < SUMS; ++i) sum[i] = _mm512_add_epi32(sum[i], _mm512_popcnt_epi32(_mm512_xor_si512(in, factor[i])));
    });
    for (int i = 0; i < SUMS; ++i) asm volatile("" : "+v"(sum[i]));
    return 512.0 * SUMS * STEPS / taken;
#else
    uint64_t sum[SUMS] = {}, in = 99991;
    const double taken = seconds([&] {
        asm volatile("" : "+r"(in));
        for (int i = 0; i < SUMS; ++i) sum[i] += uint64_t(__builtin_popcountll(in ^ (7777u * i)));
    });
    for (int i = 0; i < SUMS; ++i) asm volatile("" : "+r"(sum[i]));
    return 64.0 * SUMS * STEPS / taken;
#endif
}

// Products of floats, each added to a sum.
extern "C" double float_products() {
    typedef float Vector __attribute__((vector_size(64)));
    Vector sum[SUMS] = {}, in, factor;
    for (int i = 0; i < 16; ++i) in[i] = 0.5f, factor[i] = 0.25f;
    const double taken = seconds([&] {
        for (int i = 0; i < SUMS; ++i) {
            sum[i] = sum[i] * in + factor;
        }
    });
    for (int i = 0; i < SUMS; ++i) asm volatile("" : : "m"(sum[i]));
    return 16.0 * SUMS * STEPS / taken;
}
