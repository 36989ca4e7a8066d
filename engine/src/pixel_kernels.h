// Pixels in and out: interleaved rows of integers or floats to planes and back. Included once for each instruction set.
#pragma once

namespace {

constexpr float RED = 0.299f, GREEN = 0.587f, BLUE = 0.114f;  // full-range BT.601, as thinlens.image.colour has it
constexpr float CB_SPAN = 1.772f, CR_SPAN = 1.402f;

inline float to_unit(uint8_t x) { return float(x) / 255.0f; }
inline float to_unit(uint16_t x) { return float(x) / 65535.0f; }
inline float to_unit(float x) { return x; }

inline float clamp_unit(float x) {  // what is not a number becomes 0: it is told of elsewhere
    x = x > 0.0f ? x : 0.0f;
    return x < 1.0f ? x : 1.0f;
}

template <class T>
T from_unit(float x);
constexpr float ROUND = 12582912.0f;  // adding and taking it off rounds to the nearest integer, ties to even
template <>
inline uint8_t from_unit<uint8_t>(float x) { return uint8_t(int32_t((clamp_unit(x) * 255.0f + ROUND) - ROUND)); }
template <>
inline uint16_t from_unit<uint16_t>(float x) { return uint16_t(int32_t((clamp_unit(x) * 65535.0f + ROUND) - ROUND)); }
template <>
inline float from_unit<float>(float x) { return clamp_unit(x); }

// Pixels are taken apart and put together in runs of RUN columns, by way of arrays of their own: compilers turn such loops into
// vectors, which they cannot do where bytes might alias everything.
constexpr int RUN = 256;

template <class T>
void take_channel(const T *__restrict in, int channels, int count, float *__restrict out) {
    for (int x = 0; x < count; ++x) out[x] = to_unit(in[int64_t(x) * channels]);
}

template <class T>
void planes_in(const T *in, int channels, int first, const Task &task) {
    for (int64_t x = 0; x < task.out_width; x += RUN)
        for (int c = first; c < channels; ++c)
            take_channel(in + x * channels + c, channels, int(least(RUN, task.out_width - x)), task.out + c * task.out_plane + x);
}

template <class T>
void take_rgb(const T *__restrict in, int channels, int count, float *__restrict red, float *__restrict green, float *__restrict blue) {
    if (channels == 3)  // a constant distance between pixels makes better code
        for (int x = 0; x < count; ++x) red[x] = to_unit(in[3 * x]), green[x] = to_unit(in[3 * x + 1]), blue[x] = to_unit(in[3 * x + 2]);
    else
        for (int c = 0; c < 3; ++c) take_channel(in + c, channels, count, c == 0 ? red : c == 1 ? green : blue);
}

template <class T>
void ycbcr_in(const T *in, int channels, const Task &task) {
    float red[RUN], green[RUN], blue[RUN];
    for (int64_t from = 0; from < task.out_width; from += RUN) {
        const int count = int(least(RUN, task.out_width - from));
        take_rgb(in + from * channels, channels, count, red, green, blue);
        float *__restrict y = task.out + from, *__restrict cb = y + task.out_plane, *__restrict cr = cb + task.out_plane;
        for (int x = 0; x < count; ++x) {
            const float luma = (red[x] * RED + green[x] * GREEN) + blue[x] * BLUE;
            y[x] = luma, cb[x] = (blue[x] - luma) / CB_SPAN + 0.5f, cr[x] = (red[x] - luma) / CR_SPAN + 0.5f;
        }
    }
    planes_in(in, channels, 3, task);
}

template <class T>
void read_pixels(const Task &task) {
    const T *in = static_cast<const T *>(task.raw_in);
    if (task.op->mode == thinlens::IN_YCBCR)
        ycbcr_in(in, task.raw_channels, task);
    else
        planes_in(in, task.raw_channels, 0, task);
}

void pixels_in(const Task &task) {
    if (task.op->mode == thinlens::IN_LEVELS)
        std::memcpy(task.out, task.raw_in, size_t(task.out_width));
    else if (task.raw_type == thinlens::U8)
        read_pixels<uint8_t>(task);
    else if (task.raw_type == thinlens::U16)
        read_pixels<uint16_t>(task);
    else
        read_pixels<float>(task);
}

bool has_nan(const Source &in, int64_t width) {
    int found = 0;
    for (int c = 0; c < in.channels; ++c) {
        const float *row = plane(in, 0, c);
        for (int64_t x = 0; x < width; ++x) found |= row[x] != row[x];
    }
    return found != 0;
}

template <class T>
void put_channel(const float *__restrict in, int channels, int count, T *__restrict out) {
    T whole[RUN];
    for (int x = 0; x < count; ++x) whole[x] = from_unit<T>(in[x]);
    for (int x = 0; x < count; ++x) out[int64_t(x) * channels] = whole[x];
}

// Planes from `first` on to channels from `to` on.
template <class T>
void planes_out(const Source &in, int first, int to, int64_t width, int channels, T *out) {
    for (int64_t x = 0; x < width; x += RUN)
        for (int c = first; c < in.channels; ++c)
            put_channel(plane(in, 0, c) + x, channels, int(least(RUN, width - x)), out + x * channels + to + c - first);
}

template <class T>
void put_rgb(const float *__restrict red, const float *__restrict green, const float *__restrict blue, int channels, int count,
             T *__restrict out) {
    if (channels != 3) {
        for (int c = 0; c < 3; ++c) put_channel(c == 0 ? red : c == 1 ? green : blue, channels, count, out + c);
        return;
    }
    T r[RUN], g[RUN], b[RUN];
    for (int x = 0; x < count; ++x) r[x] = from_unit<T>(red[x]), g[x] = from_unit<T>(green[x]), b[x] = from_unit<T>(blue[x]);
    for (int x = 0; x < count; ++x) out[3 * x] = r[x], out[3 * x + 1] = g[x], out[3 * x + 2] = b[x];
}

template <class T>
void ycbcr_out(const Source &in, int64_t width, int channels, T *out) {
    float red[RUN], green[RUN], blue[RUN];
    for (int64_t from = 0; from < width; from += RUN) {
        const int count = int(least(RUN, width - from));
        const float *__restrict ys = plane(in, 0, 0) + from, *__restrict cbs = plane(in, 0, 1) + from, *__restrict crs = plane(in, 0, 2) + from;
        for (int x = 0; x < count; ++x) {
            const float y = clamp_unit(ys[x]);
            red[x] = (crs[x] - 0.5f) * CR_SPAN + y, blue[x] = (cbs[x] - 0.5f) * CB_SPAN + y;
            green[x] = ((y - red[x] * RED) - blue[x] * BLUE) / GREEN;
        }
        put_rgb(red, green, blue, channels, count, out + from * channels);
    }
}

template <class T>
void luma_out(const Source &in, int64_t width, int channels, T *out) {
    float luma[RUN];
    for (int64_t from = 0; from < width; from += RUN) {
        const int count = int(least(RUN, width - from));
        const float *red = plane(in, 0, 0) + from, *green = plane(in, 0, 1) + from, *blue = plane(in, 0, 2) + from;
        for (int x = 0; x < count; ++x)
            luma[x] = (clamp_unit(red[x]) * RED + clamp_unit(green[x]) * GREEN) + clamp_unit(blue[x]) * BLUE;
        put_channel(luma, channels, count, out + from * channels);
    }
}

template <class T>
void write_pixels(const Task &task) {
    const Source &in = task.in[0];
    T *out = static_cast<T *>(task.raw[0]);
    const int channels = task.out_channels;
    switch (task.op->mode) {
        case thinlens::OUT_YCBCR:
            ycbcr_out(in, task.out_width, channels, out);
            return planes_out(in, 3, 3, task.out_width, channels, out);
        case thinlens::OUT_LUMA:
            luma_out(in, task.out_width, channels, out);
            return planes_out(in, 3, 1, task.out_width, channels, out);
        default: return planes_out(in, 0, 0, task.out_width, channels, out);
    }
}

void pixels_out(const Task &task) {
    const Source &in = task.in[0];
    if (has_nan(in, task.out_width)) *task.not_a_number = true;
    if (task.op->mode == thinlens::OUT_PLANES) {
        float *out = static_cast<float *>(task.raw[0]);
        for (int c = 0; c < in.channels; ++c)
            for (int64_t x = 0; x < task.out_width; ++x) out[x * in.channels + c] = plane(in, 0, c)[x];
    } else if (task.raw_type == thinlens::U8) {
        write_pixels<uint8_t>(task);
    } else if (task.raw_type == thinlens::U16) {
        write_pixels<uint16_t>(task);
    } else {
        write_pixels<float>(task);
    }
}

}  // namespace
