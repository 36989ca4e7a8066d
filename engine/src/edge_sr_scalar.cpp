#define THINLENS_ESR_SCALAR
#include "edge_sr_kernels.h"

namespace thinlens {

const EdgeSrKernels &edge_sr_kernels_scalar() { return KERNELS; }

}  // namespace thinlens
