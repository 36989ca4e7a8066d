// Arbitrary bytes as a plan: loaded, asked for its schedule, run whole and row by row. Nothing may crash, leak, hang, or take more
// memory than it says. `scripts/fuzz` builds and runs it.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "thinlens.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

namespace {

constexpr int64_t MOST_BYTES = 32 << 20;
constexpr int64_t WIDTH = 5, HEIGHT = 7;

// The length in the header is made right again, or hardly any mutation would get past it.
void repair(uint8_t *data, size_t size) {
    const uint64_t length = size;
    if (size >= 24) std::memcpy(data + 16, &length, 8);
}

// A plan may ask for any amount of work: what a few rows of it would multiply, from its own numbers, must stay small.
bool is_small(const tl_plan *plan, int64_t height) {
    const tl_request request{WIDTH, height, 0, 0};
    tl_schedule schedule;
    return tl_plan_schedule(plan, &request, &schedule) == TL_OK && schedule.buffer_bytes < MOST_BYTES &&
           schedule.out_width * schedule.out_channels < (1 << 16) && schedule.out_height < (1 << 12);
}

void stream(const tl_plan *plan, int64_t height, const std::vector<uint8_t> &image) {
    const tl_request request{WIDTH, height, 0, 0};
    tl_schedule schedule;
    tl_session *session = nullptr, *other = nullptr;
    if (tl_plan_schedule(plan, &request, &schedule) != TL_OK || tl_session_open(plan, &request, &session) != TL_OK) return;
    const int64_t row_bytes = schedule.out_width * schedule.out_channels * 4, stride = int64_t(image.size()) / HEIGHT;
    std::vector<uint8_t> out;
    int64_t ready = 0, produced = 0;
    const auto push = [&](tl_session *into, int64_t row, int64_t count) {
        if (tl_session_ready(into, count, 0, &ready) != TL_OK || ready * row_bytes > MOST_BYTES) return;
        out.assign(size_t(ready * row_bytes + 1), 0);
        tl_session_push(into, image.data() + row * stride, stride, count, out.data(), row_bytes, ready, &produced);
    };
    push(session, 0, 3);
    std::vector<uint8_t> state(size_t(tl_session_state_bytes(session)) + 1);
    if (tl_session_save(session, state.data(), state.size()) == TL_OK && tl_session_open(plan, &request, &other) == TL_OK)
        if (tl_session_load(other, state.data(), state.size() - 1) != TL_OK) std::abort();
    if (other) push(other, 3, HEIGHT - 3);
    push(session, 3, HEIGHT - 3);
    if (tl_session_ready(session, 0, 1, &ready) == TL_OK && ready * row_bytes <= MOST_BYTES) {
        out.assign(size_t(ready * row_bytes + 1), 0);
        tl_session_flush(session, out.data(), row_bytes, ready, &produced);
    }
    tl_session_close(session), tl_session_close(other);
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned) {
    size = LLVMFuzzerMutate(data, size, most);
    repair(data, size);
    return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tl_plan *plan = nullptr;
    if (tl_plan_load(data, size, nullptr, &plan) != TL_OK) return 0;
    uint32_t channels;
    std::memcpy(&channels, data + 36, 4);
    if (is_small(plan, HEIGHT) && channels <= 4096) {
        const int64_t stride = WIDTH * channels * 4;
        std::vector<uint8_t> image(size_t(HEIGHT * stride), 63);
        const tl_request request{WIDTH, HEIGHT, 0, 0};
        int64_t width = 0, height = 0;
        tl_schedule schedule;
        if (tl_plan_out_size(plan, WIDTH, HEIGHT, &width, &height) == TL_OK && tl_plan_schedule(plan, &request, &schedule) == TL_OK) {
            const int64_t out_stride = width * schedule.out_channels * 4;
            std::vector<uint8_t> out(size_t(out_stride * height));
            tl_run(plan, &request, image.data(), stride, out.data(), out_stride, 2, nullptr, nullptr);
        }
        stream(plan, HEIGHT, image);
        stream(plan, 0, image);
    }
    tl_plan_free(plan);
    if (tl_allocated() != 0) std::abort();
    return 0;
}
