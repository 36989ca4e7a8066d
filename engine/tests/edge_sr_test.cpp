// The fused one-layer upscalers against a plain double-precision reference, and every instruction set against the scalar one,
// bit for bit. Stand-alone: linked with the edge_sr*.o of this build; THINLENS_AVX2, THINLENS_AVX512, THINLENS_NEON say which.
//
//     edge_sr_test [quick]      exit status 0 if all is well
#include "../src/edge_sr.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using namespace thinlens;

namespace {

uint32_t random_state = 1;

uint32_t random_bits() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

int random_below(int n) { return int(random_bits() % uint32_t(n)); }
float random_signed() { return float(random_bits() >> 8) / 8388608.0f - 1.0f; }

struct Isa {
    const char *name;
    const EdgeSrKernels *kernels;
};

std::vector<Isa> isas() {
    std::vector<Isa> list{{"scalar", &edge_sr_kernels_scalar()}};
#if defined(THINLENS_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) list.push_back({"avx2", &edge_sr_kernels_avx2()});
#endif
#if defined(THINLENS_AVX512)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        list.push_back({"avx512", &edge_sr_kernels_avx512()});
    }
#endif
#if defined(THINLENS_NEON)
    list.push_back({"neon", &edge_sr_kernels_neon()});
#endif
    return list;
}

struct Case {
    EdgeSrSpec spec;
    std::vector<float> weight;
    bool mirrored;
    int64_t width, height;
};

std::string describe(const Case &c) {
    char text[200];
    std::snprintf(text, sizeof text, "%s K%d C%d x%d pad %d %s %dx%d", c.spec.family == 0 ? "MAX" : c.spec.family == 1 ? "TM" : "TR",
                  c.spec.kernel, c.spec.candidates, c.spec.scale, c.spec.pad_mode, c.mirrored ? "mirrored" : "free", int(c.width),
                  int(c.height));
    return text;
}

// Filters that sum to about 1 (values) or 0 (keys and queries), mirrored copies if asked for.
void fill_weights(Case &c, float key_size) {
    const int k = c.spec.kernel, s = c.spec.scale, count = c.spec.candidates, groups = (c.spec.family + 1) * count;
    c.weight.resize(size_t(groups) * s * s * k * k);
    auto at = [&](int g, int i, int j, int y, int x) -> float & { return c.weight[((size_t(g) * s + i) * s + j) * k * k + y * k + x]; };
    for (int g = 0; g < groups; ++g)
        for (int i = 0; i < s; ++i)
            for (int j = 0; j < s; ++j)
                for (int y = 0; y < k; ++y)
                    for (int x = 0; x < k; ++x) {
                        const int mi = c.mirrored && 2 * i > s - 1 ? s - 1 - i : i, mj = c.mirrored && 2 * j > s - 1 ? s - 1 - j : j;
                        if (mi != i || mj != j) {
                            at(g, i, j, y, x) = at(g, mi, mj, mi != i ? k - 1 - y : y, mj != j ? k - 1 - x : x);
                        } else {
                            const bool centre = y == k / 2 && x == k / 2;
                            const float size = g < count ? 1.0f / float(k) : key_size / float(k);
                            at(g, i, j, y, x) = random_signed() * 0.6f * size + (centre && g < count ? 1.0f : 0.0f);
                        }
                    }
    c.spec.weight = c.weight.data();
}

int64_t inside(int64_t x, int64_t size, int mode) {  // -1: zero
    if (x >= 0 && x < size) return x;
    if (mode == 0) return -1;
    if (mode == 1) return x < 0 ? 0 : size - 1;
    while (x < 0 || x >= size) {
        if (size == 1) return 0;
        x = x < 0 ? -x : 2 * (size - 1) - x;
    }
    return x;
}

