// Replays what the NumPy reference made of small images (tests/engine/vectors.py writes it), on any processor:
//
//     replay vectors.bin
//
// Every instruction set here, each vector whole, by three threads, and streamed in odd chunks with a state saved and loaded midway, its
// height known and not known: all the same bits, within the tolerance of the reference, the digest that other processors have,
// and in just the memory that the schedule says.
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "thinlens.h"

namespace {

using Bytes = std::vector<unsigned char>;

struct Vector {
    std::string name;
    int64_t width, height, stride, out_width, out_height, out_channels;
    uint32_t type;  // of the result: 0 u8, 1 u16, 2 f32
    double tolerance;
    uint64_t digest;
    Bytes plan, image, expected;
};

[[noreturn]] void fail(const std::string &what) {
    std::fprintf(stderr, "replay: %s\n", what.c_str());
    std::exit(1);
}

class Reader {
public:
    explicit Reader(const char *path) {
        std::ifstream file(path, std::ios::binary);
        if (!file) fail(std::string(path) + ": cannot be read");
        data_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    Bytes bytes(uint64_t count) {
        if (count > data_.size() - at_) fail("the file of vectors ends too early");
        Bytes some(data_.begin() + long(at_), data_.begin() + long(at_ + count));
        at_ += count;
        return some;
    }
    template <class T>
    T number() {
        T value;
        std::memcpy(&value, bytes(sizeof value).data(), sizeof value);
        return value;
    }
    Bytes blob() { return bytes(number<uint64_t>()); }

private:
    Bytes data_;
    uint64_t at_ = 0;
};

Vector read_vector(Reader &reader) {
    Vector v;
    const Bytes name = reader.bytes(reader.number<uint32_t>());
    v.name.assign(name.begin(), name.end());
    for (int64_t *field : {&v.width, &v.height, &v.stride, &v.out_width, &v.out_height, &v.out_channels}) *field = reader.number<int64_t>();
    v.type = reader.number<uint32_t>(), v.tolerance = reader.number<double>(), v.digest = reader.number<uint64_t>();
    v.plan = reader.blob(), v.image = reader.blob(), v.expected = reader.blob();
    return v;
}

// FNV-1a of 64 bits, of whole words and the bytes that are left.
uint64_t digest(const Bytes &data) {
    uint64_t value = 1469598103934665603ull;
    size_t at = 0;
    for (; at + 8 <= data.size(); at += 8) {
        uint64_t word;
        std::memcpy(&word, data.data() + at, 8);
        value = (value ^ word) * 1099511628211ull;
    }
    for (; at < data.size(); ++at) value = (value ^ data[at]) * 1099511628211ull;
    return value;
}

double element(const Vector &v, const Bytes &data, size_t i) {
    if (v.type == 0) return data[i];
    if (v.type == 1) {
        uint16_t value;
        std::memcpy(&value, data.data() + 2 * i, 2);
        return value;
    }
    float value;
    std::memcpy(&value, data.data() + 4 * i, 4);
    return value;
}

double distance(const Vector &v, const Bytes &result) {
    const size_t size = v.type == 0 ? 1 : v.type == 1 ? 2 : 4;
    double most = 0;
    for (size_t i = 0; i < result.size() / size; ++i) {
        const double d = std::fabs(element(v, result, i) - element(v, v.expected, i));
        if (!(d <= most)) most = d;  // what is not a number counts as far away
    }
    return most;
}

void check(const Vector &v, tl_status status, const char *what) {
    if (status != TL_OK) fail(v.name + ": " + what + ": " + tl_message());
}

int64_t row_bytes(const Vector &v) { return int64_t(v.expected.size()) / v.out_height; }

// An empty result must not be a null pointer's.
Bytes room(int64_t bytes) { return Bytes(size_t(bytes > 0 ? bytes : 1), 77); }

Bytes run(const Vector &v, const tl_plan *plan, int threads) {
    const tl_request request{v.width, v.height, 0, 0};
    int64_t promised = 0;
    check(v, tl_run_bytes(plan, &request, threads, &promised), "run_bytes");
    tl_allocated_reset();
    const int64_t before = tl_allocated();
    Bytes out(v.expected.size());
    check(v, tl_run(plan, &request, v.image.data(), v.stride, out.data(), row_bytes(v), threads, nullptr, nullptr), "run");
    const int64_t peak = tl_allocated_peak() - before;
    if (peak != promised) fail(v.name + ": " + std::to_string(peak) + " bytes held, promised " + std::to_string(promised));
    return out;
}

// Rows in chunks of 1, 3, 2, 5; after each other chunk the state moves to a new session.
Bytes stream(const Vector &v, const tl_plan *plan, int64_t height, int threads) {
    const tl_request request{v.width, height, 0, 0};
    tl_session *session = nullptr;
    check(v, tl_session_open(plan, &request, threads, &session), "open");
    Bytes all;
    const auto keep = [&](const Bytes &some, int64_t rows) { all.insert(all.end(), some.begin(), some.begin() + long(rows * row_bytes(v))); };
    int64_t ready = 0, produced = 0;
    static const int64_t CHUNKS[] = {1, 3, 2, 5};
    for (int64_t row = 0, turn = 0; row < v.height; ++turn) {
        const int64_t chunk = CHUNKS[turn % 4], count = chunk < v.height - row ? chunk : v.height - row;
        check(v, tl_session_ready(session, count, 0, &ready), "ready");
        Bytes out = room(ready * row_bytes(v));
        check(v, tl_session_push(session, v.image.data() + row * v.stride, v.stride, count, out.data(), row_bytes(v), ready, &produced), "push");
        if (produced != ready) fail(v.name + ": other rows came out than were announced");
        keep(out, produced);
        row += count;
        if (turn % 2) continue;
        Bytes state(size_t(tl_session_state_bytes(session)));
        check(v, tl_session_save(session, state.data(), state.size()), "save");
        tl_session_close(session), session = nullptr;
        check(v, tl_session_open(plan, &request, threads, &session), "open again");
        check(v, tl_session_load(session, state.data(), state.size()), "load");
    }
    check(v, tl_session_ready(session, 0, 1, &ready), "ready to flush");
    Bytes out = room(ready * row_bytes(v));
    check(v, tl_session_flush(session, out.data(), row_bytes(v), ready, &produced), "flush");
    keep(out, produced);
    tl_session_close(session);
    return all;
}

// False where the plan cannot stream an image whose height is not known.
bool streams_endlessly(const Vector &v, const tl_plan *plan) {
    const tl_request request{v.width, 0, 0, 0};
    tl_schedule schedule;
    return tl_plan_schedule(plan, &request, 1, &schedule) == TL_OK;
}

void replay(const Vector &v, const std::string &isa) {
    tl_plan *plan = nullptr;
    check(v, tl_plan_load(v.plan.data(), v.plan.size(), isa.c_str(), &plan), "load");
    const Bytes whole = run(v, plan, 1);
    const std::string where = v.name + ", " + isa + ": ";
    if (const double far = distance(v, whole); !(far <= v.tolerance)) fail(where + std::to_string(far) + " from the reference");
    if (digest(whole) != v.digest) fail(where + "other bits than on the processor that wrote the vectors");
    if (run(v, plan, 3) != whole) fail(where + "three threads give other bits");
    if (stream(v, plan, v.height, 1) != whole) fail(where + "a stream gives other bits");
    if (streams_endlessly(v, plan) && stream(v, plan, 0, 2) != whole) fail(where + "a stream of unknown height gives other bits");
    tl_plan_free(plan);
    if (tl_allocated() != 0) fail(where + "memory is not given back");
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 2) fail("give the file that `python -m tests.engine.vectors FILE` writes");
    Reader reader(arguments[1]);
    const Bytes magic = reader.bytes(8);
    if (std::memcmp(magic.data(), "TLVECTR1", 8) != 0) fail("not a file of vectors");
    const uint32_t vectors = reader.number<uint32_t>();
    std::vector<std::string> isas;
    std::istringstream names(tl_isa_names());
    for (std::string name; names >> name;) isas.push_back(name);
    for (uint32_t i = 0; i < vectors; ++i) {
        const Vector v = read_vector(reader);
        for (const std::string &isa : isas) replay(v, isa);
    }
    std::printf("%u vectors the same on: %s\n", vectors, tl_isa_names());
}
