// Works out a session's layout; see layout.cpp.
#pragma once

#include "machine.h"

namespace thinlens {

constexpr int64_t MAX_BYTES = int64_t(1) << 46;

// Bytes of the block that holds a layout's arrays.
int64_t tables_bytes(const Plan &plan);

// Fill a layout whose arrays lie in `tables`: sizes, rows to make, rings, offsets.
tl_status lay_out(const Plan &plan, const tl_request &request, int threads, char *tables, Layout &layout, std::string &message);

// Input rows after which an endless image's program has settled into its period; 0: too many to find out what it needs.
int64_t settled(const Plan &plan);

// Farthest input rows above and below its own that an output row depends on.
void halo(const Plan &plan, const tl_request &request, const Layout &layout, int64_t &above, int64_t &below);

}  // namespace thinlens
