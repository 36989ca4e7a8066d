// Values in low precision, and convolutions of them, one row at a time. Included once for each instruction set, after low_sums.h.
#pragma once

namespace {

using thinlens::LowRow;

// How floats become an element's bytes or halves. Numbers that are none, or too large, would be lost on the way: they are noted, but
// not what lies right of the image.
struct Levels {
    V inverse, low, high;
    I zero;
    V wrong = V::set(0.0f);    // not a number once any was infinite or none
    int64_t left = V::LANES;  // columns of the image from this vector on
    bool finite;               // nothing can be infinite or none
    Levels(float level, int zero_at, bool always_finite = false)
        : inverse(V::set(1.0f / level)), low(V::set(float(-zero_at))), high(V::set(float(255 - zero_at))), zero(I::set(zero_at)), finite(always_finite) {}
    void note(V x) {
        if (finite) return;
        if (left < V::LANES) {
            float lanes[V::LANES];
            x.store(lanes);
            for (int64_t i = left; i < V::LANES; ++i) lanes[i] = 0.0f;
            x = V::load(lanes);
        }
        wrong = V::fma(x, V::set(0.0f), wrong);
    }
    I byte(V x) {
        note(x);
        return I::rounded(V::min(high, V::max(low, x * inverse))) + zero;
    }
    I half(V x) {
        note(x);
        return I::bfloat16(x);
    }
    void report(std::atomic<bool> *not_a_number) const {
        float lanes[V::LANES];
        wrong.store(lanes);
        for (float lane : lanes)
            if (lane != lane) *not_a_number = true;
    }
};

// One vector of the element of channels whose values `channel(i)` gives; `count` of them exist.
template <class Channel>
I element_of(Levels &levels, int type, int count, const Channel &channel) {
    if (type == thinlens::BFLOAT16) {
        const I first = levels.half(channel(0));
        return count < 2 ? first : first | levels.half(channel(1)).template left<16>();
    }
    I element = levels.byte(channel(0));
    if (count > 1) element = element | levels.byte(channel(1)).template left<8>();
    if (count > 2) element = element | levels.byte(channel(2)).template left<16>();
    if (count > 3) element = element | levels.byte(channel(3)).template left<24>();
    return element;
}

int32_t *elements(void *row) { return static_cast<int32_t *>(row); }

void quantize(const Task &task) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    Levels levels(op.level, op.zero);
    const int per = thinlens::channels_of_element(op.precision);
    for (int c = 0; c < in.channels; c += op.out_type ? per : 1) {
        const float *row = in.rows[0] + int64_t(c) * in.plane;
        const int count = int(least(per, in.channels - c));
        float *out = task.out + int64_t(op.out_type ? c / per : c) * task.out_plane;
        for (int64_t x = 0; x < task.out_width; x += V::LANES) {
            const auto channel = [&](int i) { return V::load(row + i * in.plane + x); };
            levels.left = task.out_width - x;
            if (op.out_type)
                element_of(levels, op.precision, count, channel).store(elements(out) + x);
            else if (op.precision == thinlens::BFLOAT16)
                levels.half(channel(0)).template left<16>().as_float().store(out + x);
            else
                (levels.byte(channel(0)).number() + levels.low).store(out + x);
        }
    }
    levels.report(task.not_a_number);
}

// Copy columns [base, base + count) of a plane of elements; outside the image as the pad mode says, or `pad`.
void copy_elements(const Source &in, const float *row, int64_t base, int64_t count, int pad_mode, int32_t pad, int32_t *to) {
    const int64_t first = least(most(-base, 0), count), stop = most(first, least(count, in.width - base));
    if (first < stop) std::memcpy(to + first, row + base + first, size_t(stop - first) * 4);
    for (int64_t j = 0; j < count; ++j) {
        if (j == first && first < stop) j = stop;
        if (j >= count) break;
        const int64_t column = thinlens::resolve(pad_mode, base + j, in.width);
        to[j] = pad;
        if (column >= 0) std::memcpy(to + j, row + column, 4);
    }
}

struct LowScratch {
    LowRow *rows;
    int32_t *pad, *sums, *packed;
    int64_t run;  // elements of a packed plane
};

LowScratch low_scratch(const Task &task) {
    const Op &op = *task.op;
    char *at = static_cast<char *>(task.scratch);
    LowScratch scratch;
    scratch.run = thinlens::low_run(op);
    scratch.sums = elements(at), at += thinlens::low_sum_bytes(op);
    scratch.pad = elements(at), at += scratch.run * 4;
    scratch.packed = elements(at), at += int64_t(op.kh) * op.low_elements() * scratch.run * 4;
    scratch.rows = reinterpret_cast<LowRow *>(at);
    return scratch;
}

