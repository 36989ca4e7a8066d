// Before any pixel moves: which rows each op makes, how many of them its ring must hold, and where in one block of memory all lies.
#include "layout.h"

#include <algorithm>
#include <vector>

namespace thinlens {
namespace {

const char *const HEIGHT_NEEDED = "the height must be known before the first row";

struct TooLarge {};

int64_t times(int64_t a, int64_t b) {
    if (b > 0 && a > MAX_BYTES / b) throw TooLarge{};
    return a * b;
}

int64_t plus(int64_t a, int64_t b) {
    if (a > MAX_BYTES - b) throw TooLarge{};
    return a + b;
}

int64_t take(int64_t &end, int64_t bytes) {
    const int64_t at = end;
    end = plus(end, round_up(bytes, 64));
    return at;
}

// Rows of all inputs that one task points at.
int64_t task_rows(const Op &op) {
    switch (op.kind) {
        case LOW_CONV2D: return op.kh;
        case BINARY_CONV2D: return op.kh + 1;
        case CONV2D: return op.winograd ? WINOGRAD_TAPS : op.kh;
        case MAX_POOL:
        case EDGE_SR: return op.kh;
        case CONV_TRANSPOSE2D: return op.kh / op.stride + 2;
        case PIXEL_UNSHUFFLE: return op.scale;
        case RESIZE: return 4;
        default: return int64_t(op.inputs.size());
    }
}

// Counts rows that rings hold, when they hold some, and how far the output lags behind the input.
class Counter : public Stepper {
public:
    Counter(Layout &layout) : Stepper(layout), own_(layout) {}

protected:
    void absorb(int node, int64_t) override { reads(node); }

