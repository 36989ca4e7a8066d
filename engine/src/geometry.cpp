#include "geometry.h"

#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace thinlens {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

constexpr int64_t MOST_SIDE = int64_t(1) << 30;  // of any value

struct Refused {
    std::string what;
};

int64_t at_least_one(int64_t n, const char *op) {
    if (n < 1) throw Refused{std::string(op) + ": the image is too small"};
    return n;
}

// Length out for length in, along the height or the width.
int64_t length_out(const Op &op, int64_t n, bool vertical) {
    const int k = vertical ? op.kh : op.kw, p = vertical ? op.ph : op.pw;
    const char *name = kind_name(op.kind);
    switch (op.kind) {
        case CONV2D:
        case LOW_CONV2D:
        case BINARY_CONV2D:
        case MAX_POOL: return at_least_one(n + 2 * p < k ? 0 : (n + 2 * p - k) / op.stride + 1, name);
        case CONV_TRANSPOSE2D: return at_least_one((n - 1) * op.stride - 2 * p + k + op.output_padding, name);
        case PIXEL_SHUFFLE:
        case EDGE_SR: return at_least_one(n * op.scale, name);
        case PIXEL_UNSHUFFLE:
            if (n % op.scale) throw Refused{"pixel_unshuffle: the size is not a multiple of its scale"};
            return n / op.scale;
        case RESIZE: return at_least_one(n * op.factor, name);
        case PAD: return at_least_one(n + (vertical ? op.top + op.bottom : op.left + op.right), name);
        case CROP: return at_least_one(n - (vertical ? op.top + op.bottom : op.left + op.right), name);
        case GLOBAL_MEAN:
        case GLOBAL_STD: return 1;
        default: return n;
    }
}

void check_equal(const Op &op, const Size &a, const Size &b) {
    if (a.width != b.width || a.height != b.height || a.frame != b.frame) throw Refused{std::string(kind_name(op.kind)) + ": inputs differ in size"};
}

Size broadcast_size(const Op &op, const Size &a, const Size &b) {
    if (a.width == 1 && a.height == 1) return b;
    if (!(b.width == 1 && b.height == 1)) check_equal(op, a, b);
    return a;
}

// Heights that are not known stay so; what they must fulfil is checked once they are.
Size size_out(const Plan &plan, const Op &op, const Size *sizes) {
    const Size &in = sizes[op.inputs[0]];
    if (op.kind == ADD || op.kind == MULTIPLY) return broadcast_size(op, in, sizes[op.inputs[1]]);
    if (op.kind == RESIZE && !op.factor) {
        const Size &to = sizes[op.inputs[1]];
        if (in.known() && in.height / in.frame != to.height / to.frame) throw Refused{"resize: inputs differ in their number of bands"};
        return to;
    }
    if (op.kind == BANDS) {
        const int64_t bands = op.warm_up + ceil_div(in.height, op.rows);
        return {in.width, in.known() ? bands * op.rows : ENDLESS, op.rows};
    }
    if (op.kind == UNBANDS) {
        if (in.frame != int64_t(op.rows) * op.scale) throw Refused{"unbands: the bands are not as high as it says"};
        const int64_t height = sizes[op.inputs[1]].height;
        if (height >= ENDLESS) return {in.width, ENDLESS, ENDLESS};
        if (in.height != (op.warm_up + ceil_div(height, op.rows)) * in.frame) throw Refused{"unbands: the bands are not as many as it says"};
        return {in.width, height * op.scale, height * op.scale};
    }
    if (op.kind == LINE_DELAY) return in;  // what it gives is made later: its size is checked at the end
    for (size_t j = 1; j < op.inputs.size(); ++j) check_equal(op, in, sizes[op.inputs[j]]);
    const bool banded = plan.values[op.inputs[0]].banded;
    Size out{length_out(op, in.width, false), ENDLESS, ENDLESS};
    if (banded || in.known()) out.frame = length_out(op, in.frame, true);
    if (in.known()) out.height = banded ? in.height / in.frame * out.frame : out.frame;
    return out;
}

// Sizes whose products with each other are numbers still.
Size bounded(const Size &size, const Op &op) {
    if (size.width > MOST_SIDE || (size.known() && size.height > MOST_SIDE) || (size.frame > MOST_SIDE && size.frame < ENDLESS))
        throw Refused{std::string(kind_name(op.kind)) + ": the result is too large"};
    return size;
}

}  // namespace

