// A plan in memory: parsed from untrusted bytes, checked once, never changed again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "edge_sr.h"
#include "thinlens.h"

namespace thinlens {

enum Kind : uint32_t {
    PIXELS_IN = 1, PIXELS_OUT, CONV2D, CONV_TRANSPOSE2D, ACTIVATION, CLAMP, AFFINE, ADD, MULTIPLY, CONCAT, GATHER,
    CHANNEL_MAX, SOFTMAX_SUM, PIXEL_SHUFFLE, PIXEL_UNSHUFFLE, MAX_POOL, RESIZE, PAD, CROP, GLOBAL_MEAN, GLOBAL_STD,
    BANDS, UNBANDS, EDGE_SR, QUANTIZE, LOW_CONV2D, SIGN, BINARY_CONV2D, LINE_DELAY, LSTM_CELL, KIND_END
};
enum PadMode { ZERO = 0, EDGE = 1, MIRROR = 2, SYMMETRIC = 3 };  // the last for resizing only
enum Act { NONE = 0, RELU, LEAKY, PRELU, TANH, SIGMOID, ACT_END };
enum PixelType { U8 = 0, U16 = 1, F32 = 2 };
enum InMode { IN_PLANES = 0, IN_YCBCR = 1, IN_LEVELS = 2 };
enum OutMode { OUT_PLANES = 0, OUT_CLAMP = 1, OUT_YCBCR = 2, OUT_LUMA = 3 };
enum Align { SAME = 0, FLIP = 1, LAST = 2 };  // which row of the band before stands for a row
enum CellMode { CELL_STATE = 0, CELL_OUTPUT = 1 };
enum ResizeMode { NEAREST = 0, BILINEAR = 1, BICUBIC = 2 };
enum ValueType { RAW_IN, PLANES, LEVELS, RAW_OUT, BYTES, HALVES, BITS };  // the last three: planes of elements in low precision
enum Precision { FLOATS = 0, INT8 = 1, BFLOAT16 = 2, BINARY = 3 };

// Channels that share a 32-bit element.
constexpr int channels_of_element(int precision) { return precision == INT8 ? 4 : precision == BFLOAT16 ? 2 : precision == BINARY ? 32 : 1; }
constexpr int64_t elements_of(int64_t channels, int precision) {
    return (channels + channels_of_element(precision) - 1) / channels_of_element(precision);
}

const char *kind_name(Kind kind);

// Weights as a plan states them: a window into its pool of floats.
struct Tensor {
    const float *data = nullptr;
    int64_t count = 0;
};

// A convolution's weights in the order in which the kernels read them: blocks of OC_BLOCK output channels; within a block tap after
// tap (input channel, kernel row, kernel column); within a tap the block's channels.
constexpr int OC_BLOCK = 6;

// Winograd's F(4, 3) along the height: four output rows of a 3-row kernel from six transformed input rows, with half the
// multiplications. Groups of rows begin at multiples of four of the whole value, so that a stream makes the same ones.
// Source: Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4, in one dimension.
constexpr int WINOGRAD_ROWS = 4, WINOGRAD_TAPS = 6;
constexpr int WINOGRAD_CHANNELS = 8;  // in and out, from which on the transforms are worth it
struct ConvPhase {               // one output column phase of a transposed convolution; a plain convolution has one
    std::vector<float> weight;
    std::vector<int32_t> columns;  // for each kernel column that takes part: how far right of the leftmost it reads
    std::vector<int32_t> rows;     // for each kernel row that takes part: which it is; transposed: how far above it reads
    int32_t left = 0;              // transposed: how far left the leftmost column reads
};

// Low precision: output channels whose sums are made together; elements of a tap that are summed before they are added to the rest;
// bytes of one tile of weights.
constexpr int LOW_BLOCK = 4, LOW_DEPTH = 16, LOW_TILE = 1024;
constexpr int BINARY_BLOCK = 2;  // output channels whose bits are counted together

// One op. Fields that a kind does not have keep their defaults; names follow docs/engine.md.
struct Op {
    Kind kind = KIND_END;
    std::vector<int32_t> inputs;
    std::vector<Tensor> tensors;
    std::vector<int32_t> channels;  // gather
    int in = 0, out = 0, kh = 1, kw = 1, stride = 1, ph = 0, pw = 0, output_padding = 0, pad_mode = ZERO, groups = 1;
    bool has_weight = false, has_bias = false;
    int act = NONE;
    float slope = 0;
    float a = 1, b = 1;
    int mode = 0, factor = 0, border = EDGE, scale = 1;
    float coefficient = 0;
    int top = 0, bottom = 0, left = 0, right = 0;
    int rows = 0, warm_up = 0;
    int later = -1;  // line_delay: the value that it gives one band late, which becomes its second input
    int family = 0, candidates = 0;
    bool raw_out = false;
    int pad_value = 0, repeat = 0;              // binary: what lies outside; channels of the result that share one of the shortcut, 0: none
    int precision = FLOATS, out_type = FLOATS;  // of a low convolution's input, or what quantize rounds to; of what it gives
    float level = 1;                            // what one step of a byte of the output is worth
    int zero = 0, in_zero = 0;                  // the byte that stands for 0
    bool finite = false;                        // a convolution of bytes whose values cannot leave the finite numbers