    void produce(int node, int64_t y) override {
        const Plan &plan = *own_.plan;
        reads(node);
        if (own_.nodes[node].born == 0) own_.nodes[node].born = steps_;
        const int64_t made = y + plan.ops[node].group();
        const auto &readers = plan.values[node + 1].readers;
        if (readers.empty()) return lag(y);
        int64_t keep = made;
        for (int reader : readers) keep = std::min(keep, kept_by(reader, node + 1));
        keep = std::max(keep, own_.nodes[node].start);
        own_.nodes[node].capacity = std::max(own_.nodes[node].capacity, made - keep);
    }

private:
    int64_t kept_by(int reader, int value) const {
        const Op &op = own_.plan->ops[reader];
        if (progress_[reader].next >= own_.stop(reader)) return ENDLESS * 2;
        if (op.absorbs()) return progress_[reader].absorbed;
        if (own_.nodes[reader].aligned) return progress_[reader].next;
        int64_t keep = ENDLESS * 2;
        for (size_t j = 0; j < op.inputs.size(); ++j)
            if (op.inputs[j] == value) keep = std::min(keep, View(*own_.plan, reader, int(j), own_.sizes).keep(progress_[reader].next));
        return keep;
    }
    void reads(int node) {
        ++steps_;
        for (int32_t input : own_.plan->ops[node].inputs)
            if (input > 0) own_.nodes[input - 1].used = steps_;
    }
    void lag(int64_t y) {
        const Size &in = own_.known_sizes[0], &out = own_.known_sizes[own_.count()];
        own_.latency = std::max(own_.latency, available_ - 1 - y * in.height / out.height);
    }
    Layout &own_;
    int64_t steps_ = 0;
};

void begin(const Layout &layout) {
    for (int i = 0; i < layout.count(); ++i) layout.trial[i] = {layout.nodes[i].start, layout.nodes[i].in_start};
}

bool is_aligned(const Layout &layout, int node) {
    const Op &op = layout.plan->ops[node];
    switch (op.kind) {
        case ADD:
        case MULTIPLY:
            for (int32_t input : op.inputs)
                if (layout.sizes[input].height != layout.sizes[node + 1].height) return false;
            return true;
        case PIXELS_IN:
        case PIXELS_OUT:
        case ACTIVATION:
        case CLAMP:
        case AFFINE:
        case CONCAT:
        case GATHER:
        case CHANNEL_MAX:
        case SOFTMAX_SUM:
        case LSTM_CELL:
        case QUANTIZE:
        case SIGN: return true;
        default: return false;
    }
}

// Rows of all values behind the output rows of the request.
void choose_rows(Layout &layout) {
    const Plan &plan = *layout.plan;
    const int count = layout.count();
    const tl_request &request = layout.request;
    std::vector<Rows> wanted(count + 1, Rows{ENDLESS, 0});
    const bool all = plan.remembers() ||  // then every row depends on all above it
                     (request.first_row == 0 && (request.stop_row == 0 || request.stop_row == layout.sizes[count].height));
    wanted[count] = all ? Rows{0, ENDLESS} : Rows{request.first_row, request.stop_row};
    for (int i = count - 1; i >= 0; --i) {
        Rows made = all ? Rows{0, ENDLESS} : wanted[i + 1].first < wanted[i + 1].stop ? wanted[i + 1] : Rows{0, 0};
        const int group = plan.ops[i].group();
        made.first = made.first / group * group, made.stop = round_up(made.stop, group);
        layout.nodes[i].start = made.first, layout.nodes[i].stop = made.stop, layout.nodes[i].in_start = 0;
        if (all || made.first >= made.stop) continue;
        for (size_t j = 0; j < plan.ops[i].inputs.size(); ++j) {
            const View view(plan, i, int(j), layout.sizes);
            Rows &rows = wanted[plan.ops[i].inputs[j]];
            const int64_t first = view.keep(made.first), stop = std::max(view.ready(made.first), view.ready(made.stop - 1));
            if (first >= stop) continue;
            rows.first = std::min(rows.first, first), rows.stop = std::max(rows.stop, stop);
            if (plan.ops[i].absorbs()) layout.nodes[i].in_start = first;
        }
    }
    if (wanted[0].first >= wanted[0].stop) wanted[0] = {0, 1};  // rows of padding alone: the push of some row lets them come
    layout.in_first = all ? 0 : wanted[0].first;
    layout.in_stop = all ? layout.sizes[0].height : wanted[0].stop;
}

constexpr int64_t MOST_STEPS = int64_t(1) << 24;  // of the program, before any pixel moves

// Rows of all values together.
int64_t steps(const Layout &layout) {
    int64_t sum = 0;
    for (int i = 0; i < layout.count(); ++i) sum += std::max<int64_t>(0, layout.stop(i) - layout.nodes[i].start);
    return sum;
}

// The least height for which rings are the same: the program has settled before its end, which comes at the same remainder of the
// period.
int64_t as_short(const Layout &layout) {
    const int64_t height = layout.sizes[0].height, base = settled(*layout.plan);
    const bool all = layout.in_first == 0 && layout.in_stop == height;
    return all && !layout.plan->needs_height() && base > 0 && base < height ? base + (height - base) % period(*layout.plan) : height;
}

// Run the program over a known height. A hostile plan makes any number of rows of a few.
tl_status size_known(Layout &layout, std::string &message) {
    const Plan &plan = *layout.plan;
    const int64_t accepted = MOST_STEPS + 64 * layout.count() * (layout.in_stop - layout.in_first);
    if (steps(layout) > accepted) {
        message = std::to_string(steps(layout)) + " rows of all values in all; accepted for this image: " + std::to_string(accepted);
        return TL_BAD_SIZE;
    }
    const int64_t height = layout.sizes[0].height, same = as_short(layout);
    std::string refused;
    if (same < height && value_sizes(plan, layout.request.width, same, layout.sizes, refused)) {
        std::copy(layout.sizes, layout.sizes + layout.count() + 1, layout.known_sizes);
        layout.in_stop = same;
    }
    begin(layout);
    Counter counter(layout);
    for (int64_t row = layout.in_first; row < layout.in_stop; ++row) counter.advance(layout.trial, row + 1);
    if (layout.sizes[0].height < height) {
        value_sizes(plan, layout.request.width, height, layout.sizes, refused);
        std::copy(layout.sizes, layout.sizes + layout.count() + 1, layout.known_sizes);
        layout.in_stop = height;
    }
    return TL_OK;
}

// Run it over an endless image, and to an end at one height of each remainder of the period: which end it will be is not known.
tl_status size_endless(Layout &layout, std::string &message) {
    const Plan &plan = *layout.plan;
    const int64_t base = settled(plan), turn = period(plan), width = layout.request.width;
    Size *endless = layout.sizes;
    layout.sizes = layout.known_sizes;
    const bool too_many = steps(layout) > MOST_STEPS;
    layout.sizes = endless;
    if (too_many) {
        message = HEIGHT_NEEDED;
        return TL_NEEDS_HEIGHT;
    }
    begin(layout);
    Counter counter(layout);
    for (int64_t row = 0; row < base; ++row) counter.advance(layout.trial, row + 1);
    for (int64_t height = base; height < base + turn; ++height) {
        std::string refused;  // no image has such a height: nothing to provide for
        if (value_sizes(plan, width, height, layout.known_sizes, refused)) {
            std::copy(layout.trial, layout.trial + layout.count(), layout.progress);
            layout.sizes = layout.known_sizes;
            counter.forget();
            counter.advance(layout.progress, height);
            layout.sizes = endless;
            counter.forget();
        }
        value_sizes(plan, width, base, layout.known_sizes, refused);
        counter.advance(layout.trial, height + 1);
    }
    return TL_OK;
}

tl_status size_rings(Layout &layout, std::string &message) {
    // A value of which only the size matters is made nevertheless.
    for (int i = 0; i < layout.count(); ++i) layout.nodes[i].capacity = layout.plan->ops[i].group();
    return layout.request.height > 0 ? size_known(layout, message) : size_endless(layout, message);
}

bool overlap(const Node &a, const Node &b) { return a.born <= std::max(b.born, b.used) && b.born <= std::max(a.born, a.used); }

// Where a ring goes. An op that waits for the whole image keeps all rows of what comes before it: there, rings that are never in use
// together share memory, the largest ones first, each at the lowest place that is free all the while it is in use. Elsewhere all are
// in use from beginning to end.
int64_t place_rings(Layout &layout) {
    int64_t end = 0;
    std::vector<int> order, placed;
    const auto bytes = [&](int i) { return round_up(times(layout.nodes[i].row_bytes, layout.nodes[i].capacity), 64); };
    for (int i = 0; i < layout.count(); ++i)
        if (layout.plan->values[i + 1].type != RAW_OUT) order.push_back(i);
    const bool share = layout.request.height > 0 && layout.plan->whole_image_node() >= 0;
    if (share) std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return bytes(a) > bytes(b); });
    for (int i : order) {
        Node &node = layout.nodes[i];
        node.ring = share ? 0 : end;
        if (share) {
            for (int other : placed) {  // in order of their places
                const Node &there = layout.nodes[other];
                const int64_t stop = there.ring + bytes(other);
                if (overlap(node, there) && node.ring < stop && there.ring < node.ring + bytes(i)) node.ring = stop;
            }
            const auto above = [&](int a, int b) { return layout.nodes[a].ring < layout.nodes[b].ring; };
            placed.insert(std::lower_bound(placed.begin(), placed.end(), i, above), i);
        }
        end = std::max(end, plus(node.ring, bytes(i)));
    }
    return end;
}

