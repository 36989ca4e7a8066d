#include "machine.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "layout.h"

namespace thinlens {
namespace {

std::atomic<int64_t> held{0}, peak{0};

constexpr uint64_t STATE_MAGIC = 0x31455441544c54ull;  // "TLTATE1": a session's saved state

struct StateHeader {
    uint64_t magic, plan_hash;
    tl_request request;
    int64_t pushed, ended, bytes;
};

// Whether sharing a row of an op between threads is worth it: from some tens of microseconds on.
bool is_large(const Op &op, int64_t width) { return task_work(op, width) > 1e6; }

// row % count, mostly without a 64-bit division.
int64_t ring_slot(int64_t row, int64_t count) {
    if (count == 1) return 0;
    return row < (int64_t(1) << 31) ? int64_t(uint32_t(row) % uint32_t(count)) : row % count;
}

}  // namespace

double task_work(const Op &op, int64_t width) {
    if (op.kind != BINARY_CONV2D && op.kind != CONV2D && op.kind != LOW_CONV2D) return 0;
    const double parts = op.kind == BINARY_CONV2D ? 16 : 1;  // signs for the time of a float
    return double(op.in / op.groups) * op.out * op.kh * op.kw * double(width) * op.group() / parts;
}

void *allocate(int64_t bytes) {
    void *block = std::calloc(1, size_t(bytes) + 64);
    if (!block) return nullptr;
    char *aligned = static_cast<char *>(block) + (64 - reinterpret_cast<uintptr_t>(block) % 64);
    aligned[-1] = char(aligned - static_cast<char *>(block));  // how far back the block begins
    const int64_t now = held.fetch_add(bytes) + bytes;
    for (int64_t old = peak.load(); now > old && !peak.compare_exchange_weak(old, now);) {
    }
    return aligned;
}

void release(void *memory, int64_t bytes) {
    if (!memory) return;
    char *aligned = static_cast<char *>(memory);
    std::free(aligned - static_cast<unsigned char>(aligned[-1]));
    held.fetch_sub(bytes);
}

int64_t allocated() { return held.load(); }
int64_t allocated_peak() { return peak.load(); }
void allocated_reset() { peak.store(held.load()); }

// ---- the program ----

void Stepper::forget() {
    for (int node = 0; node < layout_.count(); ++node) layout_.waiting[node] = {-1, 0};
}

// One past the last row of an input that the next row needs.
int64_t Stepper::wanted(int node, int input) const {
    const int64_t next = progress_[node].next;
    Waiting &waiting = layout_.waiting[node];
    if (input == 0 && waiting.next == next) return waiting.wanted;
    const int64_t stop = View(*layout_.plan, node, input, layout_.sizes).ready(next);
    if (input == 0) waiting = {next, stop};
    return stop;
}

Stepper::Step Stepper::step(int node) {
    const Op &op = layout_.plan->ops[node];
    Progress &own = progress_[node];
    if (own.next >= layout_.stop(node)) return WAITS;
    if (op.absorbs()) {
        if (own.absorbed < wanted(node, 0)) {
            if (!has(op.inputs[0], own.absorbed + 1)) return WAITS;
            absorb(node, own.absorbed++);
            return ABSORBED;
        }
    } else if (layout_.nodes[node].aligned) {
        for (int32_t input : op.inputs)
            if (!has(input, own.next + 1)) return WAITS;
    } else {
        for (size_t j = 0; j < op.inputs.size(); ++j)
            if (!has(op.inputs[j], wanted(node, int(j)))) return WAITS;
    }
    produce(node, own.next);
    own.next += op.group();
    return MADE;
}

void Stepper::advance(Progress *progress, int64_t available) {
    progress_ = progress, available_ = available;
    for (int node = layout_.count() - 1; node >= 0;) {
        switch (step(node)) {
            case WAITS: --node; break;
            case ABSORBED: break;
            case MADE: {
                const auto &readers = layout_.plan->values[node + 1].readers;
                if (!readers.empty()) node = std::max<int>(node, readers.back());  // the last reader is nearest to the output
                break;
            }
        }
    }
}

// ---- pixels ----

class Runner : public Stepper {
public:
    Runner(Session &session, void *out, int64_t out_stride)
        : Stepper(session.layout_), session_(session), memory_(session.memory_), out_(static_cast<char *>(out)), out_stride_(out_stride),
          out_first_(session.layout_.progress[session.layout_.count() - 1].next) {
        out_first_ = std::max(out_first_, session.layout_.request.first_row);
    }
    void row(const void *pixels, int64_t index) {
        pixels_ = pixels;
        advance(layout_.progress, index + 1);
    }
    void finish(int64_t height) { advance(layout_.progress, height); }

protected:
    void absorb(int node, int64_t row) override {
        const Op &op = layout_.plan->ops[node];
        const int value = op.inputs[0];
        char *own = memory_ + layout_.nodes[node].own;
        if (op.kind == EDGE_SR) {
            const EdgeSrKernels &kernels = layout_.plan->kernels->edge_sr();
            const bool levels = layout_.plan->values[value].type == LEVELS;
            if (row == layout_.nodes[node].in_start && op.pad_mode == ZERO) kernels.zero_line(op.edge_sr, width(value), line(node, op.kh));
            kernels.absorb(op.edge_sr, ring_row(value, row), levels ? EDGE_SR_BYTES : EDGE_SR_FLOAT, width(value), line(node, ring_slot(row, op.kh)));
        } else {
            const float *pointer = static_cast<const float *>(ring_row(value, row));
            Source source = source_of(value);
            source.rows = &pointer, source.count = 1;
            layout_.plan->kernels->absorb_sums(source, reinterpret_cast<double *>(own));
        }
    }

