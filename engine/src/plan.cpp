// Reads a binary plan, trusting nothing in it: every index, count, range and shape is checked before use.
#include "plan.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "kernels.h"

namespace thinlens {
namespace {

constexpr uint32_t FORMAT = 1, HEADER = 64, MAX_NODES = 10000, MAX_WORDS = 1u << 22, MAX_TENSORS = 1u << 16;
constexpr uint64_t MAX_FLOATS = 1ull << 26;
constexpr int MAX_CHANNELS = 1 << 16;
constexpr int64_t MAX_PHASES = 1 << 15;  // of all transposed convolutions, squares of strides

const char *const NAMES[KIND_END] = {"", "pixels_in", "pixels_out", "conv2d", "conv_transpose2d", "activation", "clamp", "affine",
                                     "add", "multiply", "concat", "channel_gather", "channel_max", "softmax_sum", "pixel_shuffle",
                                     "pixel_unshuffle", "max_pool", "resize", "pad", "crop", "global_mean", "global_std", "bands",
                                     "unbands", "edge_sr", "quantize", "conv2d in low precision", "sign", "binary_conv2d",
                                     "line_delay", "lstm_cell"};

struct Bad {
    std::string what;
};

[[noreturn]] void refuse(const std::string &what) { throw Bad{what}; }

void check(bool sound, const char *what) {
    if (!sound) refuse(what);
}

// The plan's bytes, read at checked places.
class Bytes {
public:
    Bytes(const void *data, size_t size) : data_(static_cast<const unsigned char *>(data)), size_(size) {}
    uint32_t u32(size_t at) const { return read<uint32_t>(at); }
    uint64_t u64(size_t at) const { return read<uint64_t>(at); }
    int32_t i32(size_t at) const { return read<int32_t>(at); }
    const unsigned char *at(size_t offset, size_t count) const {
        check(offset <= size_ && count <= size_ - offset, "the plan ends too early");
        return data_ + offset;
    }
    size_t size() const { return size_; }

private:
    template <class T>
    T read(size_t offset) const {
        T value;
        std::memcpy(&value, at(offset, sizeof value), sizeof value);
        return value;
    }
    const unsigned char *data_;
    size_t size_;
};

float as_float(int32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// A node's parameters, taken one after the other, each within its range.
class Params {
public:
    Params(const std::vector<int32_t> &words, uint32_t at, uint32_t count) : words_(words), at_(at), end_(at + count) {}
    int integer(int low, int high) {
        int32_t value = next();
        if (value < low || value > high)
            refuse("a parameter is " + std::to_string(value) + "; accepted: " + std::to_string(low) + " to " + std::to_string(high));
        return value;
    }
    float real(float low, float high) {
        float value = as_float(next());
        if (!(value >= low && value <= high)) refuse("a parameter is out of range or not a number");
        return value;
    }
    uint32_t left() const { return end_ - at_; }
    void end() const { check(at_ == end_, "a node has too many parameters"); }

private:
    int32_t next() {
        check(at_ < end_, "a node has too few parameters");
        return words_[at_++];
    }
    const std::vector<int32_t> &words_;
    uint32_t at_, end_;
};

constexpr float HUGE_REAL = 3.0e38f;

void read_activation(Params &p, Op &op) {
    op.act = p.integer(NONE, ACT_END - 1);
    op.slope = p.real(-16, 16);
}

void read_conv(Params &p, Op &op) {
    op.in = p.integer(1, MAX_CHANNELS), op.out = p.integer(1, MAX_CHANNELS);
    op.kh = p.integer(1, 255), op.kw = p.integer(1, 255), op.stride = p.integer(1, 64);
    op.ph = p.integer(0, 254), op.pw = p.integer(0, 254);
    if (op.kind == CONV_TRANSPOSE2D) op.output_padding = p.integer(0, 63);
    op.pad_mode = p.integer(ZERO, op.kind == CONV_TRANSPOSE2D ? EDGE : MIRROR);
    if (op.kind != CONV_TRANSPOSE2D) op.groups = p.integer(1, MAX_CHANNELS);
    op.has_bias = p.integer(0, 1) != 0;
    read_activation(p, op);
    if (op.kind != CONV_TRANSPOSE2D) {
        check(op.in % op.groups == 0 && op.out % op.groups == 0, "conv2d: groups do not divide the channels");
        check(op.ph < op.kh && op.pw < op.kw, "conv2d: padding must be smaller than the kernel");
    } else {
        check(op.output_padding == 0 || op.output_padding < op.stride, "conv_transpose2d: output padding must be below the stride");
    }
}

void read_levels(Params &p, Op &op) { op.level = p.real(1e-30f, 1e30f), op.zero = p.integer(0, 255); }

void read_params(Params p, Op &op) {
    switch (op.kind) {
        case PIXELS_IN: op.mode = p.integer(IN_PLANES, IN_LEVELS); break;
        case PIXELS_OUT: op.mode = p.integer(OUT_PLANES, OUT_LUMA), p.integer(0, 0); break;
        case CONV2D:
        case CONV_TRANSPOSE2D: read_conv(p, op); return p.end();
        case ACTIVATION: read_activation(p, op); break;
        case CLAMP:
            op.a = p.real(-HUGE_REAL, HUGE_REAL), op.b = p.real(-HUGE_REAL, HUGE_REAL);
            check(op.a <= op.b, "clamp: low is above high");
            break;
        case AFFINE:
            op.in = p.integer(1, MAX_CHANNELS), op.has_weight = p.integer(0, 1) != 0, op.has_bias = p.integer(0, 1) != 0;
            check(op.has_weight || op.has_bias, "affine: neither weight nor bias");
            break;
        case ADD: op.a = p.real(-HUGE_REAL, HUGE_REAL), op.b = p.real(-HUGE_REAL, HUGE_REAL); break;
        case GATHER:
            check(p.left() >= 1 && p.left() <= uint32_t(MAX_CHANNELS), "channel_gather: no channels, or too many");
            while (p.left()) op.channels.push_back(p.integer(0, MAX_CHANNELS - 1));
            break;
        case PIXEL_SHUFFLE:
        case PIXEL_UNSHUFFLE: op.scale = p.integer(1, 16); break;
        case MAX_POOL:
            op.kh = p.integer(1, 255), op.kw = p.integer(1, 255), op.stride = p.integer(1, 64);
            op.ph = p.integer(0, 127), op.pw = p.integer(0, 127);
            check(op.ph <= op.kh / 2 && op.pw <= op.kw / 2, "max_pool: padding is more than half the kernel");
            break;
        case RESIZE:
            op.mode = p.integer(NEAREST, BICUBIC), op.factor = p.integer(0, 16);
            op.coefficient = p.real(-1, 0), op.border = p.integer(0, 1);
            break;
        case PAD:
        case CROP:
            op.top = p.integer(0, 4096), op.bottom = p.integer(0, 4096);
            op.left = p.integer(0, 4096), op.right = p.integer(0, 4096);
            if (op.kind == PAD) op.pad_mode = p.integer(ZERO, MIRROR);
            break;
        case BANDS: op.rows = p.integer(1, 1024), op.warm_up = p.integer(0, 64); break;
        case UNBANDS: op.rows = p.integer(1, 1024), op.warm_up = p.integer(0, 64), op.scale = p.integer(1, 64); break;
        case LINE_DELAY:
            op.in = p.integer(1, MAX_CHANNELS), op.mode = p.integer(SAME, LAST);
            op.later = p.integer(1, int(MAX_NODES));
            break;
        case LSTM_CELL: op.mode = p.integer(CELL_STATE, CELL_OUTPUT); break;
        case QUANTIZE:
            op.precision = p.integer(INT8, BFLOAT16), op.out_type = p.integer(0, 1) ? op.precision : int(FLOATS);
            read_levels(p, op);
            break;
        case LOW_CONV2D:
            op.precision = p.integer(INT8, BFLOAT16), op.out_type = p.integer(FLOATS, BFLOAT16);
            read_levels(p, op);
            read_conv(p, op);
            check(op.stride == 1 && op.groups == 1, "conv2d in low precision: accepted: stride 1, one group");
            return p.end();
        case SIGN: op.precision = op.out_type = BINARY; break;
        case BINARY_CONV2D:
            op.precision = BINARY;
            op.in = p.integer(1, MAX_CHANNELS), op.out = p.integer(1, MAX_CHANNELS);
            op.kh = p.integer(1, 15), op.kw = p.integer(1, 15), op.ph = p.integer(0, 14), op.pw = p.integer(0, 14);
            op.pad_value = p.integer(-1, 1), op.has_bias = p.integer(0, 1) != 0, op.has_weight = p.integer(0, 1) != 0;
            op.repeat = p.integer(0, MAX_CHANNELS);
            read_activation(p, op);
            check(op.ph < op.kh && op.pw < op.kw, "binary_conv2d: padding must be smaller than the kernel");
            if (op.repeat) check(op.kh == 2 * op.ph + 1 && op.kw == 2 * op.pw + 1, "binary_conv2d: a shortcut needs a result of the input's size");
            break;
        case EDGE_SR:
            op.family = p.integer(0, 2), op.kh = op.kw = p.integer(1, 15), op.candidates = p.integer(1, 16);
            op.scale = p.integer(1, 8), op.pad_mode = p.integer(ZERO, MIRROR), op.raw_out = p.integer(0, 1) != 0;
            check(op.kh % 2 == 1, "edge_sr: the kernel's side must be odd");
            break;
        default: break;
    }
    p.end();
}

int arity(const Op &op) {
    switch (op.kind) {
        case ADD:
        case MULTIPLY:
        case SOFTMAX_SUM:
        case UNBANDS: return 2;
        case RESIZE: return op.factor ? 1 : 2;
        case CONCAT: return int(op.inputs.size());
        case BINARY_CONV2D: return op.repeat ? 2 : 1;
        case LSTM_CELL: return op.mode == CELL_STATE ? 5 : 3;
        default: return 1;
    }
}

const float *take(const Op &op, size_t &index, int64_t count) {
    check(index < op.tensors.size(), "a node has too few tensors");
    check(op.tensors[index].count == count, "a tensor's length does not fit its op");
    return op.tensors[index++].data;
}

void take_slopes(Op &op, size_t &index, int channels) {
    if (op.act != PRELU) return;
    check(index < op.tensors.size(), "prelu: no slopes");
    int64_t count = op.tensors[index].count;
    check(count == 1 || count == channels, "prelu: accepted: one slope, or one for each channel");
    op.slopes = take(op, index, count), op.slope_count = count;
}

void take_tensors(Op &op, int channels_in) {
    size_t index = 0;
    switch (op.kind) {
        case CONV2D:
        case CONV_TRANSPOSE2D:
            op.weight = take(op, index, int64_t(op.out) * (op.in / op.groups) * op.kh * op.kw);
            if (op.has_bias) op.bias = take(op, index, op.out);
            take_slopes(op, index, op.out);
            break;
        case LOW_CONV2D:
            op.weight = take(op, index, int64_t(op.out) * op.in * op.kh * op.kw);
            if (op.precision == INT8) op.scales = take(op, index, op.out);
            if (op.has_bias) op.bias = take(op, index, op.out);
            take_slopes(op, index, op.out);
            break;
        case SIGN: op.bias = take(op, index, channels_in); break;
        case BINARY_CONV2D:
            op.weight = take(op, index, int64_t(op.out) * op.in * op.kh * op.kw), op.scales = take(op, index, op.out);
            if (op.has_bias) op.bias = take(op, index, op.out);
            take_slopes(op, index, op.out);
            if (op.has_weight) op.shift = take(op, index, op.out);
            break;
        case ACTIVATION: take_slopes(op, index, channels_in); break;
        case AFFINE:
            if (op.has_weight) op.weight = take(op, index, op.in);
            if (op.has_bias) op.bias = take(op, index, op.in);
            break;
        case EDGE_SR:
            op.weight = take(op, index, int64_t(op.family + 1) * op.candidates * op.scale * op.scale * op.kh * op.kw);
            break;
        default: break;
    }
    check(index == op.tensors.size(), "a node has too many tensors");
}

int broadcast_channels(int a, int b) {
    check(a == b || a == 1 || b == 1, "inputs have different numbers of channels");
    return std::max(a, b);
}

int channels_out(const Plan &plan, const Op &op) {
    const auto channels = [&](size_t j) { return plan.values[op.inputs[j]].channels; };
    int in = channels(0);
    switch (op.kind) {
        case CONV2D:
        case BINARY_CONV2D:
            if (op.repeat) check(int64_t(channels(1)) * op.repeat == op.out, "binary_conv2d: the shortcut's channels do not fit");
            [[fallthrough]];
        case LOW_CONV2D:
        case CONV_TRANSPOSE2D: check(in == op.in, "a convolution's input has other channels than it expects"); return op.out;
        case AFFINE: check(in == op.in, "affine: the input has other channels than it expects"); return in;
        case ADD:
        case MULTIPLY: return broadcast_channels(in, channels(1));
        case CONCAT: {
            int64_t sum = 0;
            for (size_t j = 0; j < op.inputs.size(); ++j) sum += channels(j);
            check(sum <= MAX_CHANNELS, "concat: too many channels");
            return int(sum);
        }
        case GATHER:
            for (int c : op.channels) check(c < in, "channel_gather: an index is outside the input");
            return int(op.channels.size());
        case CHANNEL_MAX: return 1;
        case SOFTMAX_SUM: check(in == channels(1), "softmax_sum: values and logits differ in number"); return 1;
        case PIXEL_SHUFFLE: check(in % (op.scale * op.scale) == 0, "pixel_shuffle: channels do not divide"); return in / (op.scale * op.scale);
        case PIXEL_UNSHUFFLE: check(int64_t(in) * op.scale * op.scale <= MAX_CHANNELS, "pixel_unshuffle: too many channels"); return in * op.scale * op.scale;
        case LINE_DELAY: return op.in;
        case LSTM_CELL:
            for (int j = 0; j < arity(op); ++j)
                check(channels(size_t(j)) == (j == arity(op) - 2 ? 4 * in : in), "lstm_cell: inputs have different numbers of channels");
            return in;
        case EDGE_SR: check(in == 1, "edge_sr: the input must have one channel"); return 1;
        case PIXELS_OUT:
            if (op.mode >= OUT_YCBCR) check(in >= 3, "pixels_out: three channels at least");
            return op.mode == OUT_LUMA ? in - 2 : in;
        default: return in;
    }
}

ValueType type_out(const Op &op) {
    if (op.kind == PIXELS_IN) return op.mode == IN_LEVELS ? LEVELS : PLANES;
    if (op.kind == PIXELS_OUT || (op.kind == EDGE_SR && op.raw_out)) return RAW_OUT;
    return op.out_type == INT8 ? BYTES : op.out_type == BFLOAT16 ? HALVES : op.out_type == BINARY ? BITS : PLANES;
}

void check_types(const Plan &plan, const Op &op) {
    for (const int32_t &input : op.inputs) {
        ValueType type = plan.values[input].type;
        if (op.kind == PIXELS_IN)
            check(type == RAW_IN, "pixels_in must read the input");
        else if (op.kind == BINARY_CONV2D)
            check(type == (&input == &op.inputs[0] ? BITS : PLANES), "binary_conv2d: accepted: signs, and a shortcut of floats");
        else if (op.kind == LOW_CONV2D)
            check(type == (op.precision == INT8 ? BYTES : HALVES), "a convolution in low precision reads a value of another precision");
        else
            check(type == PLANES || (type == LEVELS && op.kind == EDGE_SR), "a node reads a value of another type than it takes");
    }
    if (op.kind == PIXELS_IN && op.mode == IN_YCBCR) check(plan.input_channels >= 3, "pixels_in: ycbcr needs three channels");
    if (op.kind == PIXELS_IN && op.mode == IN_LEVELS)
        check(plan.input_type == U8 && plan.input_channels == 1, "pixels_in: levels needs 8-bit gray");
    if (op.kind == PIXELS_OUT && op.mode == OUT_PLANES) check(plan.output_type == F32, "pixels_out: planes come out as float");
    if (op.kind == EDGE_SR && op.raw_out) check(plan.output_type == U8, "edge_sr: raw rows are 8-bit");
}

bool banded_out(const Plan &plan, const Op &op) {
    bool first = plan.values[op.inputs[0]].banded;
    if (op.kind == BANDS) {
        check(!first, "bands inside bands");
        return true;
    }
    if (op.kind == UNBANDS) {
        check(first && !plan.values[op.inputs[1]].banded, "unbands: accepted: a banded value, then one that is not");
        return false;
    }
    for (int32_t input : op.inputs) check(plan.values[input].banded == first, "a node mixes banded and plain values");
    check(first || op.kind != LINE_DELAY, "line_delay: it stands outside of bands");
    check(!first || !(op.absorbs() || op.kind == PIXELS_OUT), "an op that cannot work on bands stands between bands and unbands");
    return first;
}

// The `bands` that all of an op's inputs in bands come from.
int section_out(const Plan &plan, const Op &op, int index) {
    if (op.kind == BANDS) return index;
    if (op.kind == UNBANDS) return -1;
    const int first = plan.values[op.inputs[0]].section;
    for (int32_t input : op.inputs)
        if (plan.values[input].section != first) return -1;
    return first;
}

// Weights of one block after the other; `weight(output channel, input channel of its group, tap)` are the filters.
template <class Weight>
void pack_blocks(const Op &op, int taps, Weight weight, std::vector<float> &packed) {
    const int per_group = op.out / op.groups, ic = op.in / op.groups;
    for (int g = 0; g < op.groups; ++g)
        for (int first = 0; first < per_group; first += OC_BLOCK) {
            const int count = std::min(OC_BLOCK, per_group - first);
            for (int i = 0; i < ic; ++i)
                for (int tap = 0; tap < taps; ++tap)
                    for (int o = 0; o < count; ++o) packed.push_back(weight(g * per_group + first + o, i, tap));
        }
}

// A filter's weight as the plan holds it.
const float *filter_at(const Op &op, int64_t first, int64_t second, int64_t seconds) {
    return op.weight + (first * seconds + second) * op.kh * op.kw;
}

void pack_conv(Op &op) {
    ConvPhase phase;
    const int ic = op.in / op.groups;
    for (int ky = 0; ky < op.kh; ++ky) phase.rows.push_back(ky);
    for (int kx = 0; kx < op.kw; ++kx) phase.columns.push_back(kx);
    pack_blocks(op, op.kh * op.kw, [&](int oc, int i, int tap) { return filter_at(op, oc, i, ic)[tap]; }, phase.weight);
    op.phases.push_back(std::move(phase));
}

// The kernel's rows transformed, each a row of weights of its own.
void pack_winograd(Op &op) {
    static const double G[WINOGRAD_TAPS][3] = {{1 / 4.0, 0, 0},
                                               {-1 / 6.0, -1 / 6.0, -1 / 6.0},
                                               {-1 / 6.0, 1 / 6.0, -1 / 6.0},
                                               {1 / 24.0, 1 / 12.0, 1 / 6.0},
                                               {1 / 24.0, -1 / 12.0, 1 / 6.0},
                                               {0, 0, 1}};
    for (const double(&g)[3] : G) {
        ConvPhase phase;
        phase.rows.push_back(0);
        for (int kx = 0; kx < op.kw; ++kx) phase.columns.push_back(kx);
        const auto weight = [&](int oc, int i, int kx) {
            const float *filter = filter_at(op, oc, i, op.in) + kx;
            return float(g[0] * filter[0] + g[1] * filter[op.kw] + g[2] * filter[2 * op.kw]);
        };
        pack_blocks(op, op.kw, weight, phase.weight);
        op.phases.push_back(std::move(phase));
    }
}

// A transposed convolution is one plain convolution for each phase of its stride. Output y + ph = stride q + r: kernel rows
// ky = r, r + stride, ... read input rows q, q - 1, ...; listed top to bottom, so with ky descending. Columns likewise.
void pack_transposed(Op &op) {
    for (int ry = 0; ry < op.stride; ++ry)
        for (int rx = 0; rx < op.stride; ++rx) {
            ConvPhase phase;
            std::vector<int> kys, kxs;
            for (int k = op.kh - 1; k >= 0; --k)
                if (k % op.stride == ry) kys.push_back(k);
            for (int k = op.kw - 1; k >= 0; --k)
                if (k % op.stride == rx) kxs.push_back(k);
            phase.left = kxs.empty() ? 0 : kxs[0] / op.stride;
            for (int ky : kys) phase.rows.push_back(ky / op.stride);
            for (int kx : kxs) phase.columns.push_back(phase.left - kx / op.stride);
            const int columns = int(kxs.size());
            const auto weight = [&](int oc, int i, int tap) { return filter_at(op, i, oc, op.out)[kys[tap / columns] * op.kw + kxs[tap % columns]]; };
            pack_blocks(op, int(kys.size()) * columns, weight, phase.weight);
            op.phases.push_back(std::move(phase));
        }
}

// The weights of one element of a tap: four bytes or two bfloat16.
int32_t low_element(const Op &op, int oc, int64_t element, int tap) {
    const int per = channels_of_element(op.precision);
    uint32_t bits = 0;
    for (int i = 0; i < per && element * per + i < op.in; ++i) {
        const float w = filter_at(op, oc, element * per + i, op.in)[tap];
        uint32_t part;
        if (op.precision == INT8) {
            part = uint32_t(int32_t(w)) & 0xff;
        } else {
            std::memcpy(&part, &w, 4);
            part >>= 16;
        }
        bits |= part << (32 / per * i);
    }
    int32_t result;
    std::memcpy(&result, &bits, 4);
    return result;
}

// In the order in which low_sums.h reads them.
void pack_low_blocks(Op &op) {
    const int64_t elements = op.low_elements();
    for (int first = 0; first < op.out; first += LOW_BLOCK) {
        const int count = std::min(LOW_BLOCK, op.out - first);
        const auto add = [&](int64_t element, int tap) {
            for (int o = 0; o < count; ++o) {
                const int32_t weights = low_element(op, first + o, element, tap);
                if (op.precision == INT8) {
                    op.low_weight.push_back(weights);
                } else {  // as two floats
                    op.low_weight.push_back(int32_t(uint32_t(weights) << 16));
                    op.low_weight.push_back(int32_t(uint32_t(weights) & 0xffff0000u));
                }
            }
        };
        for (int ky = 0; ky < op.kh; ++ky) {
            if (op.precision == INT8) {
                for (int64_t e = 0; e < elements; ++e)
                    for (int kx = 0; kx < op.kw; ++kx) add(e, ky * op.kw + kx);
            } else {
                for (int kx = 0; kx < op.kw; ++kx)
                    for (int64_t e = 0; e < elements; ++e) add(e, ky * op.kw + kx);
            }
        }
    }
}

// 16 output channels by the elements of one block of a tap; the last block of a tap may overlap the one before, with weights of zero.
void pack_low_tiles(Op &op) {
    const int64_t elements = op.low_elements(), depth = op.low_depth();
    for (int first = 0; first < op.out; first += 16)
        for (int tap = 0; tap < op.kh * op.kw; ++tap)
            for (int64_t done = 0; done < elements; done += depth) {
                const int64_t from = std::min(done, elements - depth), at = int64_t(op.low_tiles.size());
                op.low_tiles.resize(at + LOW_TILE / 4);
                for (int o = first; o < std::min(first + 16, op.out); ++o)
                    for (int64_t e = std::max(done, from); e < from + depth; ++e)
                        op.low_tiles[at + (o - first) * 16 + (e - from)] = low_element(op, o, e, tap);
            }
}

void pack_low(const Plan &plan, Op &op) {
    const Value &in = plan.values[op.inputs[0]];
    const int64_t count = int64_t(op.in) * op.kh * op.kw;
    op.in_zero = in.zero;
    if (op.precision == INT8) {
        check(count * 255 * 127 <= INT32_MAX, "conv2d in low precision: the sums may not fit 32 bits");
        for (int64_t i = 0; i < count * op.out; ++i)
            check(std::fabs(op.weight[i]) <= 127 && op.weight[i] == std::rint(op.weight[i]), "a weight is no integer of -127 to 127");
        for (int o = 0; o < op.out; ++o) {
            int64_t sum = 0;
            for (int64_t i = 0; i < count; ++i) sum += int64_t(op.weight[o * count + i]);
            op.corrections.push_back(int32_t(-sum * op.in_zero));
        }
        op.finite = true;
        for (int o = 0; o < op.out; ++o) {
            const double slope = op.act == PRELU ? op.slopes[op.slope_count == 1 ? 0 : o] : op.act == LEAKY ? op.slope : 1.0;
            const double most = (2.0 * INT32_MAX * std::fabs(op.scales[o]) + (op.bias ? std::fabs(op.bias[o]) : 0.0)) * (1.0 + std::fabs(slope));
            if (!(most < FLT_MAX)) op.finite = false;
        }
    } else {
        for (int64_t i = 0; i < count * op.out; ++i) {
            uint32_t bits;
            std::memcpy(&bits, op.weight + i, 4);
            check((bits & 0xffff) == 0, "a weight is no bfloat16");
        }
    }
    pack_low_blocks(op);
    if (plan.kernels->has_tiles) pack_low_tiles(op);
}

// Bit 0 stands for +1, bit 1 for -1; a block's channels side by side, in the order of binary_sums.h.
void pack_binary(Op &op) {
    const int64_t taps = int64_t(op.kh) * op.kw, count = op.in * taps;
    for (int64_t i = 0; i < count * op.out; ++i) check(std::fabs(op.weight[i]) == 1.0f, "a weight is not -1 or +1");
    for (int first = 0; first < op.out; first += BINARY_BLOCK)
        for (int ky = 0; ky < op.kh; ++ky)
            for (int64_t e = 0; e < op.low_elements(); ++e)
                for (int kx = 0; kx < op.kw; ++kx)
                    for (int o = first; o < std::min(first + BINARY_BLOCK, op.out); ++o) {
                        uint32_t bits = 0;
                        for (int64_t c = e * 32; c < std::min<int64_t>(op.in, e * 32 + 32); ++c)
                            if (filter_at(op, o, c, op.in)[ky * op.kw + kx] < 0) bits |= 1u << (c % 32);
                        int32_t element;
                        std::memcpy(&element, &bits, 4);
                        op.low_weight.push_back(element);
                    }
    for (int o = 0; o < op.out; ++o)
        for (int64_t tap = 0; tap < taps; ++tap) {
            int32_t sum = 0;
            for (int c = 0; c < op.in; ++c) sum += filter_at(op, o, c, op.in)[tap] < 0 ? -1 : 1;
            op.corrections.push_back(sum);
        }
}

// Many nodes may share a tensor, but each packs it for itself: what that takes has a limit, or a small plan could take any memory.
void count_packed(Plan &plan, const Op &op) {
    if (op.kind == CONV2D) plan.packed += op.tensors[0].count * (op.kh == 3 ? 2 : 1);
    if (op.kind == LOW_CONV2D) plan.packed += op.tensors[0].count + int64_t(op.kh) * op.kw * op.low_elements() * round_up(op.out, 16);
    if (op.kind == BINARY_CONV2D) plan.packed += int64_t(op.kh) * op.kw * (op.low_elements() + 1) * op.out;
    if (op.kind == EDGE_SR) plan.packed += op.tensors[0].count * 2;
    plan.packed += int64_t(op.channels.size()) * 64;  // a gather copies its list: a few million entries in all are plenty
    if (op.kind == CONV_TRANSPOSE2D) {
        plan.packed += op.tensors[0].count;
        plan.phases += op.stride * op.stride;
    }
    check(plan.packed <= int64_t(2 * MAX_FLOATS), "the nodes' weights are too many");
    check(plan.phases <= MAX_PHASES, "the strides of transposed convolutions are too large for so many of them");
}

void pack(Plan &plan, Op &op) {
    count_packed(plan, op);
    op.winograd = op.kind == CONV2D && op.kh == 3 && op.stride == 1 && op.groups == 1 && std::min(op.in, op.out) >= WINOGRAD_CHANNELS &&
                  !plan.values[op.inputs[0]].banded;  // a band's rows need not come in fours
    if (op.winograd)
        pack_winograd(op);
    else if (op.kind == CONV2D)
        pack_conv(op);
    if (op.kind == CONV_TRANSPOSE2D) pack_transposed(op);
    if (op.kind == LOW_CONV2D) pack_low(plan, op);
    if (op.kind == BINARY_CONV2D) pack_binary(op);
    if (op.kind == EDGE_SR) {
        EdgeSrSpec spec{op.family, op.kh, op.candidates, op.scale, op.pad_mode, op.weight};
        op.edge_sr = EdgeSr::prepare(spec, plan.values[op.inputs[0]].type == LEVELS, op.raw_out);
    }
}

void add_node(Plan &plan, const Bytes &bytes, uint32_t index, const std::vector<int32_t> &words, const std::vector<Tensor> &tensors) {
    const size_t at = HEADER + size_t(index) * 32;
    uint32_t field[8];
    for (int i = 0; i < 8; ++i) field[i] = bytes.u32(at + 4 * i);
    Op op;
    check(field[0] >= 1 && field[0] < KIND_END && NAMES[field[0]], "a node is of an unknown kind");
    check(field[7] == 0, "a reserved field is not zero");
    op.kind = Kind(field[0]);
    const auto inside = [&](uint32_t first, uint32_t count) { return first <= words.size() && count <= words.size() - first; };
    check(inside(field[2], field[1]) && inside(field[4], field[3]) && inside(field[6], field[5]), "a node's words lie outside the pool");
    check(field[1] >= 1 && field[1] <= 64 && field[5] <= 5, "a node has too many inputs or tensors");
    for (uint32_t j = 0; j < field[1]; ++j) {
        int32_t input = words[field[2] + j];
        check(input >= 0 && uint32_t(input) <= index, "a node reads a value that is made later");
        op.inputs.push_back(input);
    }
    for (uint32_t j = 0; j < field[5]; ++j) {
        int32_t tensor = words[field[6] + j];
        check(tensor >= 0 && size_t(tensor) < tensors.size(), "a node names a tensor that is not there");
        op.tensors.push_back(tensors[tensor]);
    }
    read_params(Params(words, field[4], field[3]), op);
    check(int(op.inputs.size()) == arity(op), "a node has the wrong number of inputs");
    take_tensors(op, plan.values[op.inputs[0]].channels);
    check_types(plan, op);
    Value value;
    value.type = type_out(op), value.channels = channels_out(plan, op), value.made_by = int(index);
    value.banded = banded_out(plan, op), value.zero = op.zero, value.section = section_out(plan, op, int(index));
    pack(plan, op);
    for (int32_t input : op.inputs) {
        auto &readers = plan.values[input].readers;
        if (readers.empty() || readers.back() != int(index)) readers.push_back(int(index));
    }
    plan.ops.push_back(std::move(op)), plan.values.push_back(std::move(value));
}

// Delays read what is made after them. Bands come from one `bands` alone, on the way there and back: so each band depends on itself
// and on those before it, and none waits for itself.
void close_loops(Plan &plan) {
    for (size_t i = 0; i < plan.ops.size(); ++i) {
        Op &op = plan.ops[i];
        if (op.kind != LINE_DELAY) continue;
        check(size_t(op.later) < plan.values.size() && op.later > int(i) + 1, "line_delay: accepted: a value that is made later");
        Value &later = plan.values[op.later];
        const int section = plan.values[i + 1].section;
        check(later.type == PLANES && later.channels == op.in && later.banded, "line_delay: it gives other channels, or no bands");
        check(section >= 0 && later.section == section, "line_delay: the bands come from elsewhere");
        op.inputs.push_back(op.later);
        later.readers.insert(std::lower_bound(later.readers.begin(), later.readers.end(), int32_t(i)), int32_t(i));
    }
}

void check_border(const Plan &plan, uint32_t output) {
    check(output == plan.ops.size() && plan.values[output].type == RAW_OUT, "the output must be raw rows made by the last node");
    check(plan.ops[0].kind == PIXELS_IN && plan.values[0].readers.size() == 1, "the first node must be the input's only reader, pixels_in");
    for (size_t i = 1; i + 1 < plan.values.size(); ++i) check(!plan.values[i].readers.empty(), "a value is never read");
}

void parse(const Bytes &bytes, Plan &plan) {
    check(bytes.size() >= HEADER && !std::memcmp(bytes.at(0, 8), "THINLENS", 8), "not a binary plan");
    check(bytes.u32(8) == FORMAT && bytes.u32(12) == HEADER, "a binary plan of another format");
    const uint32_t nodes = bytes.u32(24), word_count = bytes.u32(28), tensor_count = bytes.u32(32);
    const uint64_t floats = bytes.u64(40);
    check(nodes >= 2 && nodes <= MAX_NODES && word_count <= MAX_WORDS && tensor_count <= MAX_TENSORS && floats <= MAX_FLOATS, "a count is out of range");
    const size_t tensors_at = HEADER + size_t(nodes) * 32, words_at = tensors_at + size_t(tensor_count) * 16;
    const size_t floats_at = words_at + (size_t(word_count) * 4 + 7) / 8 * 8, end = floats_at + (size_t(floats) * 4 + 7) / 8 * 8;
    check(bytes.u64(16) == bytes.size() && end == bytes.size(), "the plan's length is not what its header says");
    const uint32_t channels = bytes.u32(36), in_type = bytes.u32(48), output = bytes.u32(52), out_type = bytes.u32(56);
    check(channels >= 1 && channels <= uint32_t(MAX_CHANNELS) && in_type <= F32 && out_type <= F32 && bytes.u32(60) == 0, "the input's or output's kind is out of range");
    plan.input_channels = int(channels), plan.input_type = int(in_type), plan.output_type = int(out_type);
    plan.floats.resize(floats);
    if (floats) std::memcpy(plan.floats.data(), bytes.at(floats_at, floats * 4), floats * 4);
    for (float value : plan.floats) check(std::isfinite(value), "a weight is not finite");
    std::vector<Tensor> tensors;
    for (uint32_t i = 0; i < tensor_count; ++i) {
        uint64_t first = bytes.u64(tensors_at + i * 16), count = bytes.u64(tensors_at + i * 16 + 8);
        check(first <= floats && count <= floats - first, "a tensor lies outside the pool");
        tensors.push_back(Tensor{plan.floats.data() + first, int64_t(count)});
    }
    std::vector<int32_t> words(word_count);
    for (uint32_t i = 0; i < word_count; ++i) words[i] = bytes.i32(words_at + size_t(i) * 4);
    Value input;
    input.type = RAW_IN, input.channels = plan.input_channels;
    plan.values.push_back(input);
    for (uint32_t i = 0; i < nodes; ++i) {
        try {
            add_node(plan, bytes, i, words, tensors);
        } catch (const Bad &bad) {
            refuse("node " + std::to_string(i) + ": " + bad.what);
        }
    }
    close_loops(plan);
    check_border(plan, output);
    plan.hash = 1469598103934665603ull;
    for (size_t i = 0; i < bytes.size(); ++i) plan.hash = (plan.hash ^ *bytes.at(i, 1)) * 1099511628211ull;
}

}  // namespace

const char *kind_name(Kind kind) { return kind < KIND_END ? NAMES[kind] : "?"; }

int pixel_bytes(int type) { return type == U8 ? 1 : type == U16 ? 2 : 4; }

bool Plan::remembers() const {
    for (const Op &op : ops)
        if (op.kind == LINE_DELAY) return true;
    return false;
}

bool Plan::needs_height() const {
    for (const Op &op : ops)
        if ((op.kind == RESIZE && !op.factor) || op.whole_image()) return true;
    return false;
}

int Plan::whole_image_node() const {
    for (size_t i = 0; i < ops.size(); ++i)
        if (ops[i].whole_image()) return int(i);
    return -1;
}

int64_t Plan::bytes() const {
    int64_t sum = int64_t(floats.size()) * 4;
    for (const Op &op : ops) {
        for (const ConvPhase &phase : op.phases) sum += int64_t(phase.weight.size()) * 4;
        sum += int64_t(op.low_weight.size() + op.low_tiles.size() + op.corrections.size()) * 4;
    }
    return sum;
}

bool parse_plan(const void *bytes, size_t size, Plan &plan, std::string &message) {
    try {
        parse(Bytes(bytes, size), plan);
        return true;
    } catch (const Bad &bad) {
        message = bad.what;
        return false;
    }
}

}  // namespace thinlens
