#define THINLENS_ESR_NEON
#include "edge_sr_kernels.h"

namespace thinlens {

const EdgeSrKernels &edge_sr_kernels_neon() { return KERNELS; }

}  // namespace thinlens