// Point at each kernel row's part of the tile that begins at column x0: where it lies, or a copy with the image's border made.
void point_at_rows(const Task &task, const LowScratch &scratch, int64_t x0, int64_t columns) {
    const Op &op = *task.op;
    const Source &in = task.in[0];
    const int32_t pad = op.precision == thinlens::INT8 ? int32_t(uint32_t(op.in_zero) * 0x01010101u) : 0;
    const int64_t base = x0 - op.pw, needed = columns + op.kw - 1;
    const bool direct = base >= 0 && base + needed <= in.width && base + scratch.run <= in.plane;
    for (int64_t x = 0; x < scratch.run; ++x) scratch.pad[x] = pad;
    int32_t *packed = scratch.packed;
    for (int ky = 0; ky < op.kh; ++ky) {
        const float *row = in.rows[ky];
        if (!row) {
            scratch.rows[ky] = {scratch.pad, 0};
        } else if (direct) {
            scratch.rows[ky] = {reinterpret_cast<const int32_t *>(row + base), in.plane};
        } else {
            scratch.rows[ky] = {packed, scratch.run};
            for (int64_t e = 0; e < op.low_elements(); ++e, packed += scratch.run)
                copy_elements(in, row + e * in.plane, base, needed, op.pad_mode, pad, packed);
        }
    }
}

// What the sums of one output channel become.
struct Finish {
    I correction;
    V scale, bias, slope;
    int act;
    bool bytes;
    Finish() = default;
    Finish(const Op &op, int c)
        : correction(I::set(op.precision == thinlens::INT8 ? op.corrections[c] : 0)),
          scale(V::set(op.scales ? op.scales[c] : 1.0f)),
          bias(V::set(op.bias ? op.bias[c] : 0.0f)),
          slope(V::set(op.act == thinlens::PRELU ? op.slopes[op.slope_count == 1 ? 0 : c] : op.slope)),
          // Bytes from 0 on cut off what is negative all the same, if there is no number to be noted before.
          act(op.act == thinlens::RELU && op.out_type == thinlens::INT8 && op.zero == 0 && op.finite ? thinlens::NONE : op.act),
          bytes(op.precision == thinlens::INT8) {}
    V operator()(const int32_t *sum) const {
        if (bytes) return activated(V::fma((I::load(sum) + correction).number(), scale, bias), act, slope);
        return activated(I::load(sum).as_float() + bias, act, slope);
    }
};

// Sums of bytes -> bytes, four whole channels from c on, no activation left to do and no number to note: nothing to decide on the way.
void finish_bytes(const Op &op, int c, const int32_t *sums, int64_t columns, const Levels &levels, int32_t *out) {
    const Finish finish[4] = {{op, c}, {op, c + 1}, {op, c + 2}, {op, c + 3}};
    for (int64_t x = 0; x < columns; x += V::LANES) {
        const auto byte = [&](int i) {
            const V value = V::fma((I::load(sums + i * TILE + x) + finish[i].correction).number(), finish[i].scale, finish[i].bias);
            return I::rounded(V::min(levels.high, V::max(levels.low, value * levels.inverse))) + levels.zero;
        };
        ((byte(0) | byte(1).left<8>()) | (byte(2).left<16>() | byte(3).left<24>())).store(out + x);
    }
}

// Sums of a tile -> the row's values there.
void finish_tile(const Task &task, const int32_t *sums, int64_t x0, int64_t columns, Levels &levels) {
    const Op &op = *task.op;
    const int per = op.out_type ? thinlens::channels_of_element(op.out_type) : 1;
    for (int c = 0; c < op.out; c += per) {
        const int count = int(least(per, op.out - c));
        float *out = task.out + int64_t(c / per) * task.out_plane + x0;
        Finish finish[4];
        if (op.finite && op.out_type == thinlens::INT8 && count == 4 && Finish(op, c).act == thinlens::NONE) {
            finish_bytes(op, c, sums + int64_t(c) * TILE, columns, levels, elements(out));
            continue;
        }
        for (int i = 0; i < count; ++i) finish[i] = Finish(op, c + i);
        for (int64_t x = 0; x < columns; x += V::LANES) {
            const auto channel = [&](int i) { return finish[i](sums + (c + i) * TILE + x); };
            levels.left = columns - x;
            if (op.out_type)
                element_of(levels, op.out_type, count, channel).store(elements(out) + x);
            else
                channel(0).store(out + x);
        }
    }
}

void low_conv2d(const Task &task) {
    const Op &op = *task.op;
    const LowScratch scratch = low_scratch(task);
    Levels levels(op.level, op.zero, op.finite);
    for (int64_t x0 = next_tile(task, -TILE); x0 < task.out_width; x0 = next_tile(task, x0)) {
        const int64_t columns = least(TILE, task.out_width - x0);
        point_at_rows(task, scratch, x0, columns);
        task.kernels->low_sums({&op, scratch.rows, columns, scratch.sums, TILE});
        finish_tile(task, scratch.sums, x0, columns, levels);
    }
    levels.report(task.not_a_number);
}

}  // namespace