void place(Layout &layout) {
    const Plan &plan = *layout.plan;
    int64_t scratch = 0, zeros = 0, spare = 0;
    for (int i = 0; i < layout.count(); ++i) {
        Node &node = layout.nodes[i];
        const Op &op = plan.ops[i];
        const Value &value = plan.values[i + 1];
        const int64_t width = layout.sizes[i + 1].width, in_width = layout.sizes[op.inputs[0]].width;
        node.plane = round_up(width, TILE);
        if (value.planes() > 1) node.plane += 16;  // an odd number of cache lines: planes do not compete for the same cache sets
        node.row_bytes = value.type == LEVELS ? round_up(width, 64) : times(node.plane * 4, value.planes());
        if (op.kind == EDGE_SR) node.line_bytes = round_up(int64_t(op.edge_sr.line_bytes(in_width)), 64);
        scratch = std::max(scratch, scratch_bytes(op, plan.values[op.inputs[0]].channels, in_width, width));
        if (op.kind == CONV2D || op.kind == CONV_TRANSPOSE2D) {
            const int64_t stride = op.kind == CONV2D ? op.stride : 1, run = round_up(((TILE - 1) * stride + op.kw) / stride + 1, 16);
            zeros = std::max(zeros, (stride * run + TILE + 256) * 4);
        }
        if (value.type == RAW_OUT) spare = times(width, int64_t(value.channels) * pixel_bytes(plan.output_type));
    }
    int64_t end = place_rings(layout);
    for (int i = 0; i < layout.count(); ++i) {
        const Op &op = plan.ops[i];
        if (op.kind == EDGE_SR)
            layout.nodes[i].own = take(end, times(layout.nodes[i].line_bytes, op.kh + 1));  // the last one is for rows of zeros
        else if (op.absorbs())
            layout.nodes[i].own = take(end, int64_t(plan.values[i + 1].channels) * 16);
    }
    layout.ring_bytes = end;
    layout.scratch_bytes = round_up(scratch, 64);
    layout.zeros = take(end, zeros), layout.scratch = take(end, times(layout.scratch_bytes, layout.threads)), layout.spare = take(end, spare);
    layout.memory_bytes = end;
}

