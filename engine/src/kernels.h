// What the row machine hands to the kernels of one instruction set: one row of one op.
#pragma once

#include <atomic>

#include "plan.h"

namespace thinlens {

constexpr int TILE = 64;  // columns that a convolution works on at a time; planes are padded to a multiple

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Rows of one input, resolved: pointers to plane 0; null where the row is zero padding.
struct Source {
    const float *const *rows;
    int64_t count;
    int64_t plane;  // floats from one channel to the next
    int channels;
    int64_t width, height;  // height of a frame
};

constexpr int MAX_INPUTS = 64;

// One tile of a convolution in low precision. A kernel row's elements begin at `first`, for the tile's first column under the kernel's
// first; channels are `plane` elements apart (0: all alike). Sums, int32 or float: a row a channel, `sum_plane` apart, with room for
// whole blocks of 16 channels and TILE columns.
struct LowRow {
    const int32_t *first;
    int64_t plane;
};
struct LowSums {
    const Op *op;
    const LowRow *rows;
    int64_t columns;
    void *sums;
    int64_t sum_plane;
};

using LowBlock = void (*)(const LowSums &, int first, const int32_t *weight);  // sums of up to LOW_BLOCK output channels

struct Kernels;

struct Task {
    const Op *op = nullptr;
    Source in[MAX_INPUTS];  // only `inputs` of them are set: clearing all would cost more than many a row
    int inputs = 0;
    int64_t y = 0;           // the output row, in its frame
    float *out = nullptr;    // plane 0 of the row to make; planes are `out_plane` floats apart
    int64_t out_plane = 0;
    int out_channels = 0;
    int64_t out_width = 0, out_height = 0;
    void *const *raw = nullptr;        // raw rows to make (pixels_out; edge_sr makes `scale` of them)
    const void *raw_in = nullptr;      // the raw row to read (pixels_in)
    int raw_channels = 0, raw_type = U8;
    void *scratch = nullptr;           // scratch_bytes() of it, 64-byte aligned
    const void *const *lines = nullptr;  // edge_sr: absorbed lines, resolved
    void *state = nullptr;             // global_*: sums
    const float *zeros = nullptr;      // a plane of zeros, as wide as any
    std::atomic<bool> *not_a_number = nullptr;  // set if a result is not; threads share it
    int64_t (*claim)(void *) = nullptr;  // convolutions: the next tile to make, where threads share a row; null: all, in order
    void *claims = nullptr;              // what `claim` takes
    const Kernels *kernels = nullptr;
};

struct Kernels {
    const char *name;
    void (*run)(const Task &task);
    void (*absorb_sums)(const Source &row, double *sums);  // global_*: one row
    const EdgeSrKernels &(*edge_sr)();
    void (*low_sums)(const LowSums &task);  // convolutions in low precision
    void (*binary_conv2d)(const Task &task);
    bool has_tiles = false;                 // whether it takes weights as tiles
};

const Kernels &kernels_scalar();
#if defined(THINLENS_AVX2)
const Kernels &kernels_avx2();
#endif
#if defined(THINLENS_AVX512)
const Kernels &kernels_avx512();
void low_sums_avx512_vnni(const LowSums &task);
bool has_avx512_vnni();
void binary_conv2d_avx512_popcnt(const Task &task);
bool has_avx512_popcnt();
#endif
#if defined(THINLENS_AMX)
void low_sums_amx(const LowSums &task);
#endif
#if defined(THINLENS_NEON)
const Kernels &kernels_neon();
#endif

// The kernels of that name, or the best for null; null if unknown or not supported by this processor.
const Kernels *find_kernels(const char *name);
const char *isa_names();

// Bytes of scratch that one row of an op needs.
int64_t winograd_bytes(const Op &op);
int64_t low_run(const Op &op);        // elements of one plane of a tile with its border
int64_t low_sum_bytes(const Op &op);  // of a tile's sums
int64_t scratch_bytes(const Op &op, int channels_in, int64_t width_in, int64_t width_out);

// One tap of a resize: out = sum of weight[k] * in[index + k], indices outside the image resolved by the border.
struct ResizeTap {
    int64_t index;
    int count;
    float weight[4];
};
ResizeTap resize_tap(const Op &op, int64_t position, int64_t in, int64_t out);

// Where a row or column outside [0, size) is read; -1: zero.
int64_t resolve(int pad_mode, int64_t index, int64_t size);

}  // namespace thinlens
