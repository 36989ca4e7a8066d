// Which kernels were built, and which of them this processor can run.
#include <cstring>
#include <string>

#include "kernels.h"

#if defined(_MSC_VER) && (defined(THINLENS_AVX2) || defined(THINLENS_AVX512))
#include <immintrin.h>
#include <intrin.h>
#endif

#if defined(THINLENS_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace thinlens {
namespace {

#if defined(THINLENS_AVX2) || defined(THINLENS_AVX512)
#if defined(_MSC_VER)
bool os_saves(unsigned mask) { return (_xgetbv(0) & mask) == mask; }
bool has_avx2() {
    int r[4];
    __cpuidex(r, 1, 0);
    const bool fma = (r[2] >> 12) & 1, osxsave = (r[2] >> 27) & 1;
    __cpuidex(r, 7, 0);
    return fma && osxsave && os_saves(6) && ((r[1] >> 5) & 1);
}
bool has_vnni() {
    int r[4];
    __cpuidex(r, 7, 0);
    return (r[2] >> 11 & 1) != 0;
}
bool has_popcnt() {
    int r[4];
    __cpuidex(r, 7, 0);
    return (r[2] >> 14 & 1) != 0;
}
bool has_avx512() {
    int r[4];
    __cpuidex(r, 7, 0);
    const unsigned wanted = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F, DQ, BW, VL
    return has_avx2() && os_saves(0xe6) && (unsigned(r[1]) & wanted) == wanted;
}
#else
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_vnni() { return __builtin_cpu_supports("avx512vnni") != 0; }
bool has_popcnt() { return __builtin_cpu_supports("avx512vpopcntdq") != 0; }
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}
#endif
#endif

#if defined(THINLENS_AMX)
// Tiles take memory of a thread's that the kernel gives only to processes that ask.
bool has_amx() {
    constexpr unsigned WANTED = 1u << 22 | 1u << 24 | 1u << 25;  // bfloat16, tiles, int8
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;
    unsigned a, b, c, d;
    if (!has_avx512() || !has_vnni() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & WANTED) != WANTED) return false;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

const Kernels &kernels_amx() {
    static const Kernels kernels = [] {
        Kernels own = kernels_avx512();
        own.name = "amx", own.low_sums = low_sums_amx, own.has_tiles = true;
        return own;
    }();
    return kernels;
}
#endif

struct Choice {
    const char *name;
    bool supported;
    const Kernels &(*kernels)();
};

// Best first.
const Choice *choices(int &count) {
    static const Choice all[] = {
#if defined(THINLENS_AMX)
        {"amx", has_amx(), kernels_amx},
#endif
#if defined(THINLENS_AVX512)
        {"avx512", has_avx512(), kernels_avx512},
#endif
#if defined(THINLENS_AVX2)
        {"avx2", has_avx2(), kernels_avx2},
#endif
#if defined(THINLENS_NEON)
        {"neon", true, kernels_neon},
#endif
        {"scalar", true, kernels_scalar},
    };
    count = int(sizeof all / sizeof all[0]);
    return all;
}

}  // namespace

#if defined(THINLENS_AVX512)
bool has_avx512_vnni() { return has_vnni(); }
bool has_avx512_popcnt() { return has_popcnt(); }
#endif

const Kernels *find_kernels(const char *name) {
    int count = 0;
    const Choice *all = choices(count);
    for (int i = 0; i < count; ++i)
        if (all[i].supported && (!name || !std::strcmp(name, all[i].name))) return &all[i].kernels();
    return nullptr;
}

const char *isa_names() {
    static const std::string names = [] {
        std::string text;
        int count = 0;
        const Choice *all = choices(count);
        for (int i = 0; i < count; ++i)
            if (all[i].supported) text += (text.empty() ? "" : " ") + std::string(all[i].name);
        return text;
    }();
    return names.c_str();
}

}  // namespace thinlens
