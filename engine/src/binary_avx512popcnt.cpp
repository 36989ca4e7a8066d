// Sums of binary convolutions where the processor counts the bits of a whole vector in one instruction.
#define THINLENS_USE_AVX512
#define THINLENS_POPCNT
#include "binary_sums.h"

namespace thinlens {

void binary_sums_avx512_popcnt(const LowSums &task) { binary_sums(task); }

}  // namespace thinlens