tl_status check_request(const Plan &plan, const tl_request &request, std::string &message) {
    if (request.width < 1 || request.width > MAX_SIDE || request.height < 0 || request.height > MAX_SIDE) {
        message = "size " + std::to_string(request.width) + "x" + std::to_string(request.height) + "; accepted: sides of 1 to " +
                  std::to_string(MAX_SIDE);
        return TL_BAD_SIZE;
    }
    if (request.height == 0 && (plan.needs_height() || settled(plan) == 0)) {
        message = HEIGHT_NEEDED;
        return TL_NEEDS_HEIGHT;
    }
    return TL_OK;
}

tl_status check_rows(const Layout &layout, std::string &message) {
    const tl_request &request = layout.request;
    const bool all = request.first_row == 0 && request.stop_row == 0;
    if (all || (request.height > 0 && request.first_row >= 0 && request.first_row < request.stop_row &&
                request.stop_row <= layout.sizes[layout.count()].height))
        return TL_OK;
    message = "rows [" + std::to_string(request.first_row) + ", " + std::to_string(request.stop_row) + "); accepted: rows of the result";
    return TL_BAD_ARGUMENT;
}

template <class T>
T *array(char *&at, int64_t count) {
    T *first = reinterpret_cast<T *>(at);
    at += round_up(count * int64_t(sizeof(T)), 64);
    return first;
}

int64_t most_task_rows(const Plan &plan) {
    int64_t most = 1;
    for (const Op &op : plan.ops) most = std::max(most, task_rows(op));
    return most;
}

}  // namespace

int64_t tables_bytes(const Plan &plan) {
    const int64_t count = int64_t(plan.ops.size());
    const auto padded = [](int64_t n, size_t size) { return round_up(n * int64_t(size), 64); };
    return 2 * padded(count + 1, sizeof(Size)) + padded(count, sizeof(Node)) + 2 * padded(count, sizeof(Progress)) +
           padded(count, sizeof(Waiting)) + padded(most_task_rows(plan), sizeof(const float *));
}

