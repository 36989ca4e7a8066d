// Processors with AVX-512 but without its integer dot products are few: they take the AVX2 kernels, which saves a third of the time
// that the engine takes to compile.
#include "kernels.h"

namespace thinlens {

const EdgeSrKernels &edge_sr_kernels_avx512() { return has_avx512_vnni() ? edge_sr_kernels_avx512_vnni() : edge_sr_kernels_avx2(); }

}  // namespace thinlens
