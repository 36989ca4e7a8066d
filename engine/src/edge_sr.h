// One-layer upscalers (edge-SR MAX, TM, TR) in one pass: convolution, competition of the candidates, pixel shuffle, rounding.
//
//     EdgeSr::prepare   once, from the weights: picks folded or plain, integer or float, and packs the weights
//     absorb            one input row -> one line: converted and padded left and right
//     produce           `kernel` lines -> `scale` output rows
//
// The kernels are compiled once per instruction set and give the same bits on each. What they need is in EdgeSrPlan, plain data
// without functions: an inline function used here and there could be linked from the wrong instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace thinlens {

struct EdgeSrSpec {
    int family;      // 0 max, 1 tm, 2 tr
    int kernel;      // odd side of the filters, 1 to 15
    int candidates;  // 1 to 16
    int scale;       // 1 to 8
    int pad_mode;    // 0 zero, 1 edge, 2 mirror (left and right; rows are the caller's)
    const float *weight;  // groups C s^2 filters of K x K, group-major: channel g s^2 + i s + j; groups: values [, queries] [, keys]
};

// What a row given to absorb holds.
enum EdgeSrInput {
    EDGE_SR_FLOAT = 0,   // float, 0..1
    EDGE_SR_LEVELS = 1,  // int16, 32 per gray level
    EDGE_SR_BYTES = 2,   // uint8, gray levels
};

enum EdgeSrCompetition {
    EDGE_SR_LINEAR = 0,   // one candidate
    EDGE_SR_LARGEST = 1,  // max_c v_c
    EDGE_SR_BOUNDED = 2,  // softmax whose logits cannot overflow; groups: last value, C-1 value differences, C-1 logit differences
    EDGE_SR_SOFTMAX = 3,  // groups: C values, C logits; the largest logit is taken off
    EDGE_SR_PRODUCT = 4,  // groups: C values, C queries, C keys; logits are query times key
};

// One value that the filters multiply: x[left], x[right] + x[left] or x[right] - x[left] of one (vertically folded) row.
struct EdgeSrTap {
    int32_t row, left, right, kind;  // kind 0: left alone, 1: sum, 2: difference
};

// sums[first_row ...] = (or +=, if accumulate) weights times taps [first_tap, first_tap + taps). Taps are pairs in integer variants.
struct EdgeSrJob {
    int32_t first_tap, taps, first_row, rows, accumulate;
    const void *weights;  // blocks of EDGE_SR_BLOCK rows (the last may have fewer): for each tap, one weight (pair) a row
};

constexpr int EDGE_SR_BLOCK = 4;

// Output phases (i s + j) that mirrored copies of one filter make: 1, 2 or 4, from as many sums a group.
// 2: E + O, E - O.  4: with sums ee, eo, oe, oo: ee + eo + oe + oo, then odd columns negated, odd rows negated, both.
struct EdgeSrOrbit {
    int32_t members, phases[4];
    int32_t rows[4];  // sum a of group g is row rows[a] + g
};

// Orbits whose sums are made, and compete, together.
struct EdgeSrBatch {
    int32_t first_job, jobs, first_orbit, orbits;
};

struct EdgeSrPlan {
    int32_t competition, kernel, candidates, groups, scale, pad_mode;
    int32_t folded, integer;  // integer: pixels are gray levels, sums are exact integers
    int32_t tile;             // columns worked on together
    int32_t folded_rows;      // rows after the vertical fold: even ones 0..K/2, then odd ones 1..K/2
    int32_t taps;             // in pairs if integer
    int32_t shift;            // integer: fraction bits of the sums
    const EdgeSrTap *tap_list;  // integer: two for each pair
    int32_t batches;
    const EdgeSrBatch *batch_list;
    const EdgeSrOrbit *orbit_list;
    const EdgeSrJob *job_list;
    size_t rows_at, taps_at, sums_at, pixels_at, bytes_at, scratch_bytes;  // layout of the scratch
};

constexpr int EDGE_SR_MARGIN = 32;  // elements of a line left of column 0 and right of the last full tile
constexpr int EDGE_SR_TILE = 64;    // lines are padded to a multiple
constexpr int EDGE_SR_CHUNK = 512;  // columns folded vertically at a time

// Immutable once prepared; copies share the weights; any number of threads may use it.
class EdgeSr {
public:
    // levels_in: rows come as levels or bytes. bytes_out: produce will be asked for bytes. Only with both may integers be used.
    // The spec must be valid (ranges above, finite weights).
    static EdgeSr prepare(const EdgeSrSpec &spec, bool levels_in, bool bytes_out = true);

    size_t line_bytes(int64_t width) const;     // of one absorbed row; lines start at multiples of 64
    size_t scratch_bytes(int64_t width) const;  // for produce, at a multiple of 64
    const char *variant() const;                // such as "folded int16"

    const EdgeSrPlan *plan = nullptr;

private:
    std::shared_ptr<const void> owner_;
};

struct EdgeSrKernels {
    // row: exactly `width` elements of type EdgeSrInput.
    void (*absorb)(const EdgeSr &model, const void *row, int input_type, int64_t width, void *line);
    // lines: `kernel` of them, top to bottom, outside the image already resolved (repeated lines, or zero_line).
    // out: `scale` rows of exactly width * scale elements: bytes if raw, else floats that are not clamped.
    void (*produce)(const EdgeSr &model, const void *const *lines, int64_t width, void *const *out, bool raw, void *scratch);
    void (*zero_line)(const EdgeSr &model, int64_t width, void *line);
};

const EdgeSrKernels &edge_sr_kernels_scalar();
const EdgeSrKernels &edge_sr_kernels_avx2();
const EdgeSrKernels &edge_sr_kernels_avx512();  // of the two below, the best that the processor has
const EdgeSrKernels &edge_sr_kernels_avx512_plain();
const EdgeSrKernels &edge_sr_kernels_avx512_vnni();
const EdgeSrKernels &edge_sr_kernels_neon();

}  // namespace thinlens