tl_status lay_out(const Plan &plan, const tl_request &request, int threads, char *tables, Layout &layout, std::string &message) {
    layout = Layout{};
    layout.plan = &plan, layout.request = request, layout.threads = threads;
    const int64_t count = layout.count();
    layout.sizes = array<Size>(tables, count + 1), layout.known_sizes = array<Size>(tables, count + 1);
    layout.nodes = array<Node>(tables, count);
    layout.progress = array<Progress>(tables, count), layout.trial = array<Progress>(tables, count);
    layout.waiting = array<Waiting>(tables, count);
    layout.rows = array<const float *>(tables, most_task_rows(plan));
    if (tl_status status = check_request(plan, request, message)) return status;
    const int64_t height = request.height > 0 ? request.height : settled(plan);
    if (!value_sizes(plan, request.width, height, layout.known_sizes, message)) return TL_BAD_SIZE;
    if (!value_sizes(plan, request.width, request.height > 0 ? height : ENDLESS, layout.sizes, message)) return TL_BAD_SIZE;
    if (tl_status status = check_rows(layout, message)) return status;
    for (int i = 0; i < layout.count(); ++i) layout.nodes[i].aligned = is_aligned(layout, i);
    choose_rows(layout);
    if (tl_status status = size_rings(layout, message)) return status;
    try {
        place(layout);
    } catch (const TooLarge &) {
        message = "the session would need more than " + std::to_string(MAX_BYTES) + " bytes";
        return TL_NO_MEMORY;
    }
    return TL_OK;
}

int64_t settled(const Plan &plan) {
    int64_t reach = 32;
    const int64_t turn = period(plan);
    for (const Op &op : plan.ops) reach += op.kh + 2 * op.group() + op.top + op.bottom + int64_t(op.rows) * (op.warm_up + 1) + 4;
    const int64_t rows = round_up(2 * reach * std::min<int64_t>(turn, 64) + 2 * turn, turn);
    const double steps = double(rows) * double(plan.ops.size());  // that sizing the rings would take
    return turn > 256 || steps > (1 << 23) ? 0 : rows;
}

void halo(const Plan &plan, const tl_request &request, const Layout &layout, int64_t &above, int64_t &below) {
    above = below = 0;
    if (plan.whole_image_node() >= 0) {
        above = below = -1;
        return;
    }
    const int count = layout.count();
    const Size *sizes = layout.known_sizes;
    const int64_t in_height = sizes[0].height, out_height = sizes[count].height;
    const bool everywhere = plan.needs_height();  // rows depend on the height: look at every one
    const int64_t middle = out_height / 2, span = std::max<int64_t>(2 * period(plan) * (out_height / in_height + 1), 4);
    const int64_t first = everywhere ? 0 : std::max<int64_t>(0, middle - span), stop = everywhere ? out_height : std::min(out_height, middle + span);
    std::vector<Rows> wanted(count + 1);
    (void)request;
    for (int64_t y = first; y < stop; ++y) {
        std::fill(wanted.begin(), wanted.end(), Rows{ENDLESS, -ENDLESS});
        wanted[count] = {y, y + 1};
        for (int i = count - 1; i >= 0; --i) {
            if (wanted[i + 1].first >= wanted[i + 1].stop) continue;
            for (size_t j = 0; j < plan.ops[i].inputs.size(); ++j) {
                if (plan.ops[i].kind == LINE_DELAY && j == 1) continue;  // bands above
                const View view(plan, i, int(j), sizes);
                Rows a = view.reads(wanted[i + 1].first), b = view.reads(wanted[i + 1].stop - 1);
                const bool banded = plan.values[plan.ops[i].inputs[j]].banded && plan.ops[i].kind != UNBANDS;
                if (a.first >= a.stop) continue;
                const Size &in = sizes[plan.ops[i].inputs[j]];
                if (banded) {
                    a.first = std::max(a.first, wanted[i + 1].first / sizes[i + 1].frame * in.frame);
                    b.stop = std::min(b.stop, ((wanted[i + 1].stop - 1) / sizes[i + 1].frame + 1) * in.frame);
                }
                Rows &rows = wanted[plan.ops[i].inputs[j]];
                rows.first = std::min(rows.first, a.first), rows.stop = std::max(rows.stop, b.stop);
            }
        }
        const int64_t own = y * in_height / out_height;
        above = std::max(above, own - wanted[0].first), below = std::max(below, wanted[0].stop - 1 - own);
    }
    if (plan.remembers()) above = -1;
}

}  // namespace thinlens