    void produce(int node, int64_t y) override {
        const Plan &plan = *layout_.plan;
        const Op &op = plan.ops[node];
        const Size &size = layout_.sizes[node + 1];
        Task task;
        task.op = &op;
        task.y = y >= size.frame && op.kind != BANDS && op.kind != UNBANDS ? y % size.frame : y;
        task.out_channels = plan.values[node + 1].channels;
        task.out_width = size.width, task.out_height = size.frame;
        task.scratch = memory_ + layout_.scratch, task.zeros = reinterpret_cast<const float *>(memory_ + layout_.zeros);
        task.not_a_number = &session_.not_a_number_, task.kernels = plan.kernels;
        void *raw[8];
        const void *lines[16];
        if (op.kind == PIXELS_IN)
            task.raw_in = pixels_, task.raw_channels = plan.input_channels, task.raw_type = plan.input_type;
        else
            point_at_inputs(node, y, task, lines);
        point_at_output(node, y, task, raw);
        if (session_.team_ && is_large(op, size.width))
            session_.team_->run(task, plan.kernels->run);
        else
            plan.kernels->run(task);
    }

private:
    int64_t width(int value) const { return layout_.sizes[value].width; }
    char *line(int node, int64_t index) const { return memory_ + layout_.nodes[node].own + index * layout_.nodes[node].line_bytes; }
    const void *ring_row(int value, int64_t row) const {
        const Node &made_by = layout_.nodes[value - 1];
        return memory_ + made_by.ring + ring_slot(row, made_by.capacity) * made_by.row_bytes;
    }
    Source source_of(int value) const {
        Source source;
        source.plane = layout_.nodes[value - 1].plane, source.channels = layout_.plan->values[value].channels;
        source.width = width(value), source.height = layout_.sizes[value].frame;
        return source;
    }

