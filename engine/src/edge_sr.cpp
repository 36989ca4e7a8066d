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
    std::vector<EdgeSrTap> taps;
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

// A tap of the folded (or plain) filter: which rows and columns of the filter it stands for.
struct FoldedTap {
    EdgeSrTap tap;
    int dy, dx;        // distance from the centre, or plain: from the top left
    bool odd_y, odd_x;
    double range_low, range_high;  // of its value, for pixels of 0..1
};

double coefficient(const Filter &filter, int k, const FoldedTap &t, bool folded) {
    if (!folded) return filter[t.dy * k + t.dx];
    const int h = k / 2;
    auto column = [&](int y) {
        const double right = filter[y * k + h + t.dx], left = filter[y * k + h - t.dx];
        return t.dx == 0 ? right : (t.odd_x ? right - left : right + left) / 2;
    };
    const double below = column(h + t.dy), above = column(h - t.dy);
    return t.dy == 0 ? below : (t.odd_y ? below - above : below + above) / 2;
}

using Range = std::array<int, 2>;  // first, count

// Taps in four classes (even or odd in y and x): ee, eo, oe, oo; plain ones are all in the first.
struct Taps {
    std::vector<FoldedTap> list;
    std::array<Range, 4> classes;
};

void add_tap(Taps &taps, int h, int dy, int dx, bool odd_y, bool odd_x) {
    FoldedTap t{};
    t.dy = dy, t.dx = dx, t.odd_y = odd_y, t.odd_x = odd_x;
    t.tap = {odd_y ? h + dy : dy, -dx, dx, dx == 0 ? 0 : odd_x ? 2 : 1};
    const double count = (dy ? 2 : 1) * (dx ? 2 : 1);
    t.range_high = odd_y || odd_x ? count / 2 : count;
    t.range_low = odd_y || odd_x ? -count / 2 : 0;
    taps.list.push_back(t);
}

Taps folded_taps(int k) {
    Taps taps{};
    const int h = k / 2;
    for (int c = 0; c < 4; ++c) {
        const int odd_y = c / 2, odd_x = c % 2, first = int(taps.list.size());
        for (int dy = odd_y; dy <= h; ++dy)
            for (int dx = odd_x; dx <= h; ++dx) add_tap(taps, h, dy, dx, odd_y != 0, odd_x != 0);
        taps.classes[c] = {first, int(taps.list.size()) - first};
    }
    return taps;
}

Taps plain_taps(int k) {
    Taps taps{};
    for (int dy = 0; dy < k; ++dy)
        for (int dx = 0; dx < k; ++dx) {
            FoldedTap t{};
            t.dy = dy, t.dx = dx, t.range_high = 1;
            t.tap = {dy, dx - k / 2, 0, 0};
            taps.list.push_back(t);
        }
    taps.classes = {Range{0, k * k}, Range{k * k, 0}, Range{k * k, 0}, Range{k * k, 0}};
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
        taps_ = plan.folded ? folded_taps(spec.kernel) : plain_taps(spec.kernel);
        plan.folded_rows = spec.kernel;
        plan.integer = levels_in && bytes_out && fits_integers();
    }

    std::shared_ptr<Storage> build() {
        EdgeSrPlan &plan = storage_->plan;
        list_taps();
        batch_orbits();
        plan.tap_list = storage_->taps.data();
        plan.batches = int(storage_->batches.size());
        plan.batch_list = storage_->batches.data();
        plan.orbit_list = storage_->orbits.data();
        plan.job_list = storage_->jobs.data();
        lay_out_scratch();
        return storage_;
    }

