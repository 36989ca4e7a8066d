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

template <class T>
void planes_in(const T *in, int channels, int first, const Task &task) {
    for (int c = first; c < channels; ++c) {
        float *out = task.out + c * task.out_plane;
        for (int64_t x = 0; x < task.out_width; ++x) out[x] = to_unit(in[x * channels + c]);
    }
}

template <class T>
void ycbcr_in(const T *in, int channels, const Task &task) {
    float *y = task.out, *cb = y + task.out_plane, *cr = cb + task.out_plane;
    for (int64_t x = 0; x < task.out_width; ++x) {
        const float red = to_unit(in[x * channels]), green = to_unit(in[x * channels + 1]), blue = to_unit(in[x * channels + 2]);
        const float luma = (red * RED + green * GREEN) + blue * BLUE;
        y[x] = luma, cb[x] = (blue - luma) / CB_SPAN + 0.5f, cr[x] = (red - luma) / CR_SPAN + 0.5f;
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
void planes_out(const Source &in, int first, int to, int64_t width, int channels, T *out) {
    for (int c = first; c < in.channels; ++c) {
        const float *row = plane(in, 0, c);
        for (int64_t x = 0; x < width; ++x) out[x * channels + to + c - first] = from_unit<T>(row[x]);
    }
}

template <class T>
void ycbcr_out(const Source &in, int64_t width, int channels, T *out) {
    const float *ys = plane(in, 0, 0), *cbs = plane(in, 0, 1), *crs = plane(in, 0, 2);
    for (int64_t x = 0; x < width; ++x) {
        const float y = clamp_unit(ys[x]);
        const float red = (crs[x] - 0.5f) * CR_SPAN + y, blue = (cbs[x] - 0.5f) * CB_SPAN + y;
        const float green = ((y - red * RED) - blue * BLUE) / GREEN;
        out[x * channels] = from_unit<T>(red), out[x * channels + 1] = from_unit<T>(green), out[x * channels + 2] = from_unit<T>(blue);
    }
}

template <class T>
void luma_out(const Source &in, int64_t width, int channels, T *out) {
    const float *red = plane(in, 0, 0), *green = plane(in, 0, 1), *blue = plane(in, 0, 2);
    for (int64_t x = 0; x < width; ++x)
        out[x * channels] = from_unit<T>((clamp_unit(red[x]) * RED + clamp_unit(green[x]) * GREEN) + clamp_unit(blue[x]) * BLUE);
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
