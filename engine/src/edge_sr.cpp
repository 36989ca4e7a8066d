#include "edge_sr.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace thinlens {

namespace {

constexpr double LOG2E = 1.4426950408889634;
constexpr double LOGIT_BOUND = 80;    // differences of logits that exp in float takes, with 16 candidates
constexpr double INPUT_BOUND = 2;     // inputs for which that holds, if they are floats (0..1 by contract)
constexpr double LEVEL_ERROR = 0.75;  // of a gray level: what quantised weights may add, for any image whatsoever
constexpr int MAX_ROWS = 96;          // sums held for a tile at a time: 24 KiB

using Filter = std::vector<double>;  // K x K

struct Storage {
    EdgeSrPlan plan{};
    std::vector<EdgeSrRow> rows;
    std::vector<EdgeSrTap> visits;
    std::vector<EdgeSrBatch> batches;
    std::vector<EdgeSrOrbit> orbits;
    std::vector<EdgeSrJob> jobs;
    std::vector<float> float_weights;
    std::vector<int16_t> pair_weights;
};

int groups_of(int family) { return family + 1; }

// filters[g][phase], after turning softmax keys into logits of base 2 and, where they are bounded, into differences.
struct Groups {
    int competition;
    std::vector<std::vector<Filter>> filters;
};

Filter filter_at(const EdgeSrSpec &spec, int group, int phase) {
    const int size = spec.kernel * spec.kernel, phases = spec.scale * spec.scale;
    const float *w = spec.weight + size_t(group * phases + phase) * size;
    return Filter(w, w + size);
}

std::vector<Filter> group_at(const EdgeSrSpec &spec, int group) {
    std::vector<Filter> filters;
    for (int phase = 0; phase < spec.scale * spec.scale; ++phase) filters.push_back(filter_at(spec, group, phase));
    return filters;
}

// a x - b y, for each phase.
std::vector<Filter> difference(const std::vector<Filter> &x, const std::vector<Filter> &y, double scale) {
    std::vector<Filter> result = x;
    for (size_t phase = 0; phase < x.size(); ++phase)
        for (size_t t = 0; t < x[phase].size(); ++t) result[phase][t] = scale * (x[phase][t] - y[phase][t]);
    return result;
}

std::vector<Filter> scaled(std::vector<Filter> filters, double scale) {
    for (Filter &filter : filters)
        for (double &w : filter) w *= scale;
    return filters;
}

// Largest absolute response to pixels of 0..1.
double largest_response(const std::vector<Filter> &filters) {
    double largest = 0;
    for (const Filter &filter : filters) {
        double positive = 0, negative = 0;
        for (double w : filter) (w > 0 ? positive : negative) += std::fabs(w);
        largest = std::max({largest, positive, negative});
    }
    return largest;
}

bool logits_are_bounded(const EdgeSrSpec &spec, bool levels_in) {
    const int c = spec.candidates, last = 2 * c - 1;
    for (int g = c; g < last; ++g) {
        const double bound = largest_response(difference(group_at(spec, g), group_at(spec, last), 1));
        if (bound * (levels_in ? 1 : INPUT_BOUND) > LOGIT_BOUND) return false;
    }
    return true;
}

Groups compete(const EdgeSrSpec &spec, bool levels_in) {
    const int c = spec.candidates;
    Groups groups{EDGE_SR_LINEAR, {}};
    auto add = [&](int first, double scale) {
        for (int g = first; g < first + c; ++g) groups.filters.push_back(scaled(group_at(spec, g), scale));
    };
    if (c == 1) {
        add(0, 1);
    } else if (spec.family == 0) {
        groups.competition = EDGE_SR_LARGEST;
        add(0, 1);
    } else if (spec.family == 1 && logits_are_bounded(spec, levels_in)) {
        groups.competition = EDGE_SR_BOUNDED;
        groups.filters.push_back(group_at(spec, c - 1));
        for (int g = 0; g < c - 1; ++g) groups.filters.push_back(difference(group_at(spec, g), group_at(spec, c - 1), 1));
        for (int g = c; g < 2 * c - 1; ++g)
            groups.filters.push_back(difference(group_at(spec, g), group_at(spec, 2 * c - 1), LOG2E));
    } else {
        groups.competition = spec.family == 1 ? EDGE_SR_SOFTMAX : EDGE_SR_PRODUCT;
        add(0, 1);
        add(c, LOG2E);
        if (spec.family == 2) add(2 * c, 1);
    }
    return groups;
}

// Whether each phase's filters are, bit for bit, the mirrored ones of the phase on the other side. (Trained ones are stored so,
// and rounding to float16 keeps it. A tolerance would silently change imported networks.)
bool is_mirrored(const EdgeSrSpec &spec) {
    const int k = spec.kernel, s = spec.scale, groups = groups_of(spec.family) * spec.candidates;
    auto at = [&](int g, int i, int j, int y, int x) { return spec.weight[((size_t(g) * s + i) * s + j) * k * k + y * k + x]; };
    for (int g = 0; g < groups; ++g)
        for (int i = 0; i < s; ++i)
            for (int j = 0; j < s; ++j)
                for (int y = 0; y < k; ++y)
                    for (int x = 0; x < k; ++x) {
                        const float w = at(g, i, j, y, x);
                        if (2 * i != s - 1 && w != at(g, s - 1 - i, j, k - 1 - y, x)) return false;
                        if (2 * j != s - 1 && w != at(g, i, s - 1 - j, y, k - 1 - x)) return false;
                    }
    return s > 1 && k > 1;
}

// One weight of the folded (or plain) filter.
struct FoldedTap {
    int dy, dx;         // distance from the centre; plain: from the top left
    bool odd_y, odd_x;  // of the difference across the centre
    double low, high;   // range of its value, for pixels of 0..1
};

FoldedTap folded_tap(int dy, int dx, bool odd_y, bool odd_x) {
    const double count = (dy ? 2 : 1) * (dx ? 2 : 1);
    const bool odd = odd_y || odd_x;
    return {dy, dx, odd_y, odd_x, odd ? -count / 2 : 0, odd ? count / 2 : count};
}

double coefficient(const Filter &filter, int k, const FoldedTap &t, bool folded) {
    if (!folded) return filter[size_t(t.dy * k + t.dx)];
    const int h = k / 2;
    auto column = [&](int y) {
        const double right = filter[size_t(y * k + h + t.dx)], left = filter[size_t(y * k + h - t.dx)];
        return t.dx == 0 ? right : (t.odd_x ? right - left : right + left) / 2;
    };
    const double below = column(h + t.dy), above = column(h - t.dy);
    return t.dy == 0 ? below : (t.odd_y ? below - above : below + above) / 2;
}

// A row of taps: distances of the lines in it. In integer variants two lines fill a row's halves, or one line both, with half
// the weight in each (the middle line, so that its large central weight fits).
struct TapRow {
    bool odd;
    int first, second;  // second: -1 if there is none
    bool doubled() const { return second == first; }
};

std::vector<TapRow> tap_rows(int first, int last, bool odd, bool pairs) {
    std::vector<TapRow> rows;
    int at = first;
    if (pairs && (last - first) % 2 == 0) rows.push_back({odd, at, at}), ++at;
    for (; at <= last; at += pairs ? 2 : 1) rows.push_back({odd, at, pairs ? at + 1 : -1});
    return rows;
}

using Range = std::array<int, 2>;  // first, count

// What the filters multiply: taps in four classes (even or odd in y and x): ee, eo, oe, oo; plain ones are all in the first.
struct Taps {
    std::vector<TapRow> rows;
    std::vector<EdgeSrTap> visits;
    std::vector<std::array<FoldedTap, 2>> list;  // of each tap, both halves
    std::array<Range, 4> classes;
};

Taps folded_taps(int k, bool pairs) {
    Taps taps{};
    const int h = k / 2;
    taps.rows = tap_rows(0, h, false, pairs);
    for (const TapRow &row : tap_rows(1, h, true, pairs)) taps.rows.push_back(row);
    for (int r = 0; r < int(taps.rows.size()); ++r)
        for (int dx = 0; dx <= h; ++dx) taps.visits.push_back({r, dx, -1, -1});
    for (int c = 0; c < 4; ++c) {
        const bool odd_y = c / 2 != 0, odd_x = c % 2 != 0;
        const int first = int(taps.list.size());
        for (EdgeSrTap &visit : taps.visits) {
            const TapRow &row = taps.rows[size_t(visit.row)];
            if (row.odd != odd_y || (odd_x && visit.dx == 0)) continue;
            (odd_x ? visit.odd : visit.even) = int(taps.list.size());
            const int second = row.second < 0 ? row.first : row.second;
            taps.list.push_back({folded_tap(row.first, visit.dx, odd_y, odd_x), folded_tap(second, visit.dx, odd_y, odd_x)});
        }
        taps.classes[size_t(c)] = {first, int(taps.list.size()) - first};
    }
    return taps;
}

Taps plain_taps(int k, bool pairs) {
    Taps taps{};
    taps.rows = tap_rows(0, k - 1, false, pairs);
    for (int r = 0; r < int(taps.rows.size()); ++r)
        for (int dx = 0; dx < k; ++dx) {
            const TapRow &row = taps.rows[size_t(r)];
            taps.visits.push_back({r, dx - k / 2, int(taps.list.size()), -1});
            const int second = row.second < 0 ? row.first : row.second;
            taps.list.push_back({FoldedTap{row.first, dx, false, false, 0, 1}, FoldedTap{second, dx, false, false, 0, 1}});
        }
    const int count = int(taps.list.size());
    taps.classes = {Range{0, count}, Range{count, 0}, Range{count, 0}, Range{count, 0}};
    return taps;
}

// The sums that one orbit needs, as lists of classes.
using Sum = std::vector<int>;

std::vector<Sum> sums_of(bool pair_y, bool pair_x) {
    if (pair_y && pair_x) return {{0}, {1}, {2}, {3}};
    if (pair_y) return {{0, 1}, {2, 3}};
    if (pair_x) return {{0, 2}, {1, 3}};
    return {{0, 1, 2, 3}};
}

struct OrbitPlan {
    EdgeSrOrbit orbit;
    std::vector<Sum> sums;
};

std::vector<OrbitPlan> find_orbits(int s, bool folded) {
    std::vector<OrbitPlan> orbits;
    const int last = s - 1;
    for (int i = 0; i < (folded ? (s + 1) / 2 : s); ++i)
        for (int j = 0; j < (folded ? (s + 1) / 2 : s); ++j) {
            const bool pair_y = folded && i != last - i, pair_x = folded && j != last - j;
            OrbitPlan plan{{}, sums_of(pair_y, pair_x)};
            EdgeSrOrbit &orbit = plan.orbit;
            orbit.mirror = (pair_y ? EDGE_SR_ROWS : 0) + (pair_x ? EDGE_SR_COLUMNS : 0);
            orbit.phases[orbit.members++] = i * s + j;
            if (pair_x) orbit.phases[orbit.members++] = i * s + last - j;
            if (pair_y) orbit.phases[orbit.members++] = (last - i) * s + j;
            if (pair_y && pair_x) orbit.phases[orbit.members++] = (last - i) * s + last - j;
            orbits.push_back(plan);
        }
    return orbits;
}

// Runs of neighbouring classes, merged: what one job can take.
std::vector<Range> ranges_of(const Sum &sum, const std::array<Range, 4> &classes) {
    std::vector<Range> ranges;
    for (int c : sum) {
        if (classes[c][1] == 0) continue;
        if (!ranges.empty() && ranges.back()[0] + ranges.back()[1] == classes[c][0])
            ranges.back()[1] += classes[c][1];
        else
            ranges.push_back(classes[c]);
    }
    return ranges;
}

class Builder {
public:
    Builder(const EdgeSrSpec &spec, bool levels_in, bool bytes_out) : spec_(spec), storage_(std::make_shared<Storage>()) {
        EdgeSrPlan &plan = storage_->plan;
        groups_ = compete(spec, levels_in);
        plan.competition = groups_.competition;
        plan.kernel = spec.kernel, plan.candidates = spec.candidates, plan.scale = spec.scale, plan.pad_mode = spec.pad_mode;
        plan.groups = int(groups_.filters.size());
        plan.folded = is_mirrored(spec);
        make_taps(true);
        plan.integer = levels_in && bytes_out && fits_integers();
        if (!plan.integer) make_taps(false);
        const bool rule = plan.competition <= EDGE_SR_LARGEST || (plan.competition == EDGE_SR_PRODUCT && spec.kernel <= 5) ||
                          (plan.competition == EDGE_SR_BOUNDED && spec.candidates == 2);
        plan.fused = rule && (plan.folded || spec.scale == 2);
    }