private:
    double tap_weight(int group, int phase, const FoldedTap &tap) const {
        return coefficient(groups_.filters[group][phase], spec_.kernel, tap, storage_->plan.folded != 0);
    }

    // Of the first tap of an odd class: it fills both halves of its pair, each with half the weight.
    bool is_doubled(int tap) const {
        for (const Range &range : taps_.classes)
            if (range[1] % 2 == 1 && range[0] == tap) return true;
        return false;
    }

    static int32_t quantise(double w, int shift) { return int32_t(std::lrint(std::ldexp(w, shift))); }

    // Integers: weights of 16 bits, sums of 32; the largest shift that fits, if the error is then small enough for any image.
    bool fits_integers() {
        if (groups_.competition > EDGE_SR_LARGEST) return false;
        for (int shift = 15; shift >= 8; --shift)
            if (fits(shift)) {
                storage_->plan.shift = shift;
                return worst_error(shift) <= LEVEL_ERROR;
            }
        return false;
    }

    template <class Visit>
    void each_filter(Visit visit) const {
        for (const std::vector<Filter> &group : groups_.filters)
            for (const Filter &filter : group) visit(filter);
    }

    bool fits(int shift) const {
        bool good = true;
        each_filter([&](const Filter &filter) {
            double total = std::ldexp(1.0, shift);  // the rounding term, with room
            for (int t = 0; t < int(taps_.list.size()); ++t) {
                const double w = coefficient(filter, spec_.kernel, taps_.list[t], storage_->plan.folded != 0);
                const int32_t q = quantise(w, shift);
                if (std::abs(q) > (is_doubled(t) ? 65534 : 32767)) good = false;
                total += std::abs(double(q)) * std::max(taps_.list[t].range_high, -taps_.list[t].range_low) * 255;
            }
            if (total > 2147483647.0) good = false;
        });
        return good;
    }

    double worst_error(int shift) const {
        double worst = 0;
        each_filter([&](const Filter &filter) {
            double low = 0, high = 0;
            for (const FoldedTap &tap : taps_.list) {
                const double w = coefficient(filter, spec_.kernel, tap, storage_->plan.folded != 0);
                const double error = std::ldexp(double(quantise(w, shift)), -shift) - w;
                high += std::max(error * tap.range_high, error * tap.range_low) * 255;
                low += std::min(error * tap.range_high, error * tap.range_low) * 255;
            }
            worst = std::max({worst, high, -low});
        });
        return worst;
    }

    void list_taps() {
        EdgeSrPlan &plan = storage_->plan;
        classes_ = taps_.classes;
        for (int c = 0; c < 4; ++c) {
            const auto [first, count] = taps_.classes[c];
            if (plan.integer) {
                classes_[c] = {int(storage_->taps.size()) / 2, (count + 1) / 2};
                if (count % 2 == 1) storage_->taps.push_back(taps_.list[first].tap);
            }
            for (int t = first; t < first + count; ++t) storage_->taps.push_back(taps_.list[t].tap);
        }
        plan.taps = int(storage_->taps.size()) / (plan.integer ? 2 : 1);
    }

    void batch_orbits() {
        std::vector<OrbitPlan> orbits = find_orbits(spec_.scale, storage_->plan.folded != 0);
        size_t weights = 0;
        for (const OrbitPlan &orbit : orbits) weights += orbit.sums.size();
        weights *= size_t(storage_->plan.groups) * storage_->plan.taps;  // more than enough: jobs point into these
        storage_->float_weights.reserve(weights);
        storage_->pair_weights.reserve(2 * weights);
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
            std::vector<std::array<int, 2>> rows;  // group, phase
            for (size_t o = first; o < stop; ++o)
                for (size_t a = 0; a < orbits[o].sums.size(); ++a)
                    if (orbits[o].sums[a] == sum) {
                        orbits[o].orbit.rows[a] = row;
                        for (int g = 0; g < storage_->plan.groups; ++g, ++row) rows.push_back({g, orbits[o].orbit.phases[0]});
                    }
            if (rows.empty()) continue;
            bool accumulate = false;
            for (const Range &range : ranges_of(sum, classes_)) {
                add_job(range, rows, first_row, accumulate);
                accumulate = true;
            }
        }
        for (size_t o = first; o < stop; ++o) storage_->orbits.push_back(orbits[o].orbit);
        batch.jobs = int(storage_->jobs.size()) - batch.first_job;
        batch.orbits = int(storage_->orbits.size()) - batch.first_orbit;
        storage_->batches.push_back(batch);
    }

    void add_job(const Range &range, const std::vector<std::array<int, 2>> &rows, int first_row, bool accumulate) {
        const bool integer = storage_->plan.integer != 0;
        EdgeSrJob job{range[0], range[1], first_row, int(rows.size()), accumulate, nullptr};
        if (integer)
            job.weights = storage_->pair_weights.data() + storage_->pair_weights.size();
        else
            job.weights = storage_->float_weights.data() + storage_->float_weights.size();
        for (size_t block = 0; block < rows.size(); block += EDGE_SR_BLOCK)
            for (int t = range[0]; t < range[0] + range[1]; ++t)
                for (size_t r = block; r < std::min(block + EDGE_SR_BLOCK, rows.size()); ++r) add_weight(t, rows[r]);
        storage_->jobs.push_back(job);
    }

    void add_weight(int tap, const std::array<int, 2> &row) {
        if (!storage_->plan.integer) {
            storage_->float_weights.push_back(float(tap_weight(row[0], row[1], taps_.list[tap])));
            return;
        }
        for (int c = 0; c < 4; ++c) {
            if (tap < classes_[c][0] || tap >= classes_[c][0] + classes_[c][1]) continue;
            const int first = taps_.classes[c][0], count = taps_.classes[c][1];
            const int position = 2 * (tap - classes_[c][0]) - count % 2;  // of the pair's first tap in its class
            auto weight = [&](int t) { return quantise(tap_weight(row[0], row[1], taps_.list[first + t]), storage_->plan.shift); };
            if (position < 0) {
                const int32_t w = weight(0), half = w / 2;
                storage_->pair_weights.push_back(int16_t(half));
                storage_->pair_weights.push_back(int16_t(w - half));
            } else {
                storage_->pair_weights.push_back(int16_t(weight(position)));
                storage_->pair_weights.push_back(int16_t(weight(position + 1)));
            }
            return;
        }
    }

    void lay_out_scratch() {
        EdgeSrPlan &plan = storage_->plan;
        plan.tile = EDGE_SR_TILE;
        size_t at = 0;
        auto take = [&](size_t bytes) {
            const size_t here = at;
            at += (bytes + 63) / 64 * 64;
            return here;
        };
        const size_t tile = size_t(plan.tile), phases = size_t(plan.scale) * plan.scale;
        const size_t row = (EDGE_SR_CHUNK + 2 * EDGE_SR_MARGIN) * (plan.integer ? sizeof(int16_t) : sizeof(float));
        plan.rows_at = take(plan.folded ? size_t(plan.folded_rows) * row : 0);
        plan.taps_at = take(size_t(plan.taps) * tile * 4);
        plan.sums_at = take(size_t(largest_batch_) * tile * 4);
        plan.pixels_at = take(phases * tile * 4);
        plan.bytes_at = take(size_t(plan.scale) * tile * 5);  // one output row of a tile: phases as bytes, then woven (bytes or floats)
        plan.scratch_bytes = at;
    }

    const EdgeSrSpec &spec_;
    std::shared_ptr<Storage> storage_;
    Groups groups_;
    Taps taps_;
    std::array<Range, 4> classes_;
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
