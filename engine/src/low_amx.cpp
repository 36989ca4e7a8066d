// Sums in low precision by tiles of 16 rows of 64 bytes, which the processor multiplies whole (AMX). Weights are one factor, 16 output
// channels by up to 16 elements of one tap; a row's planes are the other: 16 elements by 16 columns, just as they lie.
#include <immintrin.h>

#include "kernels.h"

namespace thinlens {
namespace {

struct Shapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};

// Tiles 0 to 3: sums; 4, 5: weights; 6, 7: columns.
void shape_tiles(int64_t depth) {
    alignas(64) Shapes shapes;
    for (int t = 0; t < 8; ++t) shapes.bytes[t] = 64, shapes.rows[t] = 16;
    for (int t : {4, 5}) shapes.bytes[t] = uint16_t(depth * 4);
    for (int t : {6, 7}) shapes.rows[t] = uint8_t(depth);
    _tile_loadconfig(&shapes);
}

// The compilers take tiles' numbers only as they are written.
#define MULTIPLY(sum, weight, column)              \
    if constexpr (BYTES)                           \
        _tile_dpbsud(sum, weight, column);         \
    else                                           \
        _tile_dpbf16ps(sum, weight, column)

// ROWS times 16 output channels, COLUMNS times 16 columns from x on.
template <bool BYTES, int ROWS, int COLUMNS>
inline void block(const LowSums &task, int first, int64_t x) {
    const Op &op = *task.op;
    const int64_t elements = op.low_elements(), depth = op.low_depth();
    const int64_t blocks = (elements + depth - 1) / depth, step = op.kh * op.kw * blocks * LOW_TILE;
    const int8_t *weight = reinterpret_cast<const int8_t *>(op.low_tiles.data()) + first / 16 * step;
    _tile_zero(0);
    if (COLUMNS > 1) _tile_zero(1);
    if (ROWS > 1) _tile_zero(2);
    if (ROWS > 1 && COLUMNS > 1) _tile_zero(3);
    for (int ky = 0; ky < op.kh; ++ky)
        for (int kx = 0; kx < op.kw; ++kx)
            for (int64_t b = 0; b < blocks; ++b, weight += LOW_TILE) {
                const int64_t from = b * depth + depth <= elements ? b * depth : elements - depth;
                const int32_t *in = task.rows[ky].first + from * task.rows[ky].plane + kx + x;
                const size_t stride = size_t(task.rows[ky].plane) * 4;
                _tile_loadd(4, weight, 64);
                _tile_loadd(6, in, stride);
                MULTIPLY(0, 4, 6);
                if (COLUMNS > 1) {
                    _tile_loadd(7, in + 16, stride);
                    MULTIPLY(1, 4, 7);
                }
                if (ROWS > 1) {
                    _tile_loadd(5, weight + step, 64);
                    MULTIPLY(2, 5, 6);
                }
                if (ROWS > 1 && COLUMNS > 1) {
                    MULTIPLY(3, 5, 7);
                }
            }
    int32_t *out = static_cast<int32_t *>(task.sums) + first * task.sum_plane + x;
    const size_t stride = size_t(task.sum_plane) * 4;
    _tile_stored(0, out, stride);
    if (COLUMNS > 1) _tile_stored(1, out + 16, stride);
    if (ROWS > 1) _tile_stored(2, out + 16 * task.sum_plane, stride);
    if (ROWS > 1 && COLUMNS > 1) _tile_stored(3, out + 16 * task.sum_plane + 16, stride);
}

template <bool BYTES>
void all_blocks(const LowSums &task) {
    for (int o = 0; o < task.op->out; o += 32)
        for (int64_t x = 0; x < task.columns; x += 32) {
            const bool rows = o + 16 < task.op->out, columns = x + 16 < task.columns;
            if (rows && columns)
                block<BYTES, 2, 2>(task, o, x);
            else if (rows)
                block<BYTES, 2, 1>(task, o, x);
            else if (columns)
                block<BYTES, 1, 2>(task, o, x);
            else
                block<BYTES, 1, 1>(task, o, x);
        }
}

}  // namespace

void low_sums_amx(const LowSums &task) {
    shape_tiles(task.op->low_depth());
    if (task.op->precision == INT8)
        all_blocks<true>(task);
    else
        all_blocks<false>(task);
    _tile_release();
}

}  // namespace thinlens
