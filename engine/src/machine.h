// The row machine: which op makes which row when, and in which memory.
//
// Every value has a ring of just the rows that later ops still read. A row of the image comes in; then, again and again, the op
// nearest to the output that has all its rows makes one, until none can. So rows are used while they are in the cache, and rings
// hold as few as possible. What happens depends on counts alone: the same program, without pixels, tells beforehand how large each
// ring must be, how many rows a push will give, and what a saved session had done.
#pragma once

#include <memory>
#include <string>

#include "geometry.h"
#include "kernels.h"
#include "team.h"

namespace thinlens {

// Where an op stands.
struct Progress {
    int64_t next;      // its next output row
    int64_t absorbed;  // input rows taken into its own memory (ops that absorb)
};

// The last answer to which rows of its first input an op waits for, and for which of its own rows.
struct Waiting {
    int64_t next, wanted;
};

// An op's part of the memory, and the rows that it makes.
struct Node {
    bool aligned;          // output row y reads row y of every input, no more
    int64_t start, stop;   // rows [start, stop) are made, as far as the value has them
    int64_t in_start;      // absorbing ops: the first input row taken
    int64_t capacity;      // rows of its ring
    int64_t row_bytes, plane;  // of one row of all channels; floats of one channel
    int64_t ring, own;     // offsets of its ring and of its own memory
    int64_t line_bytes;    // edge_sr: of one absorbed line
    int64_t born, used;    // steps of the program that first write to its ring and last read from it, where all are counted
};

// What a session needs: plain arrays in one block, an entry an op (sizes: an entry a value).
struct Layout {
    const Plan *plan;
    tl_request request;
    Size *sizes, *known_sizes;
    Node *nodes;
    Progress *progress, *trial;
    Waiting *waiting;
    const float **rows;  // of the task at hand
    int64_t in_first, in_stop;
    int64_t zeros, scratch, scratch_bytes, spare, ring_bytes, memory_bytes, latency;
    int threads;  // that share the large convolutions: each has a scratch

    int count() const { return int(plan->ops.size()); }
    int64_t stop(int node) const { return sizes[node + 1].height < nodes[node].stop ? sizes[node + 1].height : nodes[node].stop; }
};

// Runs the program. Its steps move pixels, or are only counted.
class Stepper {
public:
    explicit Stepper(const Layout &layout) : layout_(layout) { forget(); }
    virtual ~Stepper() = default;
    // Make all rows that can be made from input rows below `available`.
    void advance(Progress *progress, int64_t available);
    // To be told when sizes have changed.
    void forget();

protected:
    virtual void absorb(int, int64_t) {}
    virtual void produce(int, int64_t) {}
    const Layout &layout_;
    Progress *progress_ = nullptr;
    int64_t available_ = 0;

private:
    enum Step { WAITS, ABSORBED, MADE };
    Step step(int node);
    int64_t wanted(int node, int input) const;
    bool has(int value, int64_t stop) const {
        if (value == 0) return available_ >= stop;
        const Node &made_by = layout_.nodes[value - 1];
        return progress_[value - 1].next >= stop || made_by.start >= made_by.stop;  // no row of it is needed: all is padding
    }
};

class Session {
public:
    static tl_status open(const Plan &plan, const tl_request &request, int threads, std::unique_ptr<Session> &session, std::string &message);
    static tl_status schedule(const Plan &plan, const tl_request &request, int threads, tl_schedule &schedule, std::string &message);
    ~Session();
    static void *operator new(size_t bytes);
    static void operator delete(void *memory);

    tl_status ready(int64_t rows, bool flush, int64_t &count, std::string &message) const;
    tl_status push(const void *rows, int64_t stride, int64_t count, void *out, int64_t out_stride, int64_t out_rows, int64_t &produced,
                   std::string &message);
    tl_status flush(void *out, int64_t out_stride, int64_t out_rows, int64_t &produced, std::string &message);
    int64_t state_bytes() const;
    void save(void *bytes) const;
    tl_status load(const void *bytes, size_t size, std::string &message);

    // Push without asking whether the output is large enough; returns output rows made.
    int64_t push_rows(const void *rows, int64_t stride, int64_t count, void *out, int64_t out_stride);
    int64_t in_first() const { return layout_.in_first; }
    int64_t in_stop() const { return layout_.in_stop; }
    bool not_a_number() const { return not_a_number_; }

private:
    friend class Runner;
    Session() = default;
    tl_status prepare(const Plan &plan, const tl_request &request, int threads, std::string &message);
    void begin(Progress *progress) const;
    void replay(Progress *progress, int64_t pushed) const;
    bool height_known() const { return layout_.request.height > 0 || ended_; }

    Layout layout_{};
    char *tables_ = nullptr, *memory_ = nullptr;
    std::unique_ptr<Team> team_;  // if more than one thread works
    int64_t tables_bytes_ = 0;
    int64_t pushed_ = 0;  // the next input row
    bool ended_ = false;
    std::atomic<bool> not_a_number_{false};
};

// What an op does at a time, rows that it makes together, in multiplications of floats that would take as long; 0 for small ops.
double task_work(const Op &op, int64_t width);

// A whole image, its output rows split over threads.
tl_status run_image(const Plan &plan, const tl_request &request, const void *image, int64_t stride, void *out, int64_t out_stride,
                    int threads, tl_progress progress, void *user, std::string &message);
tl_status run_bytes(const Plan &plan, const tl_request &request, int threads, int64_t &bytes, std::string &message);

// All memory of all sessions comes from here; zeroed, aligned to 64 bytes. Null if there is none.
void *allocate(int64_t bytes);
void release(void *memory, int64_t bytes);
int64_t allocated();
int64_t allocated_peak();
void allocated_reset();

}  // namespace thinlens