    const float *weight = nullptr, *bias = nullptr, *slopes = nullptr, *scales = nullptr, *shift = nullptr;
    int64_t slope_count = 0;
    std::vector<ConvPhase> phases;  // convolutions: [row phase * stride + column phase]; winograd: one a transformed row
    bool winograd = false;          // a convolution that makes WINOGRAD_ROWS rows from transformed input rows
    EdgeSr edge_sr;

    // Low convolutions: weights block by block, an element a tap, in the order of low_sums.h; the same as tiles, where the processor has
    // them; what is added to integer sums because the byte that stands for 0 is another. Binary: an element holds signs, and the sums of
    // each tap's weights are what padding is corrected by.
    std::vector<int32_t> low_weight, low_tiles, corrections;
    int64_t low_elements() const { return elements_of(in, precision); }
    int64_t low_depth() const {  // elements of a tap in one block: as even as can be, at most LOW_DEPTH; the last may overlap
        const int64_t blocks = (low_elements() + LOW_DEPTH - 1) / LOW_DEPTH;
        return (low_elements() + blocks - 1) / blocks;
    }

    bool absorbs() const { return kind == EDGE_SR || kind == GLOBAL_MEAN || kind == GLOBAL_STD; }
    bool whole_image() const { return kind == GLOBAL_MEAN || kind == GLOBAL_STD; }
    int group() const { return kind == EDGE_SR ? scale : winograd ? WINOGRAD_ROWS : 1; }  // output rows that are made together
};

struct Value {
    ValueType type = PLANES;
    int channels = 0;
    int made_by = -1;               // node; -1: the input
    std::vector<int32_t> readers;   // nodes, ascending
    bool banded = false;
    int section = -1;  // the `bands` that all bands behind it come from; -1: none, or several
    int zero = 0;  // BYTES: which stands for 0
    int64_t planes() const { return elements_of(channels, type == BYTES ? INT8 : type == HALVES ? BFLOAT16 : type == BITS ? BINARY : FLOATS); }
};

struct Kernels;

struct Plan {
    std::vector<float> floats;
    std::vector<Op> ops;
    std::vector<Value> values;      // value i + 1 is made by op i
    int input_channels = 0, input_type = U8, output_type = U8;
    uint64_t hash = 0;
    int64_t packed = 0, phases = 0;  // floats of all nodes' weights as the kernels read them; phases of transposed convolutions
    const Kernels *kernels = nullptr;
    const char *isa = "";

    bool remembers() const;         // rows depend on all rows above
    bool needs_height() const;      // an op asks for the height before its first row
    int whole_image_node() const;   // -1: none
    int64_t bytes() const;
};

// Parse and check. On failure `message` says what is wrong.
bool parse_plan(const void *bytes, size_t size, Plan &plan, std::string &message);

int pixel_bytes(int type);

}  // namespace thinlens
