// Kernels of the one-layer upscalers, for the vector type V of one instruction set (edge_sr_simd.h). Everything has internal
// linkage.
//
// A tile of columns at a time, all in the first-level cache:
//
//     lines -> rows (folded) -> taps (folded columns) -> sums (a small matrix product) -> competition -> bytes, phases woven
//
// or, where the competition is as simple as a maximum, fused: rows -> registers -> bytes.
//
// Integer sums are exact and float ones are made in one order, each step rounded once, so that results depend neither on the
// instruction set nor on where a tile begins.
#pragma once

#include "edge_sr.h"
#include "edge_sr_simd.h"

namespace {

using namespace thinlens;

#if defined(_MSC_VER) && !defined(__clang__)
#define INLINE __forceinline
#define INLINED [[msvc::forceinline]]
#define SHARED __declspec(noinline)
#else
#define INLINE __attribute__((always_inline)) inline
#define INLINED __attribute__((always_inline))
#define SHARED __attribute__((noinline))
#endif

// f(0), f(1), ... f(N - 1) with constants, so that arrays of vectors that these index live in registers.
template <int I>
struct Constant {
    static constexpr int value = I;
    constexpr operator int() const { return I; }
};
#if defined(__SANITIZE_ADDRESS__)
#define CHECKED_ADDRESSES 1
#elif defined(__has_feature)
#define CHECKED_ADDRESSES __has_feature(address_sanitizer)
#else
#define CHECKED_ADDRESSES 0
#endif
#if defined(THINLENS_ESR_SCALAR) || CHECKED_ADDRESSES  // compilers need many minutes for checks of what is unrolled
template <int N, class Body>
INLINE void repeat(const Body &body) {
    for (int i = 0; i < N; ++i) body(i);
}
#else
template <int N, int I = 0, class Body>
INLINE void repeat(const Body &body) {
    if constexpr (I < N) {
        body(Constant<I>());
        repeat<N, I + 1>(body);
    }
}
#endif

constexpr float BYTE = 1.0f / 255.0f;

int64_t tiles_of(int64_t width) { return (width + EDGE_SR_TILE - 1) / EDGE_SR_TILE; }

// ---- absorb -----------------------------------------------------------------------------------------------------------------

// The column that stands for one outside the image.
int64_t inside(int64_t x, int64_t width, int pad_mode) {
    if (pad_mode == 1) return x < 0 ? 0 : x >= width ? width - 1 : x;
    if (width == 1) return 0;
    const int64_t period = 2 * (width - 1);
    x %= period;
    if (x < 0) x += period;
    return x < width ? x : period - x;
}

template <class T>
void pad_line(const EdgeSrPlan &plan, int64_t width, T *line) {
    const int64_t stop = tiles_of(width) * EDGE_SR_TILE + EDGE_SR_MARGIN, side = plan.kernel / 2;
    std::memset(line - EDGE_SR_MARGIN, 0, EDGE_SR_MARGIN * sizeof(T));
    std::memset(line + width, 0, size_t(stop - width) * sizeof(T));
    if (plan.pad_mode == 0) return;
    for (int64_t x = -side; x < 0; ++x) line[x] = line[inside(x, width, plan.pad_mode)];
    for (int64_t x = width; x < width + side; ++x) line[x] = line[inside(x, width, plan.pad_mode)];
}

// Blocks of 32 columns are shuffled so that vectors of any length interleave within their lanes alone.
void shuffle_line(int64_t width, int16_t *line) {
    for (int64_t x = -EDGE_SR_MARGIN; x < tiles_of(width) * EDGE_SR_TILE + EDGE_SR_MARGIN; x += 32) V::shuffle(line + x);
}

void absorb_integers(const EdgeSrPlan &plan, const void *row, int input_type, int64_t width, int16_t *line) {
    line += EDGE_SR_MARGIN;
    const int shift = plan.line_shift;
    if (input_type == EDGE_SR_BYTES) {
        const uint8_t *in = static_cast<const uint8_t *>(row);
        const uint16_t unit = uint16_t(1u << shift);  // multiplied, not shifted: compilers keep that in 16 bits
        for (int64_t x = 0; x < width; ++x) line[x] = int16_t(uint16_t(in[x] * unit));
    } else {
        const int16_t *in = static_cast<const int16_t *>(row);
        for (int64_t x = 0; x < width; ++x) line[x] = int16_t(in[x] >> (5 - shift));
    }
    pad_line(plan, width, line);
    shuffle_line(width, line);
}

void absorb_floats(const EdgeSrPlan &plan, const void *row, int input_type, int64_t width, float *line) {
    line += EDGE_SR_MARGIN;
    if (input_type == EDGE_SR_BYTES) {
        const uint8_t *in = static_cast<const uint8_t *>(row);
        for (int64_t x = 0; x < width; ++x) line[x] = float(in[x]) * BYTE;
    } else if (input_type == EDGE_SR_LEVELS) {
        const int16_t *in = static_cast<const int16_t *>(row);
        for (int64_t x = 0; x < width; ++x) line[x] = float(in[x]) * (BYTE / 32);
    } else {
        std::memcpy(line, row, size_t(width) * sizeof(float));
    }
    pad_line(plan, width, line);
}

void absorb(const EdgeSr &model, const void *row, int input_type, int64_t width, void *line) {
    const EdgeSrPlan &plan = *model.plan;
    if (plan.integer)
        absorb_integers(plan, row, input_type, width, static_cast<int16_t *>(line));
    else
        absorb_floats(plan, row, input_type, width, static_cast<float *>(line));
}

void zero_line(const EdgeSr &model, int64_t width, void *line) {
    const size_t element = model.plan->integer ? sizeof(int16_t) : sizeof(float);
    std::memset(line, 0, size_t(tiles_of(width) * EDGE_SR_TILE + 2 * EDGE_SR_MARGIN) * element);
}

// ---- arithmetic: float, and pairs of int16 with exact int32 sums ------------------------------------------------------------

constexpr int32_t HALF = 1 << 15;  // of a gray level with 16 fraction bits

// Gray levels with 16 fraction bits, and a half more: the whole part is the rounded level.
V::I levels(const V::F &pixels) {
    const V::F inside = V::min(V::max(pixels, V::set(0.0f)), V::set(1.0f));
    return V::to_int(V::fma(inside, V::set(255.0f * 65536.0f), V::set(float(HALF))));
}
V::I levels(const V::I &sums) { return V::add(sums, V::set(HALF)); }

V::F floats(const V::F &pixels) { return pixels; }
V::F floats(const V::I &sums) { return V::mul(V::to_float(sums), V::set(BYTE / 65536.0f)); }

struct Floats {
    using Line = float;
    using Sum = float;  // also of rows and taps
    using Vector = V::F;
    static Vector zero() { return V::set(0.0f); }
    static constexpr bool PAIRS = false;
    static Vector load(const float *p) { return V::load(p); }
    static Vector plus(const Vector &a, const Vector &b) { return V::add(a, b); }
    static Vector minus(const Vector &a, const Vector &b) { return V::sub(a, b); }
    static Vector step(const Vector &sum, const Vector &x, const Vector &w) { return V::fma(x, w, sum); }
    static Vector rounding() { return zero(); }  // what sums begin with for level
    static V::I level(const Vector &sum) { return levels(sum); }
};

struct Integers {
    using Line = int16_t;
    using Sum = int32_t;
    using Vector = V::I;
    static Vector zero() { return V::set(0); }
    static constexpr bool PAIRS = true;
    static Vector load(const int32_t *p) { return V::load_pairs(p); }
    static Vector plus(const Vector &a, const Vector &b) { return V::add_pairs(a, b); }
    static Vector minus(const Vector &a, const Vector &b) { return V::subtract_pairs(a, b); }
    static Vector step(const Vector &sum, const Vector &x, const Vector &w) { return V::dot(sum, x, w); }
    static Vector rounding() { return V::set(HALF); }
    static V::I level(const Vector &sum) { return sum; }
};

// ---- rows -------------------------------------------------------------------------------------------------------------------

// The two lines that a (half) row is made of.
template <class T>
struct LinePair {
    const T *below, *above;
    LinePair(const EdgeSrPlan &plan, const void *const *lines, int at)
        : below(static_cast<const T *>(lines[plan.kernel / 2 + at]) + EDGE_SR_MARGIN),
          above(at < 0 ? nullptr : static_cast<const T *>(lines[plan.kernel / 2 - at]) + EDGE_SR_MARGIN) {}
};

void make_row(Floats, const EdgeSrPlan &plan, const EdgeSrRow &row, const void *const *lines, int64_t first, int64_t stop, float *out) {
    const LinePair<float> l(plan, lines, row.first);
    if (row.kind == 0)
        for (int64_t x = first; x < stop; x += V::N) V::store(out + x, V::load(l.below + x));
    else if (row.kind == 1)
        for (int64_t x = first; x < stop; x += V::N) V::store(out + x, V::add(V::load(l.below + x), V::load(l.above + x)));
    else
        for (int64_t x = first; x < stop; x += V::N) V::store(out + x, V::sub(V::load(l.below + x), V::load(l.above + x)));
}

void make_row(Integers, const EdgeSrPlan &plan, const EdgeSrRow &row, const void *const *lines, int64_t first, int64_t stop, int32_t *out) {
    const LinePair<int16_t> a(plan, lines, row.first), b(plan, lines, row.second);
    auto one = [](const LinePair<int16_t> &l, int64_t x) { return V::load(l.below + x); };
    auto plus = [](const LinePair<int16_t> &l, int64_t x) { return V::add16(V::load(l.below + x), V::load(l.above + x)); };
    auto minus = [](const LinePair<int16_t> &l, int64_t x) { return V::sub16(V::load(l.below + x), V::load(l.above + x)); };
    auto interleave = [&](const auto &first_half, const auto &second_half) {
        for (int64_t x = first; x < stop; x += 32)
            for (int i = 0; i < 32; i += V::WORDS) V::interleave(out + x + i / 2, first_half(a, x + i), second_half(b, x + i));
    };
    if (row.kind == 2)
        interleave(minus, minus);
    else if (row.kind == 1)
        interleave(plus, plus);
    else if (row.second_kind == 1)
        interleave(one, plus);
    else
        interleave(one, one);
}

constexpr int MAX_ROWS = 16;

// rows[r] + x: column x of row r, for [first - margin, stop + margin).
template <class A>
void make_rows(const EdgeSrPlan &plan, const void *const *lines, int64_t first, int64_t stop, char *scratch, const typename A::Sum **rows) {
    using Sum = typename A::Sum;
    for (int r = 0; r < plan.rows; ++r) {
        if (sizeof(typename A::Line) == sizeof(Sum) && !plan.folded) {  // as they are
            rows[r] = static_cast<const Sum *>(lines[r]) + EDGE_SR_MARGIN;
        } else {
            Sum *row = reinterpret_cast<Sum *>(scratch + plan.rows_at) + r * (EDGE_SR_CHUNK + 2 * EDGE_SR_MARGIN) + EDGE_SR_MARGIN - first;
            make_row(A(), plan, plan.row_list[r], lines, first - EDGE_SR_MARGIN, stop + EDGE_SR_MARGIN, row);
            rows[r] = row;
        }
    }
}

// ---- taps -------------------------------------------------------------------------------------------------------------------

constexpr int TILE = EDGE_SR_TILE, VECTORS = TILE / V::N, STRIDE = EDGE_SR_STRIDE;

template <class A>
void make_taps(const EdgeSrPlan &plan, const typename A::Sum *const *rows, int64_t x, typename A::Sum *taps) {
    for (int v = 0; v < plan.visits; ++v) {
        const EdgeSrTap visit = plan.visit_list[v];
        const typename A::Sum *left = rows[visit.row] + x - visit.dx, *right = rows[visit.row] + x + visit.dx;
        typename A::Sum *even = taps + visit.even * STRIDE, *odd = taps + visit.odd * STRIDE;
        if (!plan.folded || visit.dx == 0) {
            for (int i = 0; i < VECTORS; ++i) V::store(even + i * V::N, A::load(right + i * V::N));
            continue;
        }
        for (int i = 0; i < VECTORS; ++i) {
            const typename A::Vector a = A::load(left + i * V::N), b = A::load(right + i * V::N);
            V::store(even + i * V::N, A::plus(b, a));
            V::store(odd + i * V::N, A::minus(b, a));
        }
    }
}

// ---- sums -------------------------------------------------------------------------------------------------------------------

// ROWS sums for a tile: sums[r] (+)= sum over t of weights[t][r] taps[t].
template <class A, int ROWS>
void sum_rows(const typename A::Sum *taps, int count, const typename A::Sum *weights, bool accumulate, typename A::Sum *sums) {
    using Vector = typename A::Vector;
    for (int x = 0; x < TILE; x += V::BLOCK * V::N) {
        Vector sum[ROWS][V::BLOCK];
        for (int r = 0; r < ROWS; ++r)
            for (int v = 0; v < V::BLOCK; ++v) sum[r][v] = accumulate ? V::load(sums + r * STRIDE + x + v * V::N) : A::zero();
        const typename A::Sum *tap = taps + x, *weight = weights;
        for (int t = 0; t < count; ++t, tap += STRIDE, weight += ROWS) {
            Vector value[V::BLOCK];
            for (int v = 0; v < V::BLOCK; ++v) value[v] = V::load(tap + v * V::N);
            for (int r = 0; r < ROWS; ++r) {
                const Vector w = V::set(weight[r]);
                for (int v = 0; v < V::BLOCK; ++v) sum[r][v] = A::step(sum[r][v], value[v], w);
            }
        }
        for (int r = 0; r < ROWS; ++r)
            for (int v = 0; v < V::BLOCK; ++v) V::store(sums + r * STRIDE + x + v * V::N, sum[r][v]);
    }
}

template <class A>
void run_job(const EdgeSrJob &job, const typename A::Sum *taps, typename A::Sum *sums) {
    using Sum = typename A::Sum;
    const Sum *weights = static_cast<const Sum *>(job.weights);
    taps += size_t(job.first_tap) * STRIDE;
    sums += size_t(job.first_row) * STRIDE;
    for (int row = 0; row < job.rows; row += EDGE_SR_BLOCK) {
        const bool accumulate = job.accumulate != 0;
        switch (job.rows - row) {
            case 1: sum_rows<A, 1>(taps, job.taps, weights, accumulate, sums); break;
            case 2: sum_rows<A, 2>(taps, job.taps, weights, accumulate, sums); break;
            case 3: sum_rows<A, 3>(taps, job.taps, weights, accumulate, sums); break;
            default: sum_rows<A, EDGE_SR_BLOCK>(taps, job.taps, weights, accumulate, sums); break;
        }
        weights += size_t(EDGE_SR_BLOCK) * job.taps;
        sums += EDGE_SR_BLOCK * STRIDE;
    }
}

// ---- competition ------------------------------------------------------------------------------------------------------------

// The MEMBERS phases of an orbit, from as many sums, in place.
template <int MEMBERS, class Vector>
void combine(Vector *phase) {
    if (MEMBERS == 2) {
        const Vector even = phase[0], odd = phase[1];
        phase[0] = V::add(even, odd);
        phase[1] = V::sub(even, odd);
    } else if (MEMBERS == 4) {
        const Vector ee = phase[0], eo = phase[1], oe = phase[2], oo = phase[3];
        const Vector even_plus = V::add(ee, eo), even_minus = V::sub(ee, eo);
        const Vector odd_plus = V::add(oe, oo), odd_minus = V::sub(oe, oo);
        phase[0] = V::add(even_plus, odd_plus);
        phase[1] = V::add(even_minus, odd_minus);
        phase[2] = V::sub(even_plus, odd_plus);
        phase[3] = V::sub(even_minus, odd_minus);
    }
}

// Group g's values in the phases of an orbit.
template <class A, int MEMBERS>
void phases_of(const EdgeSrOrbit &orbit, int g, const typename A::Sum *sums, typename A::Vector *phase) {
    for (int a = 0; a < MEMBERS; ++a) phase[a] = V::load(sums + (orbit.rows[a] + g) * STRIDE);
    combine<MEMBERS>(phase);
}

// 2^x for x in -125..126: relative error below 3e-6.
V::F power_of_two(V::F x) {
    const V::F rest = V::rest(x);  // from the nearest integer
    V::F p = V::set(0.009570102207362652f);
    p = V::fma(p, rest, V::set(0.05591786280274391f));
    p = V::fma(p, rest, V::set(0.240247443318367f));
    p = V::fma(p, rest, V::set(0.6931217908859253f));
    p = V::fma(p, rest, V::set(0.9999992847442627f));
    return V::scale(p, V::sub(x, rest));
}

template <class A, int MEMBERS>
void largest(const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const typename A::Sum *sums, typename A::Vector *best) {
    phases_of<A, MEMBERS>(orbit, 0, sums, best);
    for (int c = 1; c < plan.candidates; ++c) {
        typename A::Vector phase[MEMBERS];
        phases_of<A, MEMBERS>(orbit, c, sums, phase);
        for (int p = 0; p < MEMBERS; ++p) best[p] = V::max(best[p], phase[p]);
    }
}

// The last candidate's value plus the others' differences from it, weighted: a softmax whose last logit is zero.
template <int MEMBERS>
void bounded_softmax(const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const float *sums, V::F *result) {
    const int others = plan.candidates - 1;
    V::F total[MEMBERS], weighted[MEMBERS];
    for (int p = 0; p < MEMBERS; ++p) total[p] = V::set(1.0f), weighted[p] = V::set(0.0f);
    for (int c = 1; c <= others; ++c) {
        V::F value[MEMBERS], logit[MEMBERS];
        phases_of<Floats, MEMBERS>(orbit, c, sums, value);
        phases_of<Floats, MEMBERS>(orbit, others + c, sums, logit);
        for (int p = 0; p < MEMBERS; ++p) {
            const V::F e = power_of_two(V::min(V::max(logit[p], V::set(-125.0f)), V::set(119.0f)));
            total[p] = V::add(total[p], e);
            weighted[p] = V::fma(value[p], e, weighted[p]);
        }
    }
    phases_of<Floats, MEMBERS>(orbit, 0, sums, result);
    for (int p = 0; p < MEMBERS; ++p) result[p] = V::add(result[p], V::div(weighted[p], total[p]));
}

constexpr int MAX_CANDIDATES = 16;

template <int MEMBERS>
void softmax(const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const float *sums, V::F *result) {
    const int count = plan.candidates;
    V::F logits[MAX_CANDIDATES][MEMBERS], most[MEMBERS];
    for (int c = 0; c < count; ++c) {
        phases_of<Floats, MEMBERS>(orbit, count + c, sums, logits[c]);
        if (plan.competition == EDGE_SR_PRODUCT) {
            V::F key[MEMBERS];
            phases_of<Floats, MEMBERS>(orbit, 2 * count + c, sums, key);
            for (int p = 0; p < MEMBERS; ++p) logits[c][p] = V::mul(logits[c][p], key[p]);
        }
        for (int p = 0; p < MEMBERS; ++p) most[p] = c == 0 ? logits[c][p] : V::max(most[p], logits[c][p]);
    }
    V::F total[MEMBERS], weighted[MEMBERS];
    for (int p = 0; p < MEMBERS; ++p) total[p] = weighted[p] = V::set(0.0f);
    for (int c = 0; c < count; ++c) {
        V::F value[MEMBERS];
        phases_of<Floats, MEMBERS>(orbit, c, sums, value);
        for (int p = 0; p < MEMBERS; ++p) {
            const V::F e = power_of_two(V::max(V::sub(logits[c][p], most[p]), V::set(-125.0f)));
            total[p] = V::add(total[p], e);
            weighted[p] = V::fma(value[p], e, weighted[p]);
        }
    }
    for (int p = 0; p < MEMBERS; ++p) result[p] = V::div(weighted[p], total[p]);
}

template <int MEMBERS>
void compete(Floats, const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const float *sums, V::F *result) {
    if (plan.competition <= EDGE_SR_LARGEST)
        largest<Floats, MEMBERS>(plan, orbit, sums, result);
    else if (plan.competition == EDGE_SR_BOUNDED)
        bounded_softmax<MEMBERS>(plan, orbit, sums, result);
    else
        softmax<MEMBERS>(plan, orbit, sums, result);
}

template <int MEMBERS>
void compete(Integers, const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const int32_t *sums, V::I *result) {
    largest<Integers, MEMBERS>(plan, orbit, sums, result);
}

// pixels: a plane of a tile for each phase.
template <class A, int MEMBERS>
void compete_tile(const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const typename A::Sum *sums, typename A::Sum *pixels) {
    for (int x = 0; x < TILE; x += V::N) {
        typename A::Vector result[MEMBERS];
        compete<MEMBERS>(A(), plan, orbit, sums + x, result);
        for (int p = 0; p < MEMBERS; ++p) V::store(pixels + orbit.phases[p] * TILE + x, result[p]);
    }
}

template <class A>
void run_batch(const EdgeSrPlan &plan, const EdgeSrBatch &batch, const typename A::Sum *taps, typename A::Sum *sums,
               typename A::Sum *pixels) {
    for (int j = batch.first_job; j < batch.first_job + batch.jobs; ++j) run_job<A>(plan.job_list[j], taps, sums);
    for (int o = batch.first_orbit; o < batch.first_orbit + batch.orbits; ++o) {
        const EdgeSrOrbit &orbit = plan.orbit_list[o];
        if (orbit.members == 4)
            compete_tile<A, 4>(plan, orbit, sums, pixels);
        else if (orbit.members == 2)
            compete_tile<A, 2>(plan, orbit, sums, pixels);
        else
            compete_tile<A, 1>(plan, orbit, sums, pixels);
    }
}

// ---- fused ------------------------------------------------------------------------------------------------------------------

constexpr int members_of(int mirror) { return mirror >= EDGE_SR_BOTH ? 4 : mirror == EDGE_SR_ALONE ? 1 : 2; }

// Which of an orbit's sums the taps even or odd in y and x go to.
constexpr int sum_at(int mirror, int odd_y, int odd_x) {
    return mirror == EDGE_SR_BOTH ? 2 * odd_y + odd_x : mirror == EDGE_SR_ROWS ? odd_y : mirror == EDGE_SR_COLUMNS ? odd_x : 0;
}

template <class Sum>
struct FusedInput {
    const Sum *const *rows;  // of taps, even ones first
    int even_rows, all_rows, half;
    int groups;
    int weights;  // of one group
};

template <class Sum>
FusedInput<Sum> fused_input(const EdgeSrPlan &plan, const Sum *const *rows) {
    const int kernel = plan.kernel, half = kernel / 2, group = plan.rows * kernel * (plan.folded ? 1 : 4);
    const int even_rows = plan.integer ? (half + 2) / 2 : half + 1;
    return {rows, plan.folded ? even_rows : plan.rows, plan.rows, half, plan.groups, group};
}

// Sums of COUNT candidates in VECTORS vectors at column x. STEP: from the weights of one tap to the next one's; candidates beyond
// STEP are in the next block. HALF: of the kernel, 0 for any. Larger ones stay loops: compilers take minutes for all of it unrolled.
template <class A, int MIRROR, int HALF, int COUNT, int VECTORS, int STEP>
INLINE void fused_sums(const FusedInput<typename A::Sum> &in, int64_t x, const typename A::Sum *weights,
                       typename A::Vector (&sums)[COUNT][members_of(MIRROR)][VECTORS]) {
    using Sum = typename A::Sum;
    using Vector = typename A::Vector;
    const Sum *next = weights + STEP * in.weights;
    auto add = [&](auto target, const Vector *value) INLINED {
        repeat<COUNT>([&](auto c) INLINED {
            const Vector w = V::set(c < STEP ? weights[c] : next[c - STEP]);
            repeat<VECTORS>([&](auto v) INLINED { sums[c][target][v] = A::step(sums[c][target][v], value[v], w); });
        });
        weights += STEP, next += STEP;
    };
    auto visit_free = [&](const Sum *row) INLINED {
        auto visit_column = [&](int column) INLINED {
            Vector value[VECTORS];
            repeat<VECTORS>([&](auto v) INLINED { value[v] = A::load(row + v * V::N + column), V::keep(value[v]); });
            repeat<members_of(MIRROR)>([&](auto phase) INLINED { add(phase, value); });
        };
        if (HALF > 0)
            repeat<2 * HALF + 1>([&](auto column) INLINED { visit_column(column - HALF); });
        else
            for (int column = -in.half; column <= in.half; ++column) visit_column(column);
    };
    auto visit = [&](const Sum *row, auto even_sum, auto odd_sum) INLINED {
        Vector even[VECTORS], odd[VECTORS];
        repeat<VECTORS>([&](auto v) INLINED { even[v] = A::load(row + v * V::N); });
        add(even_sum, even);
        auto visit_distance = [&](int dx) INLINED {
            repeat<VECTORS>([&](auto v) INLINED {
                Vector left = A::load(row + v * V::N - dx), right = A::load(row + v * V::N + dx);
                V::keep(left), V::keep(right);
                even[v] = A::plus(right, left), odd[v] = A::minus(right, left);
            });
            add(even_sum, even);
            add(odd_sum, odd);
        };
        if (HALF > 0)
            repeat<HALF>([&](auto i) INLINED { visit_distance(i + 1); });
        else
            for (int dx = 1; dx <= in.half; ++dx) visit_distance(dx);
    };
    auto visit_even = [&](int r) INLINED {
        visit(in.rows[r] + x, Constant<sum_at(MIRROR, 0, 0)>(), Constant<sum_at(MIRROR, 0, 1)>());
    };
    auto visit_odd = [&](int r) INLINED {
        visit(in.rows[r] + x, Constant<sum_at(MIRROR, 1, 0)>(), Constant<sum_at(MIRROR, 1, 1)>());
    };
    if constexpr (MIRROR == EDGE_SR_FREE) {
        for (int r = 0; r < in.all_rows; ++r) visit_free(in.rows[r] + x);
    } else if constexpr (HALF == 1 || HALF == 2) {
        constexpr int EVEN = A::PAIRS ? (HALF + 2) / 2 : HALF + 1, ODD = A::PAIRS ? (HALF + 1) / 2 : HALF;
        repeat<EVEN>([&](auto r) INLINED { visit_even(r); });
        repeat<ODD>([&](auto r) INLINED { visit_odd(EVEN + r); });
    } else {
        for (int r = 0; r < in.even_rows; ++r) visit_even(r);
        for (int r = in.even_rows; r < in.all_rows; ++r) visit_odd(r);
    }
}

// Makes best the largest of COUNT candidates, and of itself unless these are the first. start: what sums begin with.
template <class A, int MIRROR, int HALF, int COUNT, int VECTORS, int STEP>
INLINE void fused_block(const FusedInput<typename A::Sum> &in, int64_t x, const typename A::Sum *weights, typename A::Vector start,
                        bool first, typename A::Vector (*best)[members_of(MIRROR)]) {
    using Vector = typename A::Vector;
    constexpr int M = members_of(MIRROR);
    Vector sums[COUNT][M][VECTORS];
    repeat<COUNT>([&](auto c) INLINED {
        repeat<M>([&](auto a) INLINED {
            repeat<VECTORS>([&](auto v) INLINED { sums[c][a][v] = a == 0 || MIRROR == EDGE_SR_FREE ? start : A::zero(); });
        });
    });
    fused_sums<A, MIRROR, HALF, COUNT, VECTORS, STEP>(in, x, weights, sums);
    repeat<VECTORS>([&](auto v) INLINED {
        Vector largest[M];
        repeat<COUNT>([&](auto c) INLINED {
            Vector phase[M];
            repeat<M>([&](auto a) INLINED { phase[a] = sums[c][a][v]; });
            if (MIRROR != EDGE_SR_FREE) combine<M>(phase);
            repeat<M>([&](auto a) INLINED { largest[a] = c == 0 ? phase[a] : V::max(largest[a], phase[a]); });
        });
        if (first)
            repeat<M>([&](auto a) INLINED { best[v][a] = largest[a]; });
        else
            repeat<M>([&](auto a) INLINED { best[v][a] = V::max(best[v][a], largest[a]); });
    });
}

// The largest of all candidates, COUNT at a time, then fewer.
template <class A, int MIRROR, int HALF, int COUNT, int VECTORS>
INLINE void fused_largest(const FusedInput<typename A::Sum> &in, int64_t x, const typename A::Sum *weights, typename A::Vector start,
                          typename A::Vector (*best)[members_of(MIRROR)]) {
    int c = 0;
    for (; c + COUNT <= in.groups; c += COUNT, weights += COUNT * in.weights)
        fused_block<A, MIRROR, HALF, COUNT, VECTORS, EDGE_SR_FUSED>(in, x, weights, start, c == 0, best);
    if constexpr (COUNT > EDGE_SR_FUSED) {
        for (; c + EDGE_SR_FUSED <= in.groups; c += EDGE_SR_FUSED, weights += EDGE_SR_FUSED * in.weights)
            fused_block<A, MIRROR, HALF, EDGE_SR_FUSED, VECTORS, EDGE_SR_FUSED>(in, x, weights, start, c == 0, best);
    }
    if (c < in.groups) fused_block<A, MIRROR, HALF, 1, VECTORS, 1>(in, x, weights, start, c == 0, best);
}

// The phases of three groups.
template <int MIRROR, int HALF, int VECTORS>
INLINE void fused_three(const FusedInput<float> &in, int64_t x, const float *weights, V::F (&groups)[3][VECTORS][members_of(MIRROR)]) {
    constexpr int M = members_of(MIRROR);
    V::F sums[3][M][VECTORS];
    repeat<3>([&](auto g) INLINED {
        repeat<M>([&](auto a) INLINED { repeat<VECTORS>([&](auto v) INLINED { sums[g][a][v] = V::set(0.0f); }); });
    });
    fused_sums<Floats, MIRROR, HALF, 3, VECTORS, 3>(in, x, weights, sums);
    repeat<3>([&](auto g) INLINED {
        repeat<VECTORS>([&](auto v) INLINED {
            repeat<M>([&](auto a) INLINED { groups[g][v][a] = sums[g][a][v]; });
            if (MIRROR != EDGE_SR_FREE) combine<M>(groups[g][v]);
        });
    });
}

// Softmax of two: the second candidate's value, and the difference to the first weighted by a sigmoid.
template <int MIRROR, int HALF, int VECTORS>
SHARED void fused_sigmoid(const FusedInput<float> &in, int64_t x, const float *weights, V::F (*result)[members_of(MIRROR)]) {
    V::F groups[3][VECTORS][members_of(MIRROR)];  // the second value, the difference, its logit
    fused_three<MIRROR, HALF, VECTORS>(in, x, weights, groups);
    for (int v = 0; v < VECTORS; ++v)
        for (int a = 0; a < members_of(MIRROR); ++a) {
            const V::F e = power_of_two(V::min(V::max(groups[2][v][a], V::set(-125.0f)), V::set(119.0f)));
            const V::F weight = V::div(e, V::add(e, V::set(1.0f)));
            result[v][a] = V::fma(groups[1][v][a], weight, groups[0][v][a]);
        }
}

// Keeps the compiler from making the taps once for all candidates: it would keep them on the stack, at twice the cost.
INLINE void forget_taps() {
#if defined(__GNUC__)
    asm volatile("" ::: "memory");
#endif
}

// Softmax of products: of each candidate its value, query and key.
template <int MIRROR, int HALF, int VECTORS>
SHARED void fused_product(const FusedInput<float> &in, int64_t x, const float *weights, V::F (*result)[members_of(MIRROR)]) {
    constexpr int M = members_of(MIRROR);
    const int count = in.groups / 3;
    V::F values[MAX_CANDIDATES][VECTORS][M], logits[MAX_CANDIDATES][VECTORS][M], most[VECTORS][M];
    for (int c = 0; c < count; ++c, weights += 3 * in.weights) {
        V::F groups[3][VECTORS][M];
        forget_taps();
        fused_three<MIRROR, HALF, VECTORS>(in, x, weights, groups);
        for (int v = 0; v < VECTORS; ++v)
            for (int a = 0; a < M; ++a) {
                const V::F logit = V::mul(groups[1][v][a], groups[2][v][a]);
                values[c][v][a] = groups[0][v][a], logits[c][v][a] = logit;
                most[v][a] = c == 0 ? logit : V::max(most[v][a], logit);
            }
    }
    for (int v = 0; v < VECTORS; ++v) {
        V::F total[M], weighted[M];
        for (int a = 0; a < M; ++a) total[a] = weighted[a] = V::set(0.0f);
        for (int c = 0; c < count; ++c)
            for (int a = 0; a < M; ++a) {
                const V::F e = power_of_two(V::max(V::sub(logits[c][v][a], most[v][a]), V::set(-125.0f)));
                total[a] = V::add(total[a], e);
                weighted[a] = V::fma(values[c][v][a], e, weighted[a]);
            }
        for (int a = 0; a < M; ++a) result[v][a] = V::div(weighted[a], total[a]);
    }
}

// An orbit's phases at columns x to x + 2 N.
template <class A, int MIRROR, int HALF, int RULE>
INLINE void fused_pair(const FusedInput<typename A::Sum> &in, int64_t x, const typename A::Sum *weights, typename A::Vector start,
                       typename A::Vector (&best)[2][members_of(MIRROR)]) {
    constexpr int STEP = V::VECTORS;
    constexpr bool WIDE = MIRROR >= EDGE_SR_BOTH && V::CANDIDATES > EDGE_SR_FUSED;  // other orbits are few: not worth the code
    if constexpr (RULE == EDGE_SR_LARGEST) {
        if (in.groups == 1) return fused_block<A, MIRROR, HALF, 1, 2, 1>(in, x, weights, start, true, best);
    }
    if constexpr (RULE == EDGE_SR_LARGEST && HALF > 0) {  // without a loop over candidates, results stay in registers
        if (in.groups == EDGE_SR_FUSED) {
            repeat<2 / STEP>([&](auto v) INLINED {
                fused_block<A, MIRROR, HALF, EDGE_SR_FUSED, STEP, EDGE_SR_FUSED>(in, x + v * STEP * V::N, weights, start, true, best + v * STEP);
            });
            return;
        }
    }
    if constexpr (WIDE && RULE == EDGE_SR_LARGEST) {
        if (in.groups >= V::CANDIDATES) {
            for (int v = 0; v < 2; ++v)
                fused_largest<A, MIRROR, HALF, V::CANDIDATES, 1>(in, x + v * V::N, weights, start, best + v);
            return;
        }
    }
    for (int v = 0; v < 2; v += STEP) {
        if constexpr (RULE == EDGE_SR_BOUNDED)
            fused_sigmoid<MIRROR, HALF, STEP>(in, x + v * V::N, weights, best + v);
        else if constexpr (RULE == EDGE_SR_PRODUCT)
            fused_product<MIRROR, HALF, STEP>(in, x + v * V::N, weights, best + v);
        else
            fused_largest<A, MIRROR, HALF, EDGE_SR_FUSED, STEP>(in, x + v * V::N, weights, start, best + v);
    }
}

template <class A, int MIRROR, int HALF, int RULE>
void fused_orbit(const FusedInput<typename A::Sum> &in, const EdgeSrOrbit &orbit, int64_t x, int64_t columns, typename A::Sum *pixels) {
    constexpr int M = members_of(MIRROR);
    const typename A::Sum *weights = static_cast<const typename A::Sum *>(orbit.weights);
    for (int64_t i = 0; i < columns; i += 2 * V::N) {
        typename A::Vector best[2][M];
        fused_pair<A, MIRROR, HALF, RULE>(in, x + i, weights, A::zero(), best);
        for (int v = 0; v < 2; ++v)
            for (int a = 0; a < M; ++a) V::store(pixels + orbit.phases[a] * TILE + i + v * V::N, best[v][a]);
    }
}

// Calls with the half kernel that is unrolled, a constant, or 0: compilers need seconds for each.
template <class A, int MIRROR, class Call>
INLINE void with_half(int half, const Call &call) {
    if constexpr (V::UNROLLED) {
        if (half == 2) return call(Constant<2>());
        if constexpr (A::PAIRS && MIRROR == EDGE_SR_BOTH) {
            if (half == 1) return call(Constant<1>());
            if (half == 3) return call(Constant<3>());
        }
    }
    call(Constant<0>());
}

template <class A, int RULE>
void fused_tile(const EdgeSrPlan &plan, const FusedInput<typename A::Sum> &in, int64_t x, int64_t columns, typename A::Sum *pixels) {
    for (int o = 0; o < plan.orbits; ++o) {
        const EdgeSrOrbit &orbit = plan.orbit_list[o];
        switch (orbit.mirror) {
            case EDGE_SR_FREE: fused_orbit<A, EDGE_SR_FREE, 0, RULE>(in, orbit, x, columns, pixels); break;
            case EDGE_SR_BOTH:
                with_half<A, EDGE_SR_BOTH>(in.half, [&](auto half) { fused_orbit<A, EDGE_SR_BOTH, half, RULE>(in, orbit, x, columns, pixels); });
                break;
            case EDGE_SR_ROWS: fused_orbit<A, EDGE_SR_ROWS, 0, RULE>(in, orbit, x, columns, pixels); break;
            case EDGE_SR_COLUMNS: fused_orbit<A, EDGE_SR_COLUMNS, 0, RULE>(in, orbit, x, columns, pixels); break;
            default: fused_orbit<A, EDGE_SR_ALONE, 0, RULE>(in, orbit, x, columns, pixels); break;
        }
    }
}

// Bytes at twice the size, straight from the registers: columns [x, stop), a multiple of 2 N.
template <class A, int MIRROR, int HALF, int RULE>
void fused_bytes(const EdgeSrPlan &plan, const FusedInput<typename A::Sum> &in, int64_t x, int64_t stop, uint8_t *upper, uint8_t *lower) {
    const typename A::Sum *weights = static_cast<const typename A::Sum *>(plan.orbit_list[0].weights);
    for (; x < stop; x += 2 * V::N, upper += 4 * V::N, lower += 4 * V::N) {
        typename A::Vector best[2][4];
        fused_pair<A, MIRROR, HALF, RULE>(in, x, weights, A::rounding(), best);
        V::weave2(upper, A::level(best[0][0]), A::level(best[0][1]), A::level(best[1][0]), A::level(best[1][1]));
        V::weave2(lower, A::level(best[0][2]), A::level(best[0][3]), A::level(best[1][2]), A::level(best[1][3]));
    }
}

// ---- output -----------------------------------------------------------------------------------------------------------------

// One output row of a tile, from `scale` planes of phases.
template <class Sum>
void weave_bytes(const Sum *phases, int scale, uint8_t *out) {
    auto level = [&](int j, int x) { return levels(V::load(phases + j * TILE + x)); };
    if (scale == 2) {
        for (int x = 0; x < TILE; x += 2 * V::N)
            V::weave2(out + 2 * x, level(0, x), level(1, x), level(0, x + V::N), level(1, x + V::N));
    } else if (scale == 3) {
        for (int x = 0; x < TILE; x += V::N) V::weave3(out + 3 * x, level(0, x), level(1, x), level(2, x));
    } else if (scale == 4) {
        for (int x = 0; x < TILE; x += V::N) V::weave4(out + 4 * x, level(0, x), level(1, x), level(2, x), level(3, x));
    } else {
        uint8_t bytes[TILE];
        for (int j = 0; j < scale; ++j) {
            for (int x = 0; x < TILE; x += 2 * V::N) V::weave1(bytes + x, level(j, x), level(j, x + V::N));
            for (int x = 0; x < TILE; ++x) out[scale * x + j] = bytes[x];
        }
    }
}

template <class Sum>
void weave_floats(const Sum *phases, int scale, float *out) {
    auto value = [&](int j, int x) { return floats(V::load(phases + j * TILE + x)); };
    if (scale == 2) {
        for (int x = 0; x < TILE; x += V::N) V::weave2(out + 2 * x, value(0, x), value(1, x));
    } else {
        float plane[TILE];
        for (int j = 0; j < scale; ++j) {
            for (int x = 0; x < TILE; x += V::N) V::store(plane + x, value(j, x));
            for (int x = 0; x < TILE; ++x) out[scale * x + j] = plane[x];
        }
    }
}

// Straight to the output where a whole tile fits, else by way of `woven`: not a byte beyond the row.
template <class Sum>
void write_tile(const EdgeSrPlan &plan, const Sum *pixels, int64_t x, int64_t width, void *const *out, bool raw, void *woven) {
    const int s = plan.scale;
    const size_t element = raw ? 1 : sizeof(float);
    const bool whole = x + TILE <= width;
    for (int i = 0; i < s; ++i) {
        char *row = static_cast<char *>(out[i]) + size_t(x) * s * element;
        void *target = whole ? row : woven;
        if (raw)
            weave_bytes(pixels + i * s * TILE, s, static_cast<uint8_t *>(target));
        else
            weave_floats(pixels + i * s * TILE, s, static_cast<float *>(target));
        if (!whole) std::memcpy(row, woven, size_t(width - x) * s * element);
    }
}

// ---- produce ----------------------------------------------------------------------------------------------------------------

template <class A, int RULE>
void produce_fused(const EdgeSrPlan &plan, const typename A::Sum *const *rows, int64_t first, int64_t stop, int64_t width, void *const *out,
                   bool raw, char *scratch) {
    typename A::Sum *pixels = reinterpret_cast<typename A::Sum *>(scratch + plan.pixels_at);
    const FusedInput<typename A::Sum> in = fused_input(plan, rows);
    int64_t x = first;
    if (raw && plan.scale == 2) {  // but for the last columns, if they do not fill vectors
        const int64_t whole = (stop < width ? stop : width) / (2 * V::N) * (2 * V::N);
        uint8_t *const upper = static_cast<uint8_t *>(out[0]) + 2 * x, *const lower = static_cast<uint8_t *>(out[1]) + 2 * x;
        auto write = [&](auto mirror) {
            with_half<A, mirror>(in.half, [&](auto half) { fused_bytes<A, mirror, half, RULE>(plan, in, x, whole, upper, lower); });
        };
        if (plan.folded)
            write(Constant<EDGE_SR_BOTH>());
        else
            write(Constant<EDGE_SR_FREE>());
        x = whole;
        if (x >= width) return;
    }
    for (; x < stop; x += TILE) {
        fused_tile<A, RULE>(plan, in, x, stop - x < TILE ? stop - x : TILE, pixels);
        write_tile(plan, pixels, x, width, out, raw, scratch + plan.woven_at);
    }
}

template <class A>
void produce_tiles(const EdgeSrPlan &plan, const typename A::Sum *const *rows, int64_t first, int64_t stop, int64_t width, void *const *out,
                   bool raw, char *scratch) {
    using Sum = typename A::Sum;
    Sum *taps = reinterpret_cast<Sum *>(scratch + plan.taps_at), *sums = reinterpret_cast<Sum *>(scratch + plan.sums_at);
    Sum *pixels = reinterpret_cast<Sum *>(scratch + plan.pixels_at);
    for (int64_t x = first; x < stop; x += TILE) {
        make_taps<A>(plan, rows, x, taps);
        for (int b = 0; b < plan.batches; ++b) run_batch<A>(plan, plan.batch_list[b], taps, sums, pixels);
        write_tile(plan, pixels, x, width, out, raw, scratch + plan.woven_at);
    }
}

void produce_ruled(Integers, const EdgeSrPlan &plan, const int32_t *const *rows, int64_t first, int64_t stop, int64_t width, void *const *out,
                   bool raw, char *scratch) {
    produce_fused<Integers, EDGE_SR_LARGEST>(plan, rows, first, stop, width, out, raw, scratch);
}

void produce_ruled(Floats, const EdgeSrPlan &plan, const float *const *rows, int64_t first, int64_t stop, int64_t width, void *const *out,
                   bool raw, char *scratch) {
    if (plan.competition == EDGE_SR_BOUNDED)
        produce_fused<Floats, EDGE_SR_BOUNDED>(plan, rows, first, stop, width, out, raw, scratch);
    else if (plan.competition == EDGE_SR_PRODUCT)
        produce_fused<Floats, EDGE_SR_PRODUCT>(plan, rows, first, stop, width, out, raw, scratch);
    else
        produce_fused<Floats, EDGE_SR_LARGEST>(plan, rows, first, stop, width, out, raw, scratch);
}

template <class A>
void produce_rows(const EdgeSrPlan &plan, const void *const *lines, int64_t width, void *const *out, bool raw, char *scratch) {
    const int64_t padded = tiles_of(width) * TILE;
    for (int64_t first = 0; first < padded; first += EDGE_SR_CHUNK) {
        const int64_t stop = first + EDGE_SR_CHUNK < padded ? first + EDGE_SR_CHUNK : padded;
        const typename A::Sum *rows[MAX_ROWS];
        make_rows<A>(plan, lines, first, stop, scratch, rows);
        if (!plan.fused)
            produce_tiles<A>(plan, rows, first, stop, width, out, raw, scratch);
        else
            produce_ruled(A(), plan, rows, first, stop, width, out, raw, scratch);
    }
}

void produce(const EdgeSr &model, const void *const *lines, int64_t width, void *const *out, bool raw, void *scratch) {
    if (model.plan->integer)
        produce_rows<Integers>(*model.plan, lines, width, out, raw, static_cast<char *>(scratch));
    else
        produce_rows<Floats>(*model.plan, lines, width, out, raw, static_cast<char *>(scratch));
}

constexpr EdgeSrKernels KERNELS{absorb, produce, zero_line};

}  // namespace
