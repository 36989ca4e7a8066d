// As edge_sr_avx512.cpp, where the processor multiplies and adds pairs in one instruction. The results are the same.
#define THINLENS_ESR_AVX512
#define THINLENS_ESR_VNNI
#include "edge_sr_kernels.h"

namespace thinlens {

const EdgeSrKernels &edge_sr_kernels_avx512_vnni() { return KERNELS; }

}  // namespace thinlens
