// Replays what the NumPy reference wrote (tests/engine/vectors.py, which describes the file): every vector on every instruction
// set that this build and processor have, as a whole image, by three threads, and as a stream in odd chunks that changes its
// session in mid-image. All ways must give the same bits, those that the host which wrote the file got, near the reference's.
//
//     replay vectors.bin       exit status 0 if all is well, 1 on a difference, 2 if the file cannot be read
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "thinlens.h"

namespace {

using Bytes = std::vector<unsigned char>;

struct Vector {
    std::string name;
    int64_t width = 0, height = 0, in_row = 0, out_width = 0, out_height = 0, out_channels = 0;
    uint32_t type = 0;  // of the output: 0 u8, 1 u16, 2 f32
    double tolerance = 0;
    uint64_t digest = 0;
    Bytes plan, input, expected;

    int64_t out_row() const { return out_width * out_channels * (type == 0 ? 1 : type == 1 ? 2 : 4); }
};

struct Reader {
    const Bytes &data;
    size_t at = 0;
    bool good = true;

    void read(void *to, size_t count) {
        good = good && count <= data.size() - at;
        if (!good || !count) return;
        std::memcpy(to, data.data() + at, count);
        at += count;
    }
    template <class T>
    T number() {
        T value{};
        read(&value, sizeof value);
        return value;
    }
    Bytes blob() {
        const uint64_t count = number<uint64_t>();
        good = good && count <= data.size() - at;
        Bytes bytes(good ? size_t(count) : 0);
        read(bytes.data(), bytes.size());
        return bytes;
    }
};

Vector read_vector(Reader &reader) {
    Vector v;
    const uint32_t length = reader.number<uint32_t>();
    v.name.resize(length < 200 ? length : 0);
    reader.read(&v.name[0], v.name.size());
    for (int64_t *field : {&v.width, &v.height, &v.in_row, &v.out_width, &v.out_height, &v.out_channels}) *field = reader.number<int64_t>();
    v.type = reader.number<uint32_t>(), v.tolerance = reader.number<double>(), v.digest = reader.number<uint64_t>();
    v.plan = reader.blob(), v.input = reader.blob(), v.expected = reader.blob();
    reader.good = reader.good && int64_t(v.expected.size()) == v.out_row() * v.out_height && int64_t(v.input.size()) == v.in_row * v.height;
    return v;
}

uint64_t digest_of(const Bytes &bytes) {
    uint64_t value = 1469598103934665603ull;
    size_t at = 0;
    for (uint64_t word; at + 8 <= bytes.size(); at += 8) {
        std::memcpy(&word, bytes.data() + at, 8);
        value = (value ^ word) * 1099511628211ull;
    }
    for (; at < bytes.size(); ++at) value = (value ^ bytes[at]) * 1099511628211ull;
    return value;
}

template <class T>
double farthest(const Bytes &a, const Bytes &b) {
    double most = 0;
    for (size_t at = 0; at + sizeof(T) <= a.size(); at += sizeof(T)) {
        T x, y;
        std::memcpy(&x, a.data() + at, sizeof(T)), std::memcpy(&y, b.data() + at, sizeof(T));
        const double distance = std::fabs(double(x) - double(y));
        if (!(distance <= most)) most = distance;  // what is not a number stays
    }
    return most;
}

double difference(const Vector &v, const Bytes &found) {
    return v.type == 0   ? farthest<uint8_t>(found, v.expected)
           : v.type == 1 ? farthest<uint16_t>(found, v.expected)
                         : farthest<float>(found, v.expected);
}

struct Failure {
    std::string what;
};

void check(tl_status status) {
    if (status != TL_OK) throw Failure{"status " + std::to_string(int(status)) + ": " + tl_message()};
}

void check(bool good, const std::string &what) {
    if (!good) throw Failure{what};
}

using PlanPointer = std::unique_ptr<tl_plan, void (*)(tl_plan *)>;
using SessionPointer = std::unique_ptr<tl_session, void (*)(tl_session *)>;

SessionPointer open(const tl_plan *plan, const tl_request &request) {
    tl_session *session = nullptr;
    check(tl_session_open(plan, &request, &session));
    return SessionPointer(session, tl_session_close);
}

Bytes whole(const Vector &v, const tl_plan *plan, int threads) {
    Bytes out(v.expected.size(), 77);
    const tl_request request{v.width, v.height, 0, 0};
    const int64_t before = tl_allocated();
    int64_t bytes = 0;
    check(tl_run_bytes(plan, &request, threads, &bytes));
    tl_allocated_reset();
    check(tl_run(plan, &request, v.input.data(), v.in_row, out.data(), v.out_row(), threads, nullptr, nullptr));
    check(tl_allocated_peak() - before == bytes, "the run took " + std::to_string(tl_allocated_peak() - before) + " bytes, told were " + std::to_string(bytes));
    return out;
}

Bytes streamed(const Vector &v, const tl_plan *plan, int64_t height) {
    const int64_t chunks[] = {1, 3, 5, 2, 7};
    const tl_request request{v.width, height, 0, 0};
    SessionPointer session = open(plan, request);
    Bytes out;
    int64_t produced = 0, ready = 0, step = 0;
    for (int64_t row = 0; row < v.height; ++step) {
        const int64_t count = std::min(chunks[step % 5], v.height - row);
        check(tl_session_ready(session.get(), count, 0, &ready));
        Bytes part(size_t(ready * v.out_row()), 77);
        check(tl_session_push(session.get(), v.input.data() + row * v.in_row, v.in_row, count, part.data(), v.out_row(), ready, &produced));
        check(produced == ready, "a push gave other rows than it told");
        out.insert(out.end(), part.begin(), part.end());
        row += count;
        if (step % 2 == 0) {  // on in another session
            Bytes state(size_t(tl_session_state_bytes(session.get())));
            check(tl_session_save(session.get(), state.data(), state.size()));
            session = open(plan, request);
            check(tl_session_load(session.get(), state.data(), state.size()));
        }
    }
    check(tl_session_ready(session.get(), 0, 1, &ready));
    Bytes part(size_t(ready * v.out_row()), 77);
    check(tl_session_flush(session.get(), part.data(), v.out_row(), ready, &produced));
    check(produced == ready, "the flush gave other rows than it told");
    out.insert(out.end(), part.begin(), part.end());
    return out;
}

// Streams what can be streamed; a plan that must know the height, or sizes that only single heights have, say so.
int replay_streams(const Vector &v, const tl_plan *plan, const Bytes &expected) {
    int ways = 0;
    for (int64_t height : {v.height, int64_t(0)}) {
        const tl_request request{v.width, height, 0, 0};
        tl_schedule schedule;
        const tl_status status = tl_plan_schedule(plan, &request, &schedule);
        if (height == 0 && (status == TL_NEEDS_HEIGHT || status == TL_BAD_SIZE)) continue;
        check(status);
        check(streamed(v, plan, height) == expected, height ? "streamed: other bits" : "streamed without a height: other bits");
        ++ways;
    }
    return ways;
}

int replay(const Vector &v, const std::string &isa) {
    tl_plan *loaded = nullptr;
    check(tl_plan_load(v.plan.data(), v.plan.size(), isa.c_str(), &loaded));
    const PlanPointer plan(loaded, tl_plan_free);
    const Bytes found = whole(v, plan.get(), 1);
    const double distance = difference(v, found);
    check(distance <= v.tolerance, "off by " + std::to_string(distance) + ", accepted: " + std::to_string(v.tolerance));
    check(digest_of(found) == v.digest, "near the reference, but other bits than where the vector was written");
    check(whole(v, plan.get(), 3) == found, "three threads: other bits");
    return 2 + replay_streams(v, plan.get(), found);
}

std::vector<std::string> words(const std::string &text) {
    std::istringstream stream(text);
    return {std::istream_iterator<std::string>(stream), {}};
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 2) return std::fprintf(stderr, "usage: replay vectors.bin\n"), 2;
    std::ifstream file(arguments[1], std::ios::binary);
    const Bytes data{std::istreambuf_iterator<char>(file), {}};
    Reader reader{data};
    char magic[8] = {};
    reader.read(magic, 8);
    const uint32_t total = reader.number<uint32_t>();
    if (!reader.good || std::memcmp(magic, "TLVECTR1", 8)) return std::fprintf(stderr, "%s: no vectors\n", arguments[1]), 2;
    const std::vector<std::string> isas = words(tl_isa_names());
    int64_t runs = 0, failures = 0;
    for (uint32_t i = 0; i < total; ++i) {
        const Vector v = read_vector(reader);
        if (!reader.good) return std::fprintf(stderr, "%s: vector %u is damaged\n", arguments[1], i), 2;
        for (const std::string &isa : isas) try {
                runs += replay(v, isa);
            } catch (const Failure &failure) {
                ++failures;
                std::fprintf(stderr, "%s on %s: %s\n", v.name.c_str(), isa.c_str(), failure.what.c_str());
            }
    }
    std::printf("%u vectors on %s: %lld runs, %lld failures\n", total, tl_isa_names(), static_cast<long long>(runs), static_cast<long long>(failures));
    return failures || !total ? 1 : 0;
}
