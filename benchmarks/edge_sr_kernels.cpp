// A whole gray image through the fused kernels alone, for edge_sr_kernels.py: rows in a ring, no row machine.
#include "../engine/src/edge_sr.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

using namespace thinlens;

namespace {

struct Free {
    void operator()(void *p) const { std::free(p); }
};
using Memory = std::unique_ptr<char, Free>;

Memory allocate(size_t bytes) { return Memory(static_cast<char *>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))); }

const EdgeSrKernels *find(const char *isa) {
    if (std::strcmp(isa, "scalar") == 0) return &edge_sr_kernels_scalar();
#if defined(THINLENS_X86)
    if (std::strcmp(isa, "avx2") == 0) return &edge_sr_kernels_avx2();
    if (std::strcmp(isa, "avx512") == 0) return &edge_sr_kernels_avx512();
    if (std::strcmp(isa, "avx512_plain") == 0) return &edge_sr_kernels_avx512_plain();
#else
    if (std::strcmp(isa, "neon") == 0) return &edge_sr_kernels_neon();
#endif
    return nullptr;
}

struct Upscaler {
    EdgeSr model;
    const EdgeSrKernels *kernels;
    EdgeSrSpec spec;
};

}  // namespace

extern "C" {

void *upscaler_new(int family, int kernel, int candidates, int scale, int pad_mode, const float *weight, int levels, const char *isa) {
    const EdgeSrSpec spec{family, kernel, candidates, scale, pad_mode, weight};
    return new Upscaler{EdgeSr::prepare(spec, levels != 0), find(isa), spec};
}

const char *upscaler_variant(const void *upscaler) { return static_cast<const Upscaler *>(upscaler)->model.variant(); }

void upscaler_free(void *upscaler) { delete static_cast<Upscaler *>(upscaler); }

// Zero or edge padding. bytes: uint8 in and out, else float in and out.
void upscaler_run(const void *upscaler, const void *image, int64_t width, int64_t height, void *out, int bytes) {
    const Upscaler &u = *static_cast<const Upscaler *>(upscaler);
    const int k = u.spec.kernel, s = u.spec.scale, h = k / 2;
    const size_t element = bytes ? 1 : sizeof(float), line_bytes = (u.model.line_bytes(width) + 63) / 64 * 64;
    Memory lines = allocate(line_bytes * size_t(k + 1)), scratch = allocate(u.model.scratch_bytes(width));
    char *const zeros = lines.get() + line_bytes * size_t(k);
    u.kernels->zero_line(u.model, width, zeros);
    auto line = [&](int64_t y) -> char * {
        if (u.spec.pad_mode == 0 && (y < 0 || y >= height)) return zeros;
        return lines.get() + line_bytes * size_t(std::clamp<int64_t>(y, 0, height - 1) % k);
    };
    int64_t absorbed = 0;
    for (int64_t y = 0; y < height; ++y) {
        for (; absorbed < height && absorbed <= y + h; ++absorbed)
            u.kernels->absorb(u.model, static_cast<const char *>(image) + size_t(absorbed * width) * element,
                              bytes ? EDGE_SR_BYTES : EDGE_SR_FLOAT, width, line(absorbed));
        const void *window[16];
        void *rows[8];
        for (int d = 0; d < k; ++d) window[d] = line(y + d - h);
        for (int i = 0; i < s; ++i) rows[i] = static_cast<char *>(out) + size_t((y * s + i) * width * s) * element;
        u.kernels->produce(u.model, window, width, rows, bytes != 0, scratch.get());
    }
}

}  // extern "C"
