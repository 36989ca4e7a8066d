#define THINLENS_ESR_AVX512
#include "edge_sr_kernels.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace thinlens {

namespace {

bool has_vnni() {
#if defined(_MSC_VER) && !defined(__clang__)
    int leaf[4];
    __cpuidex(leaf, 7, 0);
    return (leaf[2] >> 11 & 1) != 0;
#else
    return __builtin_cpu_supports("avx512vnni") != 0;
#endif
}

}  // namespace

const EdgeSrKernels &edge_sr_kernels_avx512_plain() { return KERNELS; }

const EdgeSrKernels &edge_sr_kernels_avx512() { return has_vnni() ? edge_sr_kernels_avx512_vnni() : KERNELS; }

}  // namespace thinlens
