#define THINLENS_USE_NEON
#include "kernels_impl.h"

namespace {
const thinlens::EdgeSrKernels &thinlens_edge_sr() { return thinlens::edge_sr_kernels_neon(); }
}  // namespace

namespace thinlens {

const Kernels &kernels_neon() {
    static const Kernels kernels{"neon", run_task, absorb_sums, edge_sr_kernels_neon, low_sums, binary_conv2d};
    return kernels;
}

}  // namespace thinlens