bool value_sizes(const Plan &plan, int64_t width, int64_t height, Size *sizes, std::string &message) {
    sizes[0] = {width, height, height};
    for (size_t i = 0; i < plan.ops.size(); ++i) {
        try {
            sizes[i + 1] = bounded(size_out(plan, plan.ops[i], sizes), plan.ops[i]);
        } catch (const Refused &refused) {
            message = "node " + std::to_string(i) + ": " + refused.what;
            return false;
        }
    }
    for (size_t i = 0; i < plan.ops.size(); ++i) {
        const Op &op = plan.ops[i];
        const Size &given = sizes[i + 1], &later = sizes[op.inputs.back()];
        if (op.kind != LINE_DELAY || (given.width == later.width && given.height == later.height && given.frame == later.frame)) continue;
        message = "node " + std::to_string(i) + ": line_delay: the value that it gives differs in size";
        return false;
    }
    return true;
}

View::View(const Plan &plan, int node, int input, const Size *sizes)
    : op_(plan.ops[node]), in_(sizes[op_.inputs[input]]), out_(sizes[node + 1]), input_(input), pad_mode_(op_.pad_mode),
      single_((op_.kind == ADD || op_.kind == MULTIPLY) && in_.height == 1 && out_.height != 1),
      delays_(op_.kind == LINE_DELAY && input == 1) {
    if (op_.kind == RESIZE) pad_mode_ = op_.border == 1 ? SYMMETRIC : EDGE;
    if (op_.kind == BANDS) pad_mode_ = MIRROR;
    if (op_.kind == MAX_POOL) pad_mode_ = ZERO;
}

// Most values have one frame only: no division for them.
int64_t View::frame_of(int64_t y) const { return y < out_.frame ? 0 : y / out_.frame; }

// Rows of the input's frame behind row y of the output's.
Rows View::local(int64_t y) const {
    switch (op_.kind) {
        case BINARY_CONV2D:
            if (input_ == 1) return {y, y + 1};
            [[fallthrough]];
        case CONV2D:
        case LOW_CONV2D:
        case MAX_POOL: return {y * op_.stride - op_.ph, y * op_.stride - op_.ph + op_.kh};
        case CONV_TRANSPOSE2D: return {ceil_div(y + op_.ph - op_.kh + 1, op_.stride), floor_div(y + op_.ph, op_.stride) + 1};
        case PIXEL_SHUFFLE: return {y / op_.scale, y / op_.scale + 1};
        case PIXEL_UNSHUFFLE: return {y * op_.scale, (y + 1) * op_.scale};
        case RESIZE: {
            if (input_ == 1) return {0, 0};
            const ResizeTap tap = resize_tap(op_, y, in_.frame, out_.frame);
            return {tap.index, tap.index + tap.count};
        }
        case PAD: return {y - op_.top, y - op_.top + 1};
        case CROP: return {y + op_.top, y + op_.top + 1};
        case GLOBAL_MEAN:
        case GLOBAL_STD: return {0, in_.height};
        case EDGE_SR: return {y / op_.scale - op_.kh / 2, y / op_.scale + op_.kh / 2 + 1};
        default: return {y, y + 1};
    }
}

Rows View::rows(int64_t y) const {
    if (!op_.winograd) return reads(y);
    const int64_t first = y / WINOGRAD_ROWS * WINOGRAD_ROWS;  // of the rows that are made together; the last may lie below the image
    return {local(first).first, local(first + WINOGRAD_ROWS - 1).stop};
}

// Rows of the band before that stand for row y of a delay; none before the first band.
Rows View::delayed(int64_t y) const {
    const int64_t band = frame_of(y), begin = band * out_.frame, row = y - begin;
    if (band == 0) return {0, 0};
    const int64_t at = op_.mode == SAME ? begin - out_.frame + row : begin - 1 - (op_.mode == FLIP ? row : 0);
    return {at, at + 1};
}

