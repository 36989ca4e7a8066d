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

// Rows that the filters' columns are taken from: folded lines, lines themselves, or (integer) pairs of such, one in each half of
// an int32.
struct EdgeSrRow {
    int32_t kind;           // 0: line `middle + at`; 1: line middle + at plus, 2: minus, line middle - at
    int32_t first, second;  // `at`; second: of the other half, if integer
    int32_t second_kind;
};

// Values that the filters multiply: row[x + dx], and if folded row[x + dx] plus and minus row[x - dx] for dx >= 1.
struct EdgeSrTap {
    int32_t row, dx;
    int32_t even, odd;  // where its values lie among the taps; odd: -1 if there is none
};

// sums[first_row ...] = (or +=, if accumulate) weights times taps [first_tap, first_tap + taps).
struct EdgeSrJob {
    int32_t first_tap, taps, first_row, rows, accumulate;
    const void *weights;  // blocks of EDGE_SR_BLOCK rows (the last may have fewer): for each tap, one weight (pair) a row
};

constexpr int EDGE_SR_BLOCK = 4, EDGE_SR_FUSED = 2;

// How many phases mirrored copies of one filter make, and which sums they need. ROWS: E + O, E - O. BOTH: with sums ee, eo, oe, oo:
// ee + eo + oe + oo, then odd columns negated, odd rows negated, both. FREE: four phases with filters of their own (fused, plain).
enum EdgeSrMirror { EDGE_SR_ALONE = 0, EDGE_SR_ROWS = 1, EDGE_SR_COLUMNS = 2, EDGE_SR_BOTH = 3, EDGE_SR_FREE = 4 };

struct EdgeSrOrbit {
    int32_t mirror, members, phases[4];  // phase i s + j
    int32_t rows[4];                     // sum a of group g is row rows[a] + g
    const void *weights;  // fused: blocks of EDGE_SR_FUSED groups (the rest one by one; softmax: of 3): for each visit, even and odd
                          // (FREE: each phase), one weight (pair) a group
};

// Orbits whose sums are made, and compete, together.
struct EdgeSrBatch {
    int32_t first_job, jobs, first_orbit, orbits;
};

struct EdgeSrPlan {
    int32_t competition, kernel, candidates, groups, scale, pad_mode;
    int32_t folded, integer;  // integer: pixels are gray levels, sums are exact integers with 16 fraction bits
    int32_t fused;            // sums are made in registers, straight from the rows: folded or scale 2; linear, largest, product, or a
                              // bounded softmax of two
    int32_t line_shift;       // integer: lines hold gray levels times 2^line_shift
    int32_t rows, taps, visits, orbits, batches;
    const EdgeSrRow *row_list;
    const EdgeSrTap *visit_list;
    const EdgeSrBatch *batch_list;
    const EdgeSrOrbit *orbit_list;
    const EdgeSrJob *job_list;
    size_t rows_at, taps_at, sums_at, pixels_at, woven_at, scratch_bytes;  // layout of the scratch
};

constexpr int EDGE_SR_MARGIN = 32;  // elements of a line left of column 0 and right of the last full tile
constexpr int EDGE_SR_TILE = 64;    // columns worked on together; lines are padded to a multiple
constexpr int EDGE_SR_STRIDE = EDGE_SR_TILE + 16;
constexpr int EDGE_SR_CHUNK = 1024; // columns whose rows are made together

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
const EdgeSrKernels &edge_sr_kernels_avx512();  // with VNNI, else those of AVX2
const EdgeSrKernels &edge_sr_kernels_avx512_vnni();
const EdgeSrKernels &edge_sr_kernels_neon();

}  // namespace thinlens
