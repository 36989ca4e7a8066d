// Sums in low precision where the processor multiplies and adds four bytes in one instruction.
#define THINLENS_USE_AVX512
#define THINLENS_VNNI
#include "low_sums.h"

namespace thinlens {

void low_sums_avx512_vnni(const LowSums &task) { low_sums(task); }

}  // namespace thinlens