Rows View::reads(int64_t y) const {
    if (single_) return {0, 1};
    if (delays_) return delayed(y);
    if (op_.kind == BANDS) return {y - int64_t(op_.warm_up) * op_.rows, y - int64_t(op_.warm_up) * op_.rows + 1};
    if (op_.kind == UNBANDS) {
        const int64_t row = int64_t(op_.warm_up) * op_.rows * op_.scale + y;
        return input_ == 1 ? Rows{0, 0} : Rows{row, row + 1};
    }
    const int64_t frame = frame_of(y), base = frame * in_.frame;
    const Rows rows = local(y - frame * out_.frame);
    return {base + rows.first, base + rows.stop};
}

int64_t View::resolved(int64_t y, int64_t row) const {
    if (op_.kind == UNBANDS || single_ || delays_) return row;
    const int64_t base = op_.kind == BANDS ? 0 : frame_of(y) * in_.frame, size = op_.kind == BANDS ? in_.height : in_.frame;
    const int64_t inside = row - base;
    if (inside >= 0 && inside < size) return row;
    const int64_t found = resolve(pad_mode_, inside, size);
    return found < 0 ? -1 : base + found;
}

int64_t View::ready(int64_t y) const {
    Rows need = rows(y);
    if (input_ == 1 && need.first >= need.stop) return 0;  // only its size matters
    if (op_.kind == UNBANDS || single_ || delays_) return need.stop;
    if (in_.frame >= ENDLESS) need.stop = std::max(need.stop, height_with(y));
    const int64_t base = op_.kind == BANDS ? 0 : frame_of(y) * in_.frame, size = op_.kind == BANDS ? in_.height : in_.frame;
    int64_t stop = need.stop - base;
    const int64_t above = base - need.first;  // rows of padding above
    if (above > 0 && pad_mode_ == MIRROR) stop = std::max(stop, above + 1);
    if (above > 0 && pad_mode_ == SYMMETRIC) stop = std::max(stop, above);
    if (above > 0 && pad_mode_ == EDGE) stop = std::max<int64_t>(stop, 1);
    return base + std::clamp<int64_t>(stop, 0, size);
}

// The least height of an input whose end is not known yet that gives output row y at all.
int64_t View::height_with(int64_t y) const {
    if (op_.kind == CROP) return y + op_.top + op_.bottom + 1;
    if (op_.kind == CONV_TRANSPOSE2D) return ceil_div(y + 2 * op_.ph - op_.kh - op_.output_padding + 1, op_.stride) + 1;
    return 0;
}

// The lowest row of the input's frame that row y of the output's, or a later one, reads.
int64_t View::lowest(int64_t y) const {
    const int64_t size = op_.kind == BANDS ? in_.height : in_.frame;
    int64_t first, below = 0;  // rows of padding below the image that are mirrored back into it
    if (op_.kind == BANDS) {
        first = y - int64_t(op_.warm_up) * op_.rows, below = op_.rows - 1;
    } else {
        first = local(y).first;
        if (pad_mode_ == MIRROR && (op_.kind == CONV2D || op_.kind == LOW_CONV2D)) below = std::max(0, 2 * op_.ph + 1 - op_.kh);
        if (pad_mode_ == MIRROR && op_.kind == PAD) below = op_.bottom;
    }
    first -= below;
    if (size < ENDLESS) {
        const bool mirrors = pad_mode_ == MIRROR && (op_.kind == PAD || op_.kind == BANDS);
        first = std::min(first, mirrors ? size - 1 - below : size - (pad_mode_ == ZERO ? 0 : 1));
    }
    return std::max<int64_t>(first, 0);
}

int64_t View::keep(int64_t y) const {
    const Rows need = rows(y);
    if (single_) return 0;
    if (delays_) {
        const int64_t begin = frame_of(y) * out_.frame;
        if (begin == 0) return op_.mode == LAST ? out_.frame - 1 : 0;
        return op_.mode == SAME ? y - out_.frame : op_.mode == LAST ? begin - 1 : begin - out_.frame;
    }
    if (need.first >= need.stop && (op_.kind == RESIZE || op_.kind == UNBANDS) && input_ == 1) return ENDLESS * 2;  // only its size matters
    if (op_.kind == UNBANDS) return need.first;
    if (op_.kind == BANDS) return lowest(y);
    const int64_t frame = frame_of(y);
    return frame * in_.frame + lowest(y - frame * out_.frame);
}