    void point_at_inputs(int node, int64_t y, Task &task, const void **lines) {
        const Op &op = *task.op;
        const float **slot = layout_.rows;
        task.lines = lines;
        task.inputs = int(op.inputs.size());
        for (int j = 0; j < task.inputs; ++j) {
            const int value = op.inputs[j];
            Source &source = task.in[j];
            source = source_of(value);
            if (layout_.nodes[node].aligned) {
                source.rows = slot, source.count = 1;
                *slot++ = static_cast<const float *>(ring_row(value, y));
                continue;
            }
            const View view(*layout_.plan, node, j, layout_.sizes);
            if (op.kind == GLOBAL_MEAN || op.kind == GLOBAL_STD) {
                task.state = memory_ + layout_.nodes[node].own;
                continue;
            }
            const Rows rows = view.rows(y);
            source.rows = slot, source.count = rows.stop - rows.first;
            for (int64_t row = rows.first; row < rows.stop; ++row) {
                const int64_t at = view.resolved(y, row);
                if (op.kind == EDGE_SR)
                    *lines++ = at < 0 ? line(node, op.kh) : line(node, ring_slot(at, op.kh));
                else
                    *slot++ = at < 0 ? nullptr : static_cast<const float *>(ring_row(value, at));
            }
        }
    }

    void point_at_output(int node, int64_t y, Task &task, void **raw) {
        const Plan &plan = *layout_.plan;
        const Op &op = *task.op;
        if (plan.values[node + 1].type != RAW_OUT) {
            const Node &own = layout_.nodes[node];
            for (int i = 0; i < op.group(); ++i) raw[i] = memory_ + own.ring + ring_slot(y + i, own.capacity) * own.row_bytes;
            task.out = static_cast<float *>(raw[0]), task.out_plane = own.plane;
        } else {
            task.raw_type = plan.output_type;
            const int64_t first = layout_.request.first_row, stop = layout_.request.stop_row > 0 ? layout_.request.stop_row : ENDLESS;
            for (int i = 0; i < op.group(); ++i)
                raw[i] = y + i >= first && y + i < stop ? out_ + (y + i - out_first_) * out_stride_ : memory_ + layout_.spare;
        }
        task.raw = raw;
    }

