#define THINLENS_USE_SCALAR
#include "kernels_impl.h"

namespace {
const thinlens::EdgeSrKernels &thinlens_edge_sr() { return thinlens::edge_sr_kernels_scalar(); }
}  // namespace

namespace thinlens {

const Kernels &kernels_scalar() {
    static const Kernels kernels{"scalar", run_task, absorb_sums, edge_sr_kernels_scalar, low_sums, binary_conv2d};
    return kernels;
}

}  // namespace thinlens