    std::shared_ptr<Storage> build() {
        EdgeSrPlan &plan = storage_->plan;
        list_rows();
        reserve_weights();
        if (plan.fused)
            fuse_orbits();
        else
            batch_orbits();
        plan.taps = int(taps_.list.size());
        plan.rows = int(storage_->rows.size());
        plan.row_list = storage_->rows.data();
        plan.visits = int(storage_->visits.size());
        plan.visit_list = storage_->visits.data();
        plan.batches = int(storage_->batches.size());
        plan.batch_list = storage_->batches.data();
        plan.orbits = int(storage_->orbits.size());
        plan.orbit_list = storage_->orbits.data();
        plan.job_list = storage_->jobs.data();
        lay_out_scratch();
        return storage_;
    }

private:
    using Row = std::array<int, 2>;  // group, phase

    bool folded() const { return storage_->plan.folded != 0; }

    void make_taps(bool pairs) { taps_ = folded() ? folded_taps(spec_.kernel, pairs) : plain_taps(spec_.kernel, pairs); }

    // Integers: weights of 16 bits (fraction bits: the shift), pixels scaled so that sums have 16 fraction bits; the largest
    // shift that fits, if the error is then small enough for any image.
    bool fits_integers() {
        if (groups_.competition > EDGE_SR_LARGEST) return false;
        for (int shift = 15; shift >= 11; --shift)  // four folded pixels times 2^5 are the most that 16 bits hold
            if (fits(shift)) {
                shift_ = shift;
                storage_->plan.line_shift = 16 - shift;
                return worst_error(shift) <= LEVEL_ERROR;
            }
        return false;
    }

