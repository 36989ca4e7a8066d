// Threads that share one task: each takes the next tile of the row, until there is none.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "kernels.h"

namespace thinlens {

// A team of `threads`, the caller among them. Tasks come every few microseconds, so its helpers wait by looking, not by sleeping; a
// helper that no processor runs is not waited for: the others make its tiles.
class Team {
public:
    Team(int threads, int64_t scratch_bytes);
    ~Team();
    Team(const Team &) = delete;
    Team &operator=(const Team &) = delete;

    // Run a task; helper i uses the i-th scratch from the task's on.
    void run(const Task &task, void (*kernel)(const Task &));

private:
    void help(int helper);

    const int64_t scratch_bytes_;
    Task task_;
    void (*kernel_)(const Task &) = nullptr;
    std::atomic<uint64_t> round_{0};   // odd while a task may be joined
    std::atomic<int64_t> next_tile_{0};
    std::atomic<int> inside_{0};       // helpers that may be at the task
    std::atomic<bool> over_{false};
    std::vector<std::thread> helpers_;
};

}  // namespace thinlens
