// Processors with AVX-512 but without its integer dot products are few: they take the AVX2 kernels, which saves a third of the time
// that the engine takes to compile.
#include "edge_sr.h"

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

const EdgeSrKernels &edge_sr_kernels_avx512() { return has_vnni() ? edge_sr_kernels_avx512_vnni() : edge_sr_kernels_avx2(); }

}  // namespace thinlens
