// Binary convolutions where the processor counts the bits of a whole vector in one instruction.
#define THINLENS_USE_AVX512
#define THINLENS_POPCNT
#include "kernels.h"
#include "simd.h"

#include "conv_kernels.h"
#include "low_sums.h"
#include "low_kernels.h"
#include "binary_tiles.h"
#include "binary_kernels.h"

namespace thinlens {

void binary_conv2d_avx512_popcnt(const Task &task) { binary_conv2d(task); }

}  // namespace thinlens