    // The weights of one tap's halves, as integers.
    std::array<int32_t, 2> quantised(const Filter &filter, int tap, int shift) const {
        const auto &halves = taps_.list[size_t(tap)];
        auto weight = [&](const FoldedTap &t) { return int32_t(std::lrint(std::ldexp(coefficient(filter, spec_.kernel, t, folded()), shift))); };
        const int32_t first = weight(halves[0]);
        if (halves[0].dy == halves[1].dy) return {first / 2, first - first / 2};
        return {first, weight(halves[1])};
    }

    template <class Visit>
    void each_filter(Visit visit) const {
        for (const std::vector<Filter> &group : groups_.filters)
            for (const Filter &filter : group) visit(filter);
    }

    bool fits(int shift) const {
        bool good = true;
        each_filter([&](const Filter &filter) {
            double total = 0;
            for (int t = 0; t < int(taps_.list.size()); ++t) {
                const std::array<int32_t, 2> w = quantised(filter, t, shift);
                for (size_t half = 0; half < 2; ++half) {
                    const FoldedTap &tap = taps_.list[size_t(t)][half];
                    if (std::abs(w[half]) > 32767) good = false;
                    total += std::abs(double(w[half])) * std::max(tap.high, -tap.low) * 255;
                }
            }
            if (std::ldexp(total, -shift) > 32000) good = false;  // levels: they must fit 16 bits
        });
        return good;
    }

