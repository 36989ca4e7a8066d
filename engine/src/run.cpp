// Whole images on several threads: strips of rows, each a session of its own that begins as many rows early as it needs; or one
// session whose large convolutions all threads share.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "machine.h"

namespace thinlens {
namespace {

struct Job {
    const char *image;
    int64_t stride;
    char *out;
    int64_t out_stride;
    std::atomic<int64_t> done{0};
    std::atomic<bool> cancelled{false};
};

struct Strip {
    std::unique_ptr<Session> session;
    int64_t first = 0;  // of its output rows, in the result
    std::atomic<bool> finished{false};
};

constexpr int64_t ROWS_AT_ONCE = 8;

template <class Tell>
void work(Strip &strip, Job &job, Tell tell) {
    Session &session = *strip.session;
    int64_t made = 0;
    for (int64_t row = session.in_first(); row < session.in_stop() && !job.cancelled; row += ROWS_AT_ONCE) {
        const int64_t count = std::min(ROWS_AT_ONCE, session.in_stop() - row);
        const int64_t more = session.push_rows(job.image + row * job.stride, job.stride, count, job.out + (strip.first + made) * job.out_stride,
                                               job.out_stride);
        made += more, job.done += more;
        tell();
    }
    strip.finished = true;
}

// How `threads` work on an image. Strips of its rows need no waiting, but each makes again what it shares with the next ones, and
// each has buffers of its own in the cache that threads share. Where either costs more than waiting, all share the large
// convolutions of each row instead.
struct Parts {
    std::vector<tl_request> requests;  // a strip each
    int threads = 1;                   // that share a strip's convolutions
};

constexpr int64_t LEAST_OWN = 3;  // rows of a strip for each that it shares
constexpr double LONG_WORK = 1.2e7;  // of a convolution, beside which waiting is nothing: a quarter of a millisecond

// What one of the large convolutions does at a time, on average.
double mean_work(const Plan &plan, const std::vector<Size> &sizes) {
    double sum = 0, count = 0;
    for (size_t i = 0; i < plan.ops.size(); ++i) {
        const Op &op = plan.ops[i];
        if (op.winograd || op.kind == LOW_CONV2D || op.kind == BINARY_CONV2D) sum += task_work(op, sizes[i + 1].width), ++count;
    }
    return count > 0 ? sum / count : 0;
}

tl_status divide(const Plan &plan, const tl_request &request, int threads, Parts &parts, std::string &message) {
    if (request.height < 1) {
        message = "a whole image has a height of 1 or more";
        return TL_BAD_ARGUMENT;
    }
    if (request.width < 1 || request.width > MAX_SIDE || request.height > MAX_SIDE) {
        message = "the image's sides are out of range";
        return TL_BAD_SIZE;
    }
    std::vector<Size> sizes(plan.values.size());
    if (!value_sizes(plan, request.width, request.height, sizes.data(), message)) return TL_BAD_SIZE;
    const int64_t height = sizes.back().height, first = request.first_row, stop = request.stop_row > 0 ? request.stop_row : height;
    if (first < 0 || first >= stop || stop > height) {
        message = "rows [" + std::to_string(first) + ", " + std::to_string(stop) + "); accepted: rows of the result, " + std::to_string(height);
        return TL_BAD_ARGUMENT;
    }
    const int64_t scale = std::max<int64_t>(1, height / request.height);  // output rows of one input row stay together
    const int64_t rows = (stop - first) / scale, wide = std::min<int64_t>(threads, std::max<int64_t>(1, rows / 4));
    bool whole = plan.whole_image_node() >= 0;
    for (const Value &value : plan.values)
        if (value.banded) whole = true, parts.threads = threads;
    if (const double work = mean_work(plan, sizes); !whole && wide > 1 && work > 0) {
        tl_schedule schedule;
        if (tl_status status = Session::schedule(plan, request, 1, schedule, message)) return status;
        const int64_t shared = schedule.halo_above + schedule.halo_below;
        if (work > LONG_WORK || shared * LEAST_OWN > rows / wide) whole = true, parts.threads = threads;
    }
    const int64_t count = whole ? 1 : wide;
    int64_t at = first;
    for (int64_t i = 1; i <= count; ++i) {
        const int64_t to = i == count ? stop : first + (stop - first) * i / count / scale * scale;
        if (to <= at) continue;
        parts.requests.push_back({request.width, request.height, at, to});
        at = to;
    }
    return TL_OK;
}

}  // namespace

tl_status run_image(const Plan &plan, const tl_request &request, const void *image, int64_t stride, void *out, int64_t out_stride,
                    int threads, tl_progress progress, void *user, std::string &message) {
    Parts parts;
    if (tl_status status = divide(plan, request, threads, parts, message)) return status;
    std::vector<Strip> work_on(parts.requests.size());
    for (size_t i = 0; i < work_on.size(); ++i) {
        if (tl_status status = Session::open(plan, parts.requests[i], parts.threads, work_on[i].session, message)) return status;
        work_on[i].first = parts.requests[i].first_row - parts.requests[0].first_row;
    }
    Job job;
    job.image = static_cast<const char *>(image), job.stride = stride, job.out = static_cast<char *>(out), job.out_stride = out_stride;
    const int64_t total = parts.requests.back().stop_row - parts.requests[0].first_row;
    const auto tell = [&] {
        if (progress && progress(job.done, total, user)) job.cancelled = true;
    };
    std::vector<std::thread> helpers;
    helpers.reserve(work_on.size());
    try {
        for (size_t i = 1; i < work_on.size(); ++i) helpers.emplace_back([&, i] { work(work_on[i], job, [] {}); });
    } catch (const std::system_error &) {  // no more threads are to be had: the caller does what is left
    }
    const size_t started = helpers.size() + 1;
    work(work_on[0], job, tell);
    for (size_t i = started; i < work_on.size(); ++i) work(work_on[i], job, tell);
    for (size_t i = 1; i < started; ++i)
        while (progress && !work_on[i].finished) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
            tell();
        }
    for (std::thread &helper : helpers) helper.join();
    if (job.cancelled) {
        message = "cancelled";
        return TL_CANCELLED;
    }
    for (const Strip &strip : work_on)
        if (strip.session->not_a_number()) {
            message = "the network's result is not a number";
            return TL_NOT_A_NUMBER;
        }
    tell();
    return TL_OK;
}

tl_status run_bytes(const Plan &plan, const tl_request &request, int threads, int64_t &bytes, std::string &message) {
    Parts parts;
    if (tl_status status = divide(plan, request, threads, parts, message)) return status;
    bytes = 0;
    for (const tl_request &part : parts.requests) {
        tl_schedule schedule;
        if (tl_status status = Session::schedule(plan, part, parts.threads, schedule, message)) return status;
        bytes += schedule.buffer_bytes;
    }
    return TL_OK;
}

}  // namespace thinlens
