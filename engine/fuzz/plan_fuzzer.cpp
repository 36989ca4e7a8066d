// Any bytes as a plan: what loads is asked for its schedule, streamed with and without a height, saved and gone on with elsewhere, and
// run as a whole on two threads. All ways must give the same bits.
#include "fuzz.h"

namespace {

// Stream an image in uneven pushes; half way on in another session.
fuzz::Bytes stream(const tl_plan *plan, const tl_request &request, const tl_schedule &schedule, const fuzz::Raw &raw, const fuzz::Bytes &image,
                   int64_t height, bool &good) {
    fuzz::Stream stream(plan, request, schedule, raw);
    for (int64_t row = 0, step = 1; row < height; row += step, step = step % 3 + 1) {
        if (step > height - row) step = height - row;
        stream.push(image.data() + row * raw.in_row, step);
        if (!stream.good || row > height / 2 || row + step <= height / 2) continue;
        fuzz::Bytes state(size_t(tl_session_state_bytes(stream.session.get())));
        fuzz::Stream other(plan, request, schedule, raw);
        if (tl_session_save(stream.session.get(), state.data(), state.size()) != TL_OK) std::abort();
        if (!other.good || tl_session_load(other.session.get(), state.data(), state.size()) != TL_OK) std::abort();
        stream.session.swap(other.session);
    }
    stream.flush();
    good = stream.good;
    return std::move(stream.out);
}

fuzz::Bytes whole(const tl_plan *plan, const tl_request &request, const fuzz::Raw &raw, const fuzz::Bytes &image, int threads, bool &good) {
    int64_t width = 0, height = 0, bytes = 0;
    tl_schedule schedule;
    good = tl_plan_out_size(plan, request.width, request.height, &width, &height) == TL_OK &&
           tl_plan_schedule(plan, &request, 1, &schedule) == TL_OK && tl_run_bytes(plan, &request, threads, &bytes) == TL_OK;
    if (!good || bytes > fuzz::MOST_BYTES) return good = false, fuzz::Bytes();
    const int64_t row = width * schedule.out_channels * raw.out_pixel, stop = request.stop_row ? request.stop_row : height;
    if (stop - request.first_row > fuzz::MOST_PIXELS / row) return good = false, fuzz::Bytes();
    fuzz::Bytes out(size_t((stop - request.first_row) * row), 77);
    const int64_t before = tl_allocated();
    tl_allocated_reset();
    good = tl_run(plan, &request, image.data(), raw.in_row, out.data(), row, threads, nullptr, nullptr) == TL_OK;
    if (good && tl_allocated_peak() - before != bytes) std::abort();
    return out;
}

void try_size(const tl_plan *plan, const uint8_t *data, size_t size, int64_t width, int64_t height) {
    const fuzz::Raw raw(data, width);
    if (raw.in_row * height > fuzz::MOST_PIXELS) return;
    const fuzz::Bytes image = fuzz::pixels(data, size, raw.in_row * height);
    bool good = false, streamed = false;
    const tl_request all{width, height, 0, 0};
    const fuzz::Bytes expected = whole(plan, all, raw, image, 1, good);
    for (int64_t told : {height, int64_t(0)}) {
        const tl_request request{width, told, 0, 0};
        tl_schedule schedule;
        if (tl_plan_schedule(plan, &request, 1, &schedule) != TL_OK || schedule.buffer_bytes > fuzz::MOST_BYTES) continue;
        const fuzz::Bytes found = stream(plan, request, schedule, raw, image, height, streamed);
        if (good && streamed && found != expected) std::abort();
    }
    if (!good) return;
    bool again = false;
    if (whole(plan, all, raw, image, 2, again) != expected && again) std::abort();
    const int64_t first = int64_t(data[size / 2]) % 24;
    const fuzz::Bytes part = whole(plan, tl_request{width, height, first, first + 2}, raw, image, 1, again);
    if (again && std::memcmp(part.data(), expected.data() + part.size() / 2 * size_t(first), part.size())) std::abort();
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    return fuzz::mutate(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const fuzz::Plan plan = fuzz::load(data, size);
    if (!plan) return 0;
    const int64_t mix = data[size - 1] + data[size / 2];
    try_size(plan.get(), data, size, 1 + mix % 5, 1 + mix % 7);
    try_size(plan.get(), data, size, 60 + mix % 9, 9 + mix % 11);
    tl_schedule schedule;
    const tl_request wild{int64_t(mix) << (mix % 40), mix % 3 ? 5 : -mix, mix % 2 ? INT64_MAX : -mix, INT64_MIN + mix};
    if (wild.width < 5000) tl_plan_schedule(plan.get(), &wild, 1, &schedule);
    return 0;
}