    double worst_error(int shift) const {
        double worst = 0;
        each_filter([&](const Filter &filter) {
            double low = 0, high = 0;
            for (int t = 0; t < int(taps_.list.size()); ++t) {
                const auto &halves = taps_.list[size_t(t)];
                const std::array<int32_t, 2> w = quantised(filter, t, shift);
                const bool doubled = halves[0].dy == halves[1].dy;
                for (size_t half = 0; half < (doubled ? 1u : 2u); ++half) {
                    const double weight = doubled ? double(w[0]) + w[1] : w[half];
                    const double error = std::ldexp(weight, -shift) - coefficient(filter, spec_.kernel, halves[half], folded());
                    high += std::max(error * halves[half].high, error * halves[half].low) * 255;
                    low += std::min(error * halves[half].high, error * halves[half].low) * 255;
                }
            }
            worst = std::max({worst, high, -low});
        });
        return worst;
    }

    void list_rows() {
        for (const TapRow &row : taps_.rows) {
            auto kind = [&](int at) { return !folded() || at == 0 ? 0 : row.odd ? 2 : 1; };
            const int second = row.second < 0 ? row.first : row.second, middle = folded() ? 0 : -(spec_.kernel / 2);
            storage_->rows.push_back({kind(row.first), row.first + middle, second + middle, kind(second)});
        }
        storage_->visits = taps_.visits;
    }