int64_t period(const Plan &plan) {
    int64_t product = 1;
    bool grouped = false;
    for (const Op &op : plan.ops) {
        grouped = grouped || op.winograd;
        if ((op.kind == CONV2D || op.kind == MAX_POOL) && op.stride > 1) product *= op.stride;
        if (op.kind == PIXEL_UNSHUFFLE) product *= op.scale;
        if (op.kind == BANDS) product *= op.rows;
        if (product > (1 << 16)) return 1 << 16;
    }
    return grouped ? product * WINOGRAD_ROWS : product;
}

int64_t resolve(int pad_mode, int64_t index, int64_t size) {
    if (index >= 0 && index < size) return index;
    switch (pad_mode) {
        case EDGE: return index < 0 ? 0 : size - 1;
        case MIRROR: {
            if (size == 1) return 0;
            const int64_t turn = 2 * (size - 1);
            index = (index % turn + turn) % turn;
            return index < size ? index : turn - index;
        }
        case SYMMETRIC: {
            const int64_t turn = 2 * size;
            index = (index % turn + turn) % turn;
            return index < size ? index : turn - 1 - index;
        }
        default: return -1;
    }
}

ResizeTap resize_tap(const Op &op, int64_t position, int64_t in, int64_t out) {
    if (op.factor) in = 1, out = op.factor;  // the ratio is all that counts
    if (op.mode == NEAREST) return {position * in / out, 1, {1, 0, 0, 0}};
    const int64_t numerator = (2 * position + 1) * in - out, denominator = 2 * out;  // of the centre's place in the input
    const int64_t index = floor_div(numerator, denominator);
    const double rest = double(numerator - index * denominator) / double(denominator);
    if (op.mode == BILINEAR) return {index, 2, {float(1 - rest), float(rest), 0, 0}};
    ResizeTap tap{index - 1, 4, {}};
    const double a = op.coefficient;
    for (int k = 0; k < 4; ++k) {
        const double d = std::fabs(rest + 1 - k);
        tap.weight[k] = float(d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a);
    }
    return tap;
}

// Pointers and offsets; padded input columns; six transformed rows of each input channel; six sums of each output channel.
int64_t winograd_bytes(const Op &op) {
    const int64_t plane = round_up(TILE + op.kw - 1, 16) + 16;
    return round_up(int64_t(op.in) * 8, 64) + 256 * 4 + WINOGRAD_TAPS * plane * 4 + WINOGRAD_TAPS * (int64_t(op.in) * plane + int64_t(op.out) * (TILE + 16)) * 4;
}

int64_t low_run(const Op &op) { return round_up(TILE + op.kw - 1, 16); }

// Binary: no sums, but corrections of a tile and one number of each channel, a tile of zeros, and pointers to the taps.
int64_t low_sum_bytes(const Op &op) {
    const int64_t channels = round_up(op.out, 16);
    if (op.kind != BINARY_CONV2D) return channels * TILE * 4;
    return round_up((channels * (TILE + 1) + TILE) * 4 + op.kh * op.low_elements() * op.kw * int64_t(sizeof(void *)), 64);
}

int64_t scratch_bytes(const Op &op, int channels_in, int64_t width_in, int64_t width_out) {
    switch (op.kind) {
        case CONV2D:
        case CONV_TRANSPOSE2D: {
            if (op.winograd) return winograd_bytes(op);
            const int64_t rows = int64_t(op.in / op.groups) * op.kh, stride = op.kind == CONV2D ? op.stride : 1;
            const int64_t count = (TILE - 1) * stride + op.kw, run = round_up((count + stride - 1) / stride, 16);
            return OC_BLOCK * TILE * 4 + 256 * 4 + round_up(rows * 8, 64) + rows * run * stride * 4 + 256;
        }
        case BINARY_CONV2D:
        case LOW_CONV2D:
            return low_sum_bytes(op) + low_run(op) * 4 * (1 + op.kh * op.low_elements()) + round_up(op.kh * int64_t(sizeof(LowRow)), 64);
        case MAX_POOL: return round_up(width_in, TILE) * 4;
        case RESIZE: return (op.factor ? 0 : width_out * int64_t(sizeof(ResizeTap))) + ((1 + op.factor) * round_up(width_in, TILE) + 3 * TILE) * 4;
        case EDGE_SR: return int64_t(op.edge_sr.scratch_bytes(width_in));
        default: return 0;
    }
    (void)channels_in;
}

}  // namespace thinlens