    Session &session_;
    char *memory_, *out_;
    int64_t out_stride_, out_first_;
    const void *pixels_ = nullptr;
};

// ---- sessions ----

void *Session::operator new(size_t bytes) {
    void *memory = allocate(int64_t(bytes));
    if (!memory) throw std::bad_alloc();
    return memory;
}

void Session::operator delete(void *memory) { release(memory, int64_t(sizeof(Session))); }

Session::~Session() {
    release(memory_, layout_.memory_bytes);
    release(tables_, tables_bytes_);
}

tl_status Session::prepare(const Plan &plan, const tl_request &request, int threads, std::string &message) {
    const int64_t bytes = thinlens::tables_bytes(plan);
    tables_ = static_cast<char *>(allocate(bytes));
    if (!tables_) return TL_NO_MEMORY;
    tables_bytes_ = bytes;
    return lay_out(plan, request, threads, tables_, layout_, message);
}

tl_status Session::open(const Plan &plan, const tl_request &request, int threads, std::unique_ptr<Session> &opened, std::string &message) {
    std::unique_ptr<Session> session(new Session);
    if (tl_status status = session->prepare(plan, request, threads, message)) {
        session->layout_.memory_bytes = 0;
        return status;
    }
    session->memory_ = static_cast<char *>(allocate(session->layout_.memory_bytes));
    if (!session->memory_) {
        message = "no memory for a session of " + std::to_string(session->layout_.memory_bytes) + " bytes";
        return TL_NO_MEMORY;
    }
    session->begin(session->layout_.progress);
    session->pushed_ = session->layout_.in_first;
    if (threads > 1) session->team_ = std::make_unique<Team>(threads, session->layout_.scratch_bytes);
    opened = std::move(session);
    return TL_OK;
}

tl_status Session::schedule(const Plan &plan, const tl_request &request, int threads, tl_schedule &schedule, std::string &message) {
    std::unique_ptr<Session> session(new Session);
    tl_status status = session->prepare(plan, request, threads, message);
    if (status) return status;
    const Layout &layout = session->layout_;
    const int count = layout.count();
    const Size &out = layout.sizes[count];
    schedule.out_width = out.width, schedule.out_height = out.known() ? out.height : 0;
    schedule.out_channels = plan.values[count].channels;
    schedule.in_first = layout.in_first, schedule.in_stop = layout.in_stop < ENDLESS ? layout.in_stop : 0;
    halo(plan, request, layout, schedule.halo_above, schedule.halo_below);
    schedule.latency_rows = layout.latency;
    schedule.buffer_bytes = int64_t(sizeof(Session)) + session->tables_bytes_ + layout.memory_bytes;
    schedule.whole_image_node = plan.whole_image_node();
    return TL_OK;
}

void Session::begin(Progress *progress) const {
    for (int i = 0; i < layout_.count(); ++i) progress[i] = {layout_.nodes[i].start, layout_.nodes[i].in_start};
}

tl_status Session::ready(int64_t rows, bool flush, int64_t &count, std::string &message) const {
    count = 0;
    if (rows < 0 || (rows > 0 && ended_) || (layout_.request.height > 0 && rows > layout_.in_stop - pushed_)) {
        message = std::to_string(rows) + " rows after " + std::to_string(pushed_ - layout_.in_first) + "; that is more than the image has";
        return TL_BAD_ARGUMENT;
    }
    const int last = layout_.count() - 1;
    std::copy(layout_.progress, layout_.progress + last + 1, layout_.trial);
    Layout trial = layout_;
    Stepper stepper(trial);
    for (int64_t row = pushed_; row < pushed_ + rows; ++row) stepper.advance(layout_.trial, row + 1);
    if (flush && !height_known()) {
        if (!value_sizes(*layout_.plan, layout_.request.width, pushed_ + rows, layout_.known_sizes, message)) return TL_BAD_SIZE;
        trial.sizes = layout_.known_sizes;
        stepper.forget();
        stepper.advance(layout_.trial, pushed_ + rows);
    }
    const int64_t first = layout_.request.first_row, stop = layout_.request.stop_row > 0 ? layout_.request.stop_row : ENDLESS;
    count = std::min(layout_.trial[last].next, stop) - std::max(std::min(layout_.progress[last].next, stop), first);
    count = std::max<int64_t>(count, 0);
    return TL_OK;
}

int64_t Session::push_rows(const void *rows, int64_t stride, int64_t count, void *out, int64_t out_stride) {
    const int last = layout_.count() - 1;
    const int64_t before = std::max(layout_.progress[last].next, layout_.request.first_row);
    Runner runner(*this, out, out_stride);
    for (int64_t i = 0; i < count; ++i, ++pushed_) runner.row(static_cast<const char *>(rows) + i * stride, pushed_);
    const int64_t stop = layout_.request.stop_row > 0 ? layout_.request.stop_row : ENDLESS;
    return std::max<int64_t>(0, std::min(layout_.progress[last].next, stop) - before);
}

tl_status Session::push(const void *rows, int64_t stride, int64_t count, void *out, int64_t out_stride, int64_t out_rows,
                        int64_t &produced, std::string &message) {
    int64_t expected = 0;
    produced = 0;
    if (tl_status status = ready(count, false, expected, message)) return status;
    if (expected > out_rows) {
        message = std::to_string(expected) + " rows come out, room for " + std::to_string(out_rows);
        return TL_BAD_ARGUMENT;
    }
    produced = push_rows(rows, stride, count, out, out_stride);
    if (not_a_number_) message = "the network's result is not a number";
    return not_a_number_ ? TL_NOT_A_NUMBER : TL_OK;
}

tl_status Session::flush(void *out, int64_t out_stride, int64_t out_rows, int64_t &produced, std::string &message) {
    int64_t expected = 0;
    produced = 0;
    if (layout_.request.height > 0 && pushed_ < layout_.in_stop) {
        message = "the image ends after " + std::to_string(pushed_) + " rows; announced: " + std::to_string(layout_.in_stop);
        return TL_BAD_ARGUMENT;
    }
    if (tl_status status = ready(0, true, expected, message)) return status;
    if (expected > out_rows) {
        message = std::to_string(expected) + " rows come out, room for " + std::to_string(out_rows);
        return TL_BAD_ARGUMENT;
    }
    if (!height_known()) {
        Runner runner(*this, out, out_stride);
        std::copy(layout_.known_sizes, layout_.known_sizes + layout_.count() + 1, layout_.sizes);
        runner.finish(pushed_);
    }
    ended_ = true, produced = expected;
    if (not_a_number_) message = "the network's result is not a number";
    return not_a_number_ ? TL_NOT_A_NUMBER : TL_OK;
}

int64_t Session::state_bytes() const { return int64_t(sizeof(StateHeader)) + layout_.ring_bytes; }

void Session::save(void *bytes) const {
    const StateHeader header{STATE_MAGIC, layout_.plan->hash, layout_.request, pushed_, ended_ ? 1 : 0, layout_.ring_bytes};
    std::memcpy(bytes, &header, sizeof header);
    std::memcpy(static_cast<char *>(bytes) + sizeof header, memory_, size_t(layout_.ring_bytes));
}

tl_status Session::load(const void *bytes, size_t size, std::string &message) {
    StateHeader header;
    message = "the bytes were not saved by a session of this plan and size, or are damaged";
    if (size < sizeof header) return TL_BAD_STATE;
    std::memcpy(&header, bytes, sizeof header);
    const int64_t last = layout_.request.height > 0 ? layout_.in_stop : ENDLESS / 64;
    if (header.magic != STATE_MAGIC || header.plan_hash != layout_.plan->hash || header.bytes != layout_.ring_bytes ||
        std::memcmp(&header.request, &layout_.request, sizeof(tl_request)) || int64_t(size) != state_bytes() ||
        header.pushed < layout_.in_first || header.pushed > last || (header.ended != 0 && header.ended != 1))
        return TL_BAD_STATE;
    if (header.ended && layout_.request.height == 0 &&
        !value_sizes(*layout_.plan, layout_.request.width, header.pushed, layout_.known_sizes, message))
        return TL_BAD_STATE;
    message.clear();
    if (layout_.request.height == 0) value_sizes(*layout_.plan, layout_.request.width, ENDLESS, layout_.sizes, message);
    replay(layout_.progress, header.pushed);
    pushed_ = header.pushed, ended_ = false, not_a_number_ = false;
    if (header.ended) {
        if (!height_known()) {
            std::copy(layout_.known_sizes, layout_.known_sizes + layout_.count() + 1, layout_.sizes);
            Stepper(layout_).advance(layout_.progress, pushed_);
        }
        ended_ = true;
    }
    std::memcpy(memory_, static_cast<const char *>(bytes) + sizeof header, size_t(layout_.ring_bytes));
    return TL_OK;
}

// What the program has done after `pushed` rows. An endless image's program repeats itself once it has settled.
void Session::replay(Progress *progress, int64_t pushed) const {
    begin(progress);
    Stepper stepper(layout_);
    const int64_t turn = period(*layout_.plan), base = settled(*layout_.plan);
    int64_t skipped = 0;
    if (layout_.request.height == 0 && pushed > base + 2 * turn) skipped = (pushed - base - turn) / turn;
    for (int64_t row = layout_.in_first; row < pushed - skipped * turn; ++row) stepper.advance(progress, row + 1);
    if (!skipped) return;
    std::copy(progress, progress + layout_.count(), layout_.trial);
    const int64_t from = pushed - skipped * turn;
    for (int64_t row = from; row < from + turn; ++row) stepper.advance(layout_.trial, row + 1);
    for (int i = 0; i < layout_.count(); ++i) {
        progress[i].next += skipped * (layout_.trial[i].next - progress[i].next);
        progress[i].absorbed += skipped * (layout_.trial[i].absorbed - progress[i].absorbed);
    }
}

}  // namespace thinlens
