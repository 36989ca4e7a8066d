#include "team.h"

#include <chrono>
#include <system_error>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace thinlens {
namespace {

// One look after another; after a while other threads get a turn, and where nothing comes for milliseconds, looks are few.
void pause(int looks) {
    if (looks > 10000) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        return;
    }
    if (looks > 2000) {
        std::this_thread::yield();
        return;
    }
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#endif
}

int64_t claim(void *next_tile) { return static_cast<std::atomic<int64_t> *>(next_tile)->fetch_add(1); }

}  // namespace

Team::Team(int threads, int64_t scratch_bytes) : scratch_bytes_(scratch_bytes) {
    helpers_.reserve(size_t(threads));
    try {
        for (int helper = 1; helper < threads; ++helper) helpers_.emplace_back([this, helper] { help(helper); });
    } catch (const std::system_error &) {  // no more threads are to be had: those that are do all
    }
}

Team::~Team() {
    over_ = true;
    for (std::thread &helper : helpers_) helper.join();
}

void Team::run(const Task &task, void (*kernel)(const Task &)) {
    task_ = task, kernel_ = kernel;
    task_.claim = claim, task_.claims = &next_tile_;
    next_tile_ = 0;
    ++round_;  // odd: helpers may come
    kernel(task_);
    ++round_;  // even: nobody comes any more
    for (int looks = 0; inside_ > 0; ++looks) pause(looks);
}

// A helper says that it is inside before it looks whether there is still a task: one of the two sees the other.
void Team::help(int helper) {
    uint64_t done = 0;
    for (int looks = 0; !over_; ++looks) {
        if (round_ == done || round_ % 2 == 0) {
            pause(looks);
            continue;
        }
        ++inside_;
        const uint64_t round = round_;
        if (round % 2 == 1) {
            Task own = task_;
            own.scratch = static_cast<char *>(own.scratch) + helper * scratch_bytes_;
            kernel_(own);
            done = round;
        }
        --inside_;
        looks = 0;
    }
}

}  // namespace thinlens