// Pixels 0..1 -> exact results, s height x s width.
std::vector<double> reference(const Case &c, const std::vector<float> &image) {
    const int k = c.spec.kernel, s = c.spec.scale, count = c.spec.candidates, groups = (c.spec.family + 1) * count;
    const int64_t w = c.width, h = c.height;
    std::vector<double> out(size_t(w * h * s * s)), z(static_cast<size_t>(groups));
    for (int64_t y = 0; y < h; ++y)
        for (int64_t x = 0; x < w; ++x)
            for (int phase = 0; phase < s * s; ++phase) {
                for (int g = 0; g < groups; ++g) {
                    z[size_t(g)] = 0;
                    const float *filter = c.weight.data() + size_t(g * s * s + phase) * k * k;
                    for (int dy = 0; dy < k; ++dy)
                        for (int dx = 0; dx < k; ++dx) {
                            const int64_t yy = inside(y + dy - k / 2, h, c.spec.pad_mode), xx = inside(x + dx - k / 2, w, c.spec.pad_mode);
                            if (yy >= 0 && xx >= 0) z[size_t(g)] += double(filter[dy * k + dx]) * double(image[size_t(yy * w + xx)]);
                        }
                }
                double result = *std::max_element(z.begin(), z.begin() + count);
                if (c.spec.family > 0) {
                    std::vector<double> logits(z.begin() + count, z.begin() + 2 * count);
                    if (c.spec.family == 2)
                        for (int i = 0; i < count; ++i) logits[size_t(i)] *= z[size_t(2 * count + i)];
                    const double most = *std::max_element(logits.begin(), logits.end());
                    double total = 0, sum = 0;
                    for (int i = 0; i < count; ++i) {
                        const double e = std::exp(logits[size_t(i)] - most);
                        total += e, sum += e * z[size_t(i)];
                    }
                    result = sum / total;
                }
                out[size_t((y * s + phase / s) * w * s + x * s + phase % s)] = result;
            }
    return out;
}

// Memory of exactly that size, at a multiple of 64: a sanitizer sees every step beyond it.
struct Buffer {
    explicit Buffer(size_t bytes) : size(bytes), data(bytes ? std::aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr) {
        if (data) std::memset(data, 0xa5, bytes);
    }
    ~Buffer() { std::free(data); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    size_t size;
    void *data;
};

template <class In, class Out>
std::vector<Out> run(const EdgeSrKernels &kernels, const EdgeSr &model, const Case &c, const std::vector<In> &image, int input_type) {
    const int k = c.spec.kernel, s = c.spec.scale;
    std::vector<std::unique_ptr<Buffer>> lines;
    for (int64_t y = 0; y <= c.height; ++y) {
        lines.push_back(std::make_unique<Buffer>(model.line_bytes(c.width)));
        if (y == c.height) {
            kernels.zero_line(model, c.width, lines.back()->data);
        } else {
            const std::vector<In> row(image.begin() + y * c.width, image.begin() + (y + 1) * c.width);
            kernels.absorb(model, row.data(), input_type, c.width, lines.back()->data);
        }
    }
    Buffer scratch(model.scratch_bytes(c.width));
    std::vector<Out> result;
    for (int64_t y = 0; y < c.height; ++y) {
        std::vector<const void *> window;
        for (int d = 0; d < k; ++d) {
            const int64_t row = inside(y + d - k / 2, c.height, c.spec.pad_mode);
            window.push_back(lines[size_t(row < 0 ? c.height : row)]->data);
        }
        std::vector<std::vector<Out>> rows(static_cast<size_t>(s), std::vector<Out>(size_t(c.width * s)));
        std::vector<void *> out;
        for (auto &row : rows) out.push_back(row.data());
        kernels.produce(model, window.data(), c.width, out.data(), sizeof(Out) == 1, scratch.data);
        for (auto &row : rows) result.insert(result.end(), row.begin(), row.end());
    }
    return result;
}

int failures = 0;
double worst_float = 0, worst_level = 0;
int64_t bytes_seen = 0, bytes_off = 0;

void fail(const Case &c, const EdgeSr &model, const char *isa, const char *what, double size) {
    if (++failures <= 20) std::printf("FAIL %s, %s, %s: %s (%g)\n", describe(c).c_str(), model.variant(), isa, what, size);
}

double exact_level(double result) { return std::min(std::max(result, 0.0), 1.0) * 255; }

void check_bytes(const Case &c, const EdgeSr &model, const std::vector<double> &exact, const std::vector<uint8_t> &bytes) {
    double worst = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
        const double level = exact_level(exact[i]), off = std::fabs(std::nearbyint(level) - bytes[i]);
        worst = std::max(worst, off);
        worst_level = std::max(worst_level, std::fabs(level - bytes[i]) - 0.5);
        ++bytes_seen, bytes_off += off > 0;
    }
    if (worst > 1) fail(c, model, "scalar", "levels from the reference", worst);
}

void check_floats(const Case &c, const EdgeSr &model, const std::vector<double> &exact, const std::vector<float> &floats) {
    double worst = 0;
    for (size_t i = 0; i < floats.size(); ++i) worst = std::max(worst, std::fabs(exact[i] - double(floats[i])));
    if (!model.plan->integer) worst_float = std::max(worst_float, worst);
    if (worst > (model.plan->integer ? 0.75 / 255 : 1e-4)) fail(c, model, "scalar", "from the reference", worst);
}

