#define THINLENS_ESR_AVX2
#include "edge_sr_kernels.h"

namespace thinlens {

const EdgeSrKernels &edge_sr_kernels_avx2() { return KERNELS; }

}  // namespace thinlens
