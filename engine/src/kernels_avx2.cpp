#define THINLENS_USE_AVX2
#include "kernels_impl.h"

namespace {
const thinlens::EdgeSrKernels &thinlens_edge_sr() { return thinlens::edge_sr_kernels_avx2(); }
}  // namespace

namespace thinlens {

const Kernels &kernels_avx2() {
    static const Kernels kernels{"avx2", run_task, absorb_sums, edge_sr_kernels_avx2, low_sums, binary_conv2d};
    return kernels;
}

}  // namespace thinlens
