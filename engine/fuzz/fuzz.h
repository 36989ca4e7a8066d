// What the fuzz targets share: plans that stay loadable while they are mutated, and rows pushed through sessions.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "thinlens.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

namespace fuzz {

constexpr int64_t MOST_BYTES = 64 << 20;   // sessions that are larger are left alone
constexpr int64_t MOST_PIXELS = 1 << 21;  // bytes of a result, and of an image: more work is not looked at

using Plan = std::unique_ptr<tl_plan, void (*)(tl_plan *)>;
using Session = std::unique_ptr<tl_session, void (*)(tl_session *)>;
using Bytes = std::vector<uint8_t>;

inline uint32_t word(const uint8_t *data, size_t at) {
    uint32_t value;
    std::memcpy(&value, data + at, sizeof value);
    return value;
}

// Let a plan's header say how long the plan is, and how many floats fit behind its other parts. Returns the length to keep.
inline size_t mend(uint8_t *data, size_t size) {
    if (size < 64) return size;
    const uint64_t floats_at = 64 + uint64_t(word(data, 24)) * 32 + uint64_t(word(data, 32)) * 16 + (uint64_t(word(data, 28)) * 4 + 7) / 8 * 8;
    size = size / 8 * 8;
    const uint64_t total = size, floats = floats_at <= size ? (size - floats_at) / 4 : 0;
    std::memcpy(data + 16, &total, 8), std::memcpy(data + 40, &floats, 8);
    return size;
}

// Mutate a plan: most often in place, so that its parts stay where they are.
inline size_t mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    if (seed % 8 == 0 || size < 64) return LLVMFuzzerMutate(data, size, max_size);
    if (seed % 8 == 1) return mend(data, LLVMFuzzerMutate(data, size, max_size));
    Bytes piece(data, data + size);
    const size_t at = (seed / 8) % size, count = 1 + (seed / 64) % (size - at < 64 ? size - at : 64);
    LLVMFuzzerMutate(piece.data() + at, count, count);
    std::memcpy(data, piece.data(), size);
    return mend(data, size);
}

inline Plan load(const uint8_t *data, size_t size, const char *isa = nullptr) {
    tl_plan *plan = nullptr;
    return Plan(tl_plan_load(data, size, isa, &plan) == TL_OK ? plan : nullptr, tl_plan_free);
}

// What a plan's header says about raw rows; the plan was loaded, so that it is true.
struct Raw {
    int64_t in_row, out_pixel;
    Raw(const uint8_t *plan, int64_t width) : in_row(width * int64_t(word(plan, 36)) * bytes_of(word(plan, 48))), out_pixel(bytes_of(word(plan, 56))) {}
    static int64_t bytes_of(uint32_t type) { return type == 0 ? 1 : type == 1 ? 2 : 4; }
};

// Pixels made of the input's own bytes, so that absurd floats are among them.
inline Bytes pixels(const uint8_t *data, size_t size, int64_t count) {
    Bytes bytes(static_cast<size_t>(count));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = data[(i * 7 + i / size) % size];
    return bytes;
}

// An open session and all rows that came out of it.
struct Stream {
    Session session{nullptr, tl_session_close};
    int64_t in_row = 0, out_row = 0;
    Bytes out;
    bool good = true;  // nothing was refused, nothing was not a number

    Stream(const tl_plan *plan, const tl_request &request, const tl_schedule &schedule, const Raw &raw)
        : in_row(raw.in_row), out_row(schedule.out_width * schedule.out_channels * raw.out_pixel) {
        tl_session *opened = nullptr;
        good = tl_session_open(plan, &request, 1, &opened) == TL_OK;
        session.reset(opened);
    }
    void push(const uint8_t *rows, int64_t count) {
        int64_t ready = 0, produced = 0;
        if (!good || !(good = tl_session_ready(session.get(), count, 0, &ready) == TL_OK)) return;
        uint8_t *to = room(ready);
        if (to) good = tl_session_push(session.get(), rows, in_row, count, to, out_row, ready, &produced) == TL_OK;
        if (good && produced != ready) std::abort();
    }
    void flush() {
        int64_t ready = 0, produced = 0;
        if (!good || !(good = tl_session_ready(session.get(), 0, 1, &ready) == TL_OK)) return;
        uint8_t *to = room(ready);
        if (to) good = tl_session_flush(session.get(), to, out_row, ready, &produced) == TL_OK;
        if (good && produced != ready) std::abort();
    }

private:
    uint8_t *room(int64_t rows) {
        const size_t old = out.size();
        if (rows > MOST_PIXELS / out_row || int64_t(old) + rows * out_row > MOST_PIXELS) good = false;
        if (!good) return nullptr;
        out.resize(old + size_t(rows * out_row) + 1);  // one more, so that there is always somewhere to point
        out.pop_back();
        return out.data() + old;
    }
};

}  // namespace fuzz
