// Signs of values, and binary convolutions of them, one row at a time. Included once for each instruction set, after binary_tiles.h.
#pragma once

namespace {

// A set bit for -1. A threshold is never -0, so no sum is.
void sign(const Task &task) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    constexpr int N = I::PER_BLOCK, PER = thinlens::channels_of_element(thinlens::BINARY);
    const I top = I::set(int32_t(0x80000000u));
    Levels levels(1.0f, 0);
    for (int first = 0; first < in.channels; first += PER) {
        const int stop = int(least(first + PER, in.channels));
        int32_t *out = elements(task.out) + int64_t(first / PER) * task.out_plane;
        for (int64_t x0 = 0; x0 < task.out_width; x0 += N * I::LANES) {
            I element[N];
            for (int n = 0; n < N; ++n) element[n] = I::set(0);
            for (int c = first; c < stop; ++c) {
                const float *row = in.rows[0] + int64_t(c) * in.plane + x0;
                const V threshold = V::set(op.bias[c] + 0.0f);
                for (int n = 0; n < N; ++n) {
                    const V x = V::load(row + n * I::LANES);
                    levels.left = most(0, task.out_width - x0 - n * I::LANES);
                    levels.note(x);
                    element[n] = element[n].right<1>() | (I::bits(x + threshold) & top);
                }
            }
            for (int n = 0; n < N; ++n) {
                for (int c = stop; c < first + PER; ++c) element[n] = element[n].right<1>();
                element[n].store(out + x0 + n * I::LANES);
            }
        }
    }
    levels.report(task.not_a_number);
}

// The sum of a channel's weights that kernel column kx has in the rows inside the image, or outside it.
int32_t weights_at(const Task &task, int channel, int kx, bool inside) {
    const Op &op = *task.op;
    int32_t sum = 0;
    for (int ky = 0; ky < op.kh; ++ky)
        if ((task.in[0].rows[ky] != nullptr) == inside) sum += op.corrections[(int64_t(channel) * op.kh + ky) * op.kw + kx];
    return sum;
}

// Padding is counted as +1. What is wrong by that, twice the bits that differ: of rows above and below, a number a channel ...
void correct_rows(const Task &task, int32_t *outside) {
    const Op &op = *task.op;
    bool edge = false;
    for (int ky = 0; ky < op.kh; ++ky) edge = edge || !task.in[0].rows[ky];
    for (int o = 0; o < op.out; ++o) {
        outside[o] = 0;
        for (int kx = 0; edge && kx < op.kw; ++kx) outside[o] += (1 - op.pad_value) * weights_at(task, o, kx, false);
    }
}

// ... and of columns at the sides, in the rows between, a number a pixel. Whether there are any in this tile.
bool correct_sides(const Task &task, int64_t x0, int64_t columns, int32_t *edges) {
    const Op &op = *task.op;
    const int64_t width = task.in[0].width;
    if (op.pad_value == 1 || (x0 >= op.pw && x0 + columns - 1 - op.pw + op.kw <= width)) return false;
    std::memset(edges, 0, size_t(op.out) * TILE * 4);
    for (int64_t x = x0; x < x0 + columns; ++x) {
        if (x >= op.pw && x - op.pw + op.kw <= width) continue;
        for (int o = 0; o < op.out; ++o)
            for (int kx = 0; kx < op.kw; ++kx)
                if (x - op.pw + kx < 0 || x - op.pw + kx >= width) edges[o * TILE + x - x0] += (1 - op.pad_value) * weights_at(task, o, kx, true);
    }
    return true;
}

// Where each tap of a tile begins: kernel row, element, kernel column.
void point_at_taps(const Op &op, const LowRow *rows, const int32_t **taps) {
    for (int ky = 0; ky < op.kh; ++ky)
        for (int64_t e = 0; e < op.low_elements(); ++e)
            for (int kx = 0; kx < op.kw; ++kx) *taps++ = rows[ky].first + e * rows[ky].plane + kx;
}

void binary_conv2d(const Task &task) {
    const Op &op = *task.op;
    const LowScratch scratch = low_scratch(task);
    const int64_t channels = thinlens::round_up(op.out, 16);
    int32_t *edges = scratch.sums, *outside = edges + channels * TILE, *zeros = outside + channels;
    const int32_t **taps = reinterpret_cast<const int32_t **>(zeros + TILE);
    std::memset(zeros, 0, TILE * 4);
    correct_rows(task, outside);
    BinaryTile tile{&task, taps, op.kh * op.low_elements() * op.kw, 0, 0, nullptr, outside, reinterpret_cast<const float *>(zeros)};
    for (int64_t x0 = next_tile(task, -TILE); x0 < task.out_width; x0 = next_tile(task, x0)) {
        tile.x0 = x0, tile.columns = least(TILE, task.out_width - x0);
        point_at_rows(task, scratch, x0, tile.columns);
        point_at_taps(op, scratch.rows, taps);
        tile.edges = correct_sides(task, x0, tile.columns, edges) ? edges : nullptr;
        binary_tile(tile);
    }
}

}  // namespace