template <class In>
void check_model(const Case &c, const EdgeSr &model, const std::vector<In> &image, int input_type, const std::vector<double> &exact) {
    std::vector<uint8_t> first_bytes;
    std::vector<float> first_floats;
    for (const Isa &isa : isas()) {
        const auto bytes = run<In, uint8_t>(*isa.kernels, model, c, image, input_type);
        const auto floats = run<In, float>(*isa.kernels, model, c, image, input_type);
        if (isa.kernels == isas()[0].kernels) {
            check_bytes(c, model, exact, bytes);
            check_floats(c, model, exact, floats);
            first_bytes = bytes, first_floats = floats;
        } else {
            if (bytes != first_bytes) fail(c, model, isa.name, "bytes differ from scalar", 0);
            if (std::memcmp(floats.data(), first_floats.data(), floats.size() * sizeof(float)) != 0)
                fail(c, model, isa.name, "floats differ from scalar", 0);
        }
    }
}

void check(Case &c, int picture) {
    const size_t pixels = size_t(c.width * c.height);
    std::vector<uint8_t> bytes(pixels);
    std::vector<int16_t> levels(pixels);
    std::vector<float> floats(pixels);
    for (size_t i = 0; i < pixels; ++i) {
        bytes[i] = picture == 0 ? uint8_t(random_below(256)) : picture == 1 ? uint8_t(255 * random_below(2)) : 255;
        levels[i] = int16_t(32 * bytes[i]);
        floats[i] = float(bytes[i]) / 255.0f;
    }
    const std::vector<double> exact = reference(c, floats);
    const EdgeSr with_levels = EdgeSr::prepare(c.spec, true), with_floats = EdgeSr::prepare(c.spec, false);
    check_model(c, with_levels, bytes, EDGE_SR_BYTES, exact);
    check_model(c, with_levels, levels, EDGE_SR_LEVELS, exact);
    check_model(c, with_floats, floats, EDGE_SR_FLOAT, exact);
}

void check_one(int family, int kernel, int candidates, int scale, int pad_mode, bool mirrored, int64_t width, int64_t height,
               float key_size, int picture) {
    Case c{{family, kernel, candidates, scale, pad_mode, nullptr}, {}, mirrored, width, height};
    fill_weights(c, key_size);
    check(c, picture);
}

// Each family, kernel, scale, in the sizes that networks have; then random ones.
void check_all(bool quick) {
    for (int family = 0; family < 3; ++family)
        for (int kernel : {3, 5, 7})
            for (int candidates : {1, 2, 3, 4, 5, 16})
                for (int scale = 1; scale <= 4; ++scale) {
                    if (quick && candidates == 16 && scale > 2) continue;
                    check_one(family, kernel, candidates, scale, random_below(3), random_below(4) != 0, 1 + random_below(90),
                              1 + random_below(5), 8, random_below(3));
                }
    for (int width = 1; width <= (quick ? 70 : 200); ++width)
        check_one(random_below(3), 3 + 2 * random_below(3), 1 + random_below(3), 2, random_below(3), random_below(2) != 0, width, 2, 6, 0);
    for (int kernel = 1; kernel <= 15; kernel += 2)
        check_one(random_below(3), kernel, 2, 1 + random_below(4), random_below(3), true, 33, 2, 6, 0);
    for (int scale = 5; scale <= 8; ++scale) check_one(random_below(3), 3, 2, scale, random_below(3), random_below(2) != 0, 40, 2, 6, 0);
    for (int width : {511, 512, 513, 1000, 1600}) {
        check_one(0, 5, 2, 2, 1, true, width, 2, 6, 1);
        check_one(1, 5, 2, 2, 1, true, width, 2, 6, 0);
    }
    for (int i = 0; i < (quick ? 30 : 300); ++i)
        check_one(random_below(3), 1 + 2 * random_below(5), 1 + random_below(8), 1 + random_below(4), random_below(3), random_below(2) != 0,
                  1 + random_below(140), 1 + random_below(4), float(1 << random_below(6)), random_below(3));
}

}  // namespace

int main(int argc, char **argv) {
    check_all(argc > 1 && std::strcmp(argv[1], "quick") == 0);
    std::printf("instruction sets:");
    for (const Isa &isa : isas()) std::printf(" %s%s", isa.name, isa.kernels == isas().back().kernels ? "\n" : ",");
    std::printf("worst float error %.2g; bytes: %.3f %% one level off, worst %.3f levels beyond rounding\n", worst_float,
                100.0 * double(bytes_off) / double(bytes_seen), worst_level);
    std::printf(failures ? "%d checks FAILED\n" : "ok\n", failures);
    return failures ? 1 : 0;
}