    // Jobs and orbits point into the weights: they must not move.
    void reserve_weights() {
        const size_t phases = size_t(spec_.scale) * size_t(spec_.scale);
        const size_t most = phases * size_t(storage_->plan.groups) * taps_.list.size();
        storage_->float_weights.reserve(most);
        storage_->pair_weights.reserve(2 * most);
    }

    const void *next_weight() const {
        if (storage_->plan.integer) return storage_->pair_weights.data() + storage_->pair_weights.size();
        return storage_->float_weights.data() + storage_->float_weights.size();
    }

    void add_weight(int tap, const Row &row) {
        const Filter &filter = groups_.filters[size_t(row[0])][size_t(row[1])];
        if (storage_->plan.integer)
            for (const int32_t w : quantised(filter, tap, shift_)) storage_->pair_weights.push_back(int16_t(w));
        else
            storage_->float_weights.push_back(float(coefficient(filter, spec_.kernel, taps_.list[size_t(tap)][0], folded())));
    }

    // The order of the visit: each row, each distance, even then odd (or each phase); groups of a block innermost.
    void fuse_orbits() {
        const int block = storage_->plan.competition <= EDGE_SR_LARGEST ? EDGE_SR_FUSED : 3;
        for (OrbitPlan &orbit : folded() ? find_orbits(spec_.scale, true) : std::vector<OrbitPlan>{free_orbit()}) {
            orbit.orbit.weights = next_weight();
            for (int first = 0; first < storage_->plan.groups; first += block)
                for (const EdgeSrTap &visit : taps_.visits) {
                    const int stop = std::min(first + block, storage_->plan.groups);
                    if (folded()) {
                        add_weights(visit.even, first, stop, orbit.orbit.phases[0]);
                        if (visit.odd >= 0) add_weights(visit.odd, first, stop, orbit.orbit.phases[0]);
                    } else {
                        for (const int phase : orbit.orbit.phases) add_weights(visit.even, first, stop, phase);
                    }
                }
            storage_->orbits.push_back(orbit.orbit);
        }
    }

    void add_weights(int tap, int first, int stop, int phase) {
        const bool product = storage_->plan.competition == EDGE_SR_PRODUCT;  // of each candidate its value, query and key together
        for (int g = first; g < stop; ++g) add_weight(tap, {product ? g % 3 * spec_.candidates + g / 3 : g, phase});
    }

    static OrbitPlan free_orbit() { return {{EDGE_SR_FREE, 4, {0, 1, 2, 3}, {}, nullptr}, {}}; }

    void batch_orbits() {
        std::vector<OrbitPlan> orbits = find_orbits(spec_.scale, folded());
        for (size_t first = 0; first < orbits.size();) {
            size_t stop = first;
            int rows = 0;
            do rows += int(orbits[stop++].sums.size()) * storage_->plan.groups;
            while (stop < orbits.size() && rows + int(orbits[stop].sums.size()) * storage_->plan.groups <= MAX_ROWS);
            add_batch(orbits, first, stop);
            largest_batch_ = std::max(largest_batch_, rows);
            first = stop;
        }
    }

