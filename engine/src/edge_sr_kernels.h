// Kernels of the one-layer upscalers, for the vector type V of one instruction set (edge_sr_simd.h). Everything has internal
// linkage.
//
// A tile of columns at a time, all in the first-level cache:
//
//     lines -> fold rows -> taps (folded columns) -> sums (a small matrix product) -> competition -> bytes, phases woven together
//
// Integer sums are exact and float ones are made in one order, each step rounded once, so that results depend neither on the
// instruction set nor on where a tile begins.
#pragma once

#include "edge_sr.h"
#include "edge_sr_simd.h"

namespace {

using namespace thinlens;

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
    for (int64_t x = -EDGE_SR_MARGIN; x < 0; ++x) line[x] = 0;
    for (int64_t x = width; x < stop; ++x) line[x] = 0;
    if (plan.pad_mode == 0) return;
    for (int64_t x = -side; x < 0; ++x) line[x] = line[inside(x, width, plan.pad_mode)];
    for (int64_t x = width; x < width + side; ++x) line[x] = line[inside(x, width, plan.pad_mode)];
}

void absorb_integers(const EdgeSrPlan &plan, const void *row, int input_type, int64_t width, int16_t *line) {
    line += EDGE_SR_MARGIN;
    if (input_type == EDGE_SR_BYTES) {
        const uint8_t *in = static_cast<const uint8_t *>(row);
        for (int64_t x = 0; x < width; ++x) line[x] = in[x];
    } else {
        const int16_t *in = static_cast<const int16_t *>(row);
        for (int64_t x = 0; x < width; ++x) line[x] = int16_t(in[x] >> 5);
    }
    pad_line(plan, width, line);
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

struct Floats {
    using Element = float;  // of lines and folded rows
    using Sum = float;
    using Rows = V::F;
    using Vector = V::F;
    static constexpr int COLUMNS = V::N;  // in Rows
    static Rows plus(const Rows &a, const Rows &b) { return V::add(a, b); }
    static Rows minus(const Rows &a, const Rows &b) { return V::sub(a, b); }
    static Vector zero() { return V::set(0.0f); }
    static Vector step(const Vector &sum, const Vector &x, const Vector &w) { return V::fma(x, w, sum); }
};

struct Integers {
    using Element = int16_t;
    using Sum = int32_t;
    using Rows = V::H;
    using Vector = V::I;
    static constexpr int COLUMNS = 2 * V::N;
    static Rows plus(const Rows &a, const Rows &b) { return V::add16(a, b); }
    static Rows minus(const Rows &a, const Rows &b) { return V::sub16(a, b); }
    static Vector zero() { return V::set(0); }
    static Vector step(const Vector &sum, const Vector &x, const Vector &w) { return V::dot(sum, x, w); }
};

// ---- fold -------------------------------------------------------------------------------------------------------------------

// rows[r] = line h + r plus, and rows[h + r] = minus, line h - r; rows[0] = line h. Columns [first, stop).
template <class A>
void fold_rows(const EdgeSrPlan &plan, const void *const *lines, int64_t first, int64_t stop, typename A::Element *const *rows) {
    using T = typename A::Element;
    const int h = plan.kernel / 2;
    const T *middle = static_cast<const T *>(lines[h]) + EDGE_SR_MARGIN;
    for (int64_t x = first; x < stop; x += A::COLUMNS) V::store(rows[0] + x, V::load(middle + x));
    for (int r = 1; r <= h; ++r) {
        const T *above = static_cast<const T *>(lines[h - r]) + EDGE_SR_MARGIN;
        const T *below = static_cast<const T *>(lines[h + r]) + EDGE_SR_MARGIN;
        for (int64_t x = first; x < stop; x += A::COLUMNS) {
            const typename A::Rows a = V::load(above + x), b = V::load(below + x);
            V::store(rows[r] + x, A::plus(b, a));
            V::store(rows[h + r] + x, A::minus(b, a));
        }
    }
}

template <class A>
typename A::Rows tap_value(const EdgeSrTap &tap, const typename A::Element *const *rows, int64_t x) {
    const typename A::Element *row = rows[tap.row] + x;
    if (tap.kind == 0) return V::load(row + tap.left);
    const typename A::Rows left = V::load(row + tap.left), right = V::load(row + tap.right);
    return tap.kind == 1 ? A::plus(right, left) : A::minus(right, left);
}

void make_taps(Floats, const EdgeSrPlan &plan, const float *const *rows, int64_t x, float *taps) {
    for (int t = 0; t < plan.taps; ++t, taps += plan.tile)
        for (int i = 0; i < plan.tile; i += V::N) V::store(taps + i, tap_value<Floats>(plan.tap_list[t], rows, x + i));
}

void make_taps(Integers, const EdgeSrPlan &plan, const int16_t *const *rows, int64_t x, int32_t *taps) {
    for (int t = 0; t < plan.taps; ++t, taps += plan.tile)
        for (int i = 0; i < plan.tile; i += 2 * V::N) {
            const V::H a = tap_value<Integers>(plan.tap_list[2 * t], rows, x + i);
            const V::H b = tap_value<Integers>(plan.tap_list[2 * t + 1], rows, x + i);
            V::I low, high;
            V::pair(a, b, low, high);
            V::store(taps + i, low);
            V::store(taps + i + V::N, high);
        }
}

// ---- sums -------------------------------------------------------------------------------------------------------------------

// ROWS sums for a tile: sums[r] (+)= sum over t of weights[t][r] taps[t].
template <class A, int ROWS>
void sum_rows(const typename A::Sum *taps, int count, const typename A::Sum *weights, int tile, bool accumulate,
              typename A::Sum *sums) {
    using Vector = typename A::Vector;
    for (int x = 0; x < tile; x += V::BLOCK * V::N) {
        Vector sum[ROWS][V::BLOCK];
        for (int r = 0; r < ROWS; ++r)
            for (int v = 0; v < V::BLOCK; ++v)
                sum[r][v] = accumulate ? V::load(sums + r * tile + x + v * V::N) : A::zero();
        const typename A::Sum *tap = taps + x, *weight = weights;
        for (int t = 0; t < count; ++t, tap += tile, weight += ROWS) {
            Vector value[V::BLOCK];
            for (int v = 0; v < V::BLOCK; ++v) value[v] = V::load(tap + v * V::N);
            for (int r = 0; r < ROWS; ++r) {
                const Vector w = V::set(weight[r]);
                for (int v = 0; v < V::BLOCK; ++v) sum[r][v] = A::step(sum[r][v], value[v], w);
            }
        }
        for (int r = 0; r < ROWS; ++r)
            for (int v = 0; v < V::BLOCK; ++v) V::store(sums + r * tile + x + v * V::N, sum[r][v]);
    }
}

template <class A>
void run_job(const EdgeSrPlan &plan, const EdgeSrJob &job, const typename A::Sum *taps, typename A::Sum *sums) {
    using Sum = typename A::Sum;
    const Sum *weights = static_cast<const Sum *>(job.weights);
    taps += size_t(job.first_tap) * plan.tile;
    sums += size_t(job.first_row) * plan.tile;
    for (int row = 0; row < job.rows; row += EDGE_SR_BLOCK) {
        const bool accumulate = job.accumulate != 0;
        switch (job.rows - row) {
            case 1: sum_rows<A, 1>(taps, job.taps, weights, plan.tile, accumulate, sums); break;
            case 2: sum_rows<A, 2>(taps, job.taps, weights, plan.tile, accumulate, sums); break;
            case 3: sum_rows<A, 3>(taps, job.taps, weights, plan.tile, accumulate, sums); break;
            default: sum_rows<A, 4>(taps, job.taps, weights, plan.tile, accumulate, sums); break;
        }
        weights += size_t(EDGE_SR_BLOCK) * job.taps;
        sums += EDGE_SR_BLOCK * plan.tile;
    }
}

// ---- competition ------------------------------------------------------------------------------------------------------------

// Group g's values in the MEMBERS phases of an orbit, from its sums.
template <class A, int MEMBERS>
void phases_of(const EdgeSrOrbit &orbit, int g, const typename A::Sum *sums, int tile, typename A::Vector *phase) {
    using Vector = typename A::Vector;
    auto sum = [&](int a) { return V::load(sums + (orbit.rows[a] + g) * tile); };
    if (MEMBERS == 1) {
        phase[0] = sum(0);
    } else if (MEMBERS == 2) {
        const Vector even = sum(0), odd = sum(1);
        phase[0] = V::add(even, odd);
        phase[1] = V::sub(even, odd);
    } else {
        const Vector ee = sum(0), eo = sum(1), oe = sum(2), oo = sum(3);
        const Vector even_plus = V::add(ee, eo), even_minus = V::sub(ee, eo);
        const Vector odd_plus = V::add(oe, oo), odd_minus = V::sub(oe, oo);
        phase[0] = V::add(even_plus, odd_plus);
        phase[1] = V::add(even_minus, odd_minus);
        phase[2] = V::sub(even_plus, odd_plus);
        phase[3] = V::sub(even_minus, odd_minus);
    }
}

// 2^x for x in -126..126 (clamped): relative error below 3e-6.
V::F power_of_two(V::F x) {
    const V::F magic = V::set(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest integer, which the low bits then hold
    const V::F rounded = V::add(x, magic), rest = V::sub(x, V::sub(rounded, magic));
    V::F p = V::set(0.009570102207362652f);
    p = V::fma(p, rest, V::set(0.05591786280274391f));
    p = V::fma(p, rest, V::set(0.240247443318367f));
    p = V::fma(p, rest, V::set(0.6931217908859253f));
    p = V::fma(p, rest, V::set(0.9999992847442627f));
    return V::from_bits(V::add(V::bits(p), V::exponent(V::bits(rounded))));
}

// 1 / x for x in 1..2^124, to the last bit or two; a few multiplications, unlike a division.
V::F reciprocal(V::F x) {
    const V::F one = V::set(1.0f);
    V::F r = V::from_bits(V::sub(V::set(int32_t(0x7ef311c7)), V::bits(x)));  // within 12 %
    for (int i = 0; i < 2; ++i) {
        const V::F error = V::fnma(x, r, one);
        r = V::fma(r, V::fma(error, error, error), r);
    }
    return r;
}

template <class A, int MEMBERS>
void largest(const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const typename A::Sum *sums, typename A::Vector *best) {
    phases_of<A, MEMBERS>(orbit, 0, sums, plan.tile, best);
    for (int c = 1; c < plan.candidates; ++c) {
        typename A::Vector phase[MEMBERS];
        phases_of<A, MEMBERS>(orbit, c, sums, plan.tile, phase);
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
        phases_of<Floats, MEMBERS>(orbit, c, sums, plan.tile, value);
        phases_of<Floats, MEMBERS>(orbit, others + c, sums, plan.tile, logit);
        for (int p = 0; p < MEMBERS; ++p) {
            const V::F e = power_of_two(V::min(V::max(logit[p], V::set(-126.0f)), V::set(119.0f)));
            total[p] = V::add(total[p], e);
            weighted[p] = V::fma(value[p], e, weighted[p]);
        }
    }
    phases_of<Floats, MEMBERS>(orbit, 0, sums, plan.tile, result);
    for (int p = 0; p < MEMBERS; ++p) result[p] = V::fma(weighted[p], reciprocal(total[p]), result[p]);
}

constexpr int MAX_CANDIDATES = 16;

template <int MEMBERS>
void softmax(const EdgeSrPlan &plan, const EdgeSrOrbit &orbit, const float *sums, V::F *result) {
    const int count = plan.candidates;
    V::F logits[MAX_CANDIDATES][MEMBERS], most[MEMBERS];
    for (int c = 0; c < count; ++c) {
        phases_of<Floats, MEMBERS>(orbit, count + c, sums, plan.tile, logits[c]);
        if (plan.competition == EDGE_SR_PRODUCT) {
            V::F key[MEMBERS];
            phases_of<Floats, MEMBERS>(orbit, 2 * count + c, sums, plan.tile, key);
            for (int p = 0; p < MEMBERS; ++p) logits[c][p] = V::mul(logits[c][p], key[p]);
        }
        for (int p = 0; p < MEMBERS; ++p) most[p] = c == 0 ? logits[c][p] : V::max(most[p], logits[c][p]);
    }
    V::F total[MEMBERS], weighted[MEMBERS];
    for (int p = 0; p < MEMBERS; ++p) total[p] = weighted[p] = V::set(0.0f);
    for (int c = 0; c < count; ++c) {
        V::F value[MEMBERS];
        phases_of<Floats, MEMBERS>(orbit, c, sums, plan.tile, value);
        for (int p = 0; p < MEMBERS; ++p) {
            const V::F e = power_of_two(V::max(V::sub(logits[c][p], most[p]), V::set(-126.0f)));
            total[p] = V::add(total[p], e);
            weighted[p] = V::fma(value[p], e, weighted[p]);
        }
    }
    for (int p = 0; p < MEMBERS; ++p) result[p] = V::mul(weighted[p], reciprocal(total[p]));
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
    for (int x = 0; x < plan.tile; x += V::N) {
        typename A::Vector result[MEMBERS];
        compete<MEMBERS>(A(), plan, orbit, sums + x, result);
        for (int p = 0; p < MEMBERS; ++p) V::store(pixels + orbit.phases[p] * plan.tile + x, result[p]);
    }
}

template <class A>
void run_batch(const EdgeSrPlan &plan, const EdgeSrBatch &batch, const typename A::Sum *taps, typename A::Sum *sums,
               typename A::Sum *pixels) {
    for (int j = batch.first_job; j < batch.first_job + batch.jobs; ++j) run_job<A>(plan, plan.job_list[j], taps, sums);
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

// ---- output -----------------------------------------------------------------------------------------------------------------

void round_bytes(Floats, const EdgeSrPlan &plan, const float *pixels, uint8_t *bytes) {
    const V::F scale = V::set(255.0f), zero = V::set(0.0f);
    auto level = [&](const float *p) { return V::to_int(V::min(V::max(V::mul(V::load(p), scale), zero), scale)); };
    for (int x = 0; x < plan.tile; x += 2 * V::N) V::bytes(bytes + x, level(pixels + x), level(pixels + x + V::N));
}

void round_bytes(Integers, const EdgeSrPlan &plan, const int32_t *pixels, uint8_t *bytes) {
    const V::I half = V::set(1 << (plan.shift - 1));
    auto level = [&](const int32_t *p) { return V::shift_right(V::add(V::load(p), half), plan.shift); };
    for (int x = 0; x < plan.tile; x += 2 * V::N) V::bytes_paired(bytes + x, level(pixels + x), level(pixels + x + V::N));
}

void to_floats(Floats, const EdgeSrPlan &, const float *, float *) {}

// In place: a caller wants floats of an integer variant.
void to_floats(Integers, const EdgeSrPlan &plan, const int32_t *pixels, float *floats) {
    const V::F scale = V::set(BYTE / float(1 << plan.shift));
    for (int x = 0; x < plan.tile; x += 2 * V::N) {
        V::I low = V::load(pixels + x), high = V::load(pixels + x + V::N);
        V::unpair(low, high);
        V::store(floats + x, V::mul(V::to_float(low), scale));
        V::store(floats + x + V::N, V::mul(V::to_float(high), scale));
    }
}

// out[s x + j] = phases[j][x], for `count` columns.
template <class T>
void weave(const T *phases, int tile, int scale, int64_t count, T *out) {
    switch (scale) {
        case 1:
            std::memcpy(out, phases, size_t(count) * sizeof(T));
            return;
        case 2:
            for (int64_t x = 0; x < count; ++x) out[2 * x] = phases[x], out[2 * x + 1] = phases[tile + x];
            return;
        default:
            for (int j = 0; j < scale; ++j)
                for (int64_t x = 0; x < count; ++x) out[scale * x + j] = phases[j * tile + x];
    }
}

template <class A>
void write_tile(const EdgeSrPlan &plan, typename A::Sum *pixels, int64_t x, int64_t count, void *const *out, bool raw, void *woven) {
    const int s = plan.scale;
    for (int i = 0; i < s; ++i) {
        typename A::Sum *phases = pixels + size_t(i) * s * plan.tile;
        if (raw) {
            uint8_t *bytes = static_cast<uint8_t *>(woven);
            for (int j = 0; j < s; ++j) round_bytes(A(), plan, phases + j * plan.tile, bytes + j * plan.tile);
            weave(bytes, plan.tile, s, count, static_cast<uint8_t *>(out[i]) + x * s);
        } else {
            for (int j = 0; j < s; ++j)
                to_floats(A(), plan, phases + j * plan.tile, reinterpret_cast<float *>(phases + j * plan.tile));
            weave(reinterpret_cast<const float *>(phases), plan.tile, s, count, static_cast<float *>(out[i]) + x * s);
        }
    }
}

template <class A>
void produce_rows(const EdgeSrPlan &plan, const void *const *lines, int64_t width, void *const *out, bool raw, char *scratch) {
    using T = typename A::Element;
    using Sum = typename A::Sum;
    const int64_t padded = tiles_of(width) * EDGE_SR_TILE;
    const size_t row = EDGE_SR_CHUNK + 2 * EDGE_SR_MARGIN;
    for (int64_t chunk = 0; chunk < padded; chunk += EDGE_SR_CHUNK) {
        const int64_t stop = chunk + EDGE_SR_CHUNK < padded ? chunk + EDGE_SR_CHUNK : padded;
        const T *rows[16];  // so that rows[r] + x is column x
        if (plan.folded) {
            T *folded[16];
            for (int r = 0; r < plan.folded_rows; ++r)
                rows[r] = folded[r] = reinterpret_cast<T *>(scratch + plan.rows_at) + r * row + EDGE_SR_MARGIN - chunk;
            fold_rows<A>(plan, lines, chunk - EDGE_SR_MARGIN, stop + EDGE_SR_MARGIN, folded);
        } else {
            for (int r = 0; r < plan.kernel; ++r) rows[r] = static_cast<const T *>(lines[r]) + EDGE_SR_MARGIN;
        }
        Sum *taps = reinterpret_cast<Sum *>(scratch + plan.taps_at), *sums = reinterpret_cast<Sum *>(scratch + plan.sums_at);
        Sum *pixels = reinterpret_cast<Sum *>(scratch + plan.pixels_at);
        for (int64_t x = chunk; x < stop; x += plan.tile) {
            make_taps(A(), plan, rows, x, taps);
            for (int b = 0; b < plan.batches; ++b) run_batch<A>(plan, plan.batch_list[b], taps, sums, pixels);
            const int64_t count = x + plan.tile < width ? plan.tile : width - x;
            write_tile<A>(plan, pixels, x, count, out, raw, scratch + plan.bytes_at);
        }
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
