#define THINLENS_USE_AVX512
#include "kernels_impl.h"

namespace {
const thinlens::EdgeSrKernels &thinlens_edge_sr() { return thinlens::edge_sr_kernels_avx512(); }
}  // namespace

namespace thinlens {

const Kernels &kernels_avx512() {
    static const Kernels kernels{"avx512", run_task, absorb_sums, edge_sr_kernels_avx512,
                                 has_avx512_vnni() ? low_sums_avx512_vnni : low_sums,
                                 has_avx512_popcnt() ? binary_conv2d_avx512_popcnt : binary_conv2d};
    return kernels;
}

}  // namespace thinlens