    void add_batch(std::vector<OrbitPlan> &orbits, size_t first, size_t stop) {
        EdgeSrBatch batch{};
        batch.first_job = int(storage_->jobs.size()), batch.first_orbit = int(storage_->orbits.size());
        int row = 0;
        for (const Sum &sum : {Sum{0}, Sum{1}, Sum{2}, Sum{3}, Sum{0, 1}, Sum{2, 3}, Sum{0, 2}, Sum{1, 3}, Sum{0, 1, 2, 3}}) {
            const int first_row = row;
            std::vector<Row> rows;
            for (size_t o = first; o < stop; ++o)
                for (size_t a = 0; a < orbits[o].sums.size(); ++a)
                    if (orbits[o].sums[a] == sum) {
                        orbits[o].orbit.rows[a] = row;
                        for (int g = 0; g < storage_->plan.groups; ++g, ++row) rows.push_back({g, orbits[o].orbit.phases[0]});
                    }
            if (rows.empty()) continue;
            bool accumulate = false;
            for (const Range &range : ranges_of(sum, taps_.classes)) {
                add_job(range, rows, first_row, accumulate);
                accumulate = true;
            }
        }
        for (size_t o = first; o < stop; ++o) storage_->orbits.push_back(orbits[o].orbit);
        batch.jobs = int(storage_->jobs.size()) - batch.first_job;
        batch.orbits = int(storage_->orbits.size()) - batch.first_orbit;
        storage_->batches.push_back(batch);
    }

    void add_job(const Range &range, const std::vector<Row> &rows, int first_row, bool accumulate) {
        storage_->jobs.push_back({range[0], range[1], first_row, int(rows.size()), accumulate, next_weight()});
        for (size_t block = 0; block < rows.size(); block += EDGE_SR_BLOCK)
            for (int t = range[0]; t < range[0] + range[1]; ++t)
                for (size_t r = block; r < std::min(block + EDGE_SR_BLOCK, rows.size()); ++r) add_weight(t, rows[r]);
    }

    void lay_out_scratch() {
        EdgeSrPlan &plan = storage_->plan;
        size_t at = 0;
        auto take = [&](size_t count) {  // of four-byte elements
            const size_t here = at;
            at += (count * 4 + 63) / 64 * 64;
            return here;
        };
        const size_t tile = EDGE_SR_TILE, phases = size_t(plan.scale) * size_t(plan.scale);
        const bool own_rows = plan.folded || plan.integer;
        plan.rows_at = take(own_rows ? size_t(plan.rows) * (EDGE_SR_CHUNK + 2 * EDGE_SR_MARGIN) : 0);
        plan.taps_at = take(plan.fused ? 0 : size_t(plan.taps) * EDGE_SR_STRIDE);
        plan.sums_at = take(size_t(largest_batch_) * EDGE_SR_STRIDE);
        plan.pixels_at = take(phases * tile);
        plan.woven_at = take(size_t(plan.scale) * tile + 16);  // one output row of a tile, floats or bytes, and a vector's overshoot
        plan.scratch_bytes = at;
    }

    const EdgeSrSpec &spec_;
    std::shared_ptr<Storage> storage_;
    Groups groups_;
    Taps taps_;
    int shift_ = 0;
    int largest_batch_ = 0;
};

}  // namespace

EdgeSr EdgeSr::prepare(const EdgeSrSpec &spec, bool levels_in, bool bytes_out) {
    EdgeSr model;
    std::shared_ptr<Storage> storage = Builder(spec, levels_in, bytes_out).build();
    model.plan = &storage->plan;
    model.owner_ = storage;
    return model;
}

size_t EdgeSr::line_bytes(int64_t width) const {
    const int64_t tiles = (width + EDGE_SR_TILE - 1) / EDGE_SR_TILE;
    return size_t(tiles * EDGE_SR_TILE + 2 * EDGE_SR_MARGIN) * (plan->integer ? sizeof(int16_t) : sizeof(float));
}

size_t EdgeSr::scratch_bytes(int64_t) const { return plan->scratch_bytes; }

const char *EdgeSr::variant() const {
    if (plan->integer) return plan->folded ? "folded int16" : "plain int16";
    return plan->folded ? "folded float" : "plain float";
}

}  // namespace thinlens
