// Any bytes as a session's saved state: a genuine one, bytes of which are changed, or which is cut short. It is refused, or the session
// goes on with it to its end without harm; so does one that refused it.
//
// Input: width, height, rows pushed before, number n of changes, a byte each; n times place (u16), mask (u8), place in the header or
// behind it (u8); then the plan.
#include "fuzz.h"

namespace {

constexpr size_t HEAD = 4, CHANGE = 4;

size_t plan_at(const uint8_t *data) { return HEAD + size_t(data[3] % 16) * CHANGE; }

void change(fuzz::Bytes &state, const uint8_t *changes, size_t count) {
    for (size_t i = 0; i < count && !state.empty(); ++i, changes += CHANGE) {
        size_t place = size_t(changes[0]) << 8 | changes[1];
        if (changes[3] == 255)
            state.resize(place % (state.size() + 1));
        else if (changes[3] % 2)
            state[place % (state.size() < 80 ? state.size() : 80)] ^= changes[2];
        else
            state[place * 37 % state.size()] ^= changes[2];
    }
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    if (size < HEAD || size < plan_at(data) + 64) return LLVMFuzzerMutate(data, size, max_size);
    const size_t at = plan_at(data);
    if (seed % 4) return LLVMFuzzerMutate(data, at, at), size;
    return at + fuzz::mutate(data + at, size - at, max_size - at, seed / 4);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD || size < plan_at(data) + 64) return 0;
    const size_t at = plan_at(data);
    const fuzz::Plan plan = fuzz::load(data + at, size - at);
    if (!plan) return 0;
    const int64_t width = 1 + data[0] % 70, height = 1 + data[1] % 16, before = data[2] % (height + 1);
    const fuzz::Raw raw(data + at, width);
    if (raw.in_row * height > fuzz::MOST_PIXELS) return 0;
    const fuzz::Bytes image = fuzz::pixels(data, size, raw.in_row * height);
    for (int64_t told : {height, int64_t(0)}) {
        const tl_request request{width, told, 0, 0};
        tl_schedule schedule;
        if (tl_plan_schedule(plan.get(), &request, 1, &schedule) != TL_OK || schedule.buffer_bytes > fuzz::MOST_BYTES / 4) continue;
        fuzz::Stream saved(plan.get(), request, schedule, raw), loaded(plan.get(), request, schedule, raw);
        saved.push(image.data(), before);
        if (!saved.good || !loaded.good) continue;
        fuzz::Bytes state(size_t(tl_session_state_bytes(saved.session.get())));
        if (tl_session_save(saved.session.get(), state.data(), state.size()) != TL_OK) std::abort();
        change(state, data + HEAD, data[3] % 16);
        const fuzz::Bytes exact(state);  // without room behind it
        tl_session_load(loaded.session.get(), exact.data(), exact.size());
        for (int64_t row = 0; row < height && loaded.good; ++row) loaded.push(image.data() + row * raw.in_row, 1);
        loaded.good = true;
        loaded.flush();
    }
    return 0;
}
