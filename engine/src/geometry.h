// What follows from a plan and an image's size, before any pixel moves: sizes of all values, and which rows an op reads.
#pragma once

#include <string>

#include "plan.h"

namespace thinlens {

constexpr int64_t MAX_SIDE = int64_t(1) << 26;
constexpr int64_t ENDLESS = int64_t(1) << 40;  // a height that is not known yet

// Size of a value. `frame`: rows that its ops see as one image: the height, or a band's.
struct Size {
    int64_t width = 0, height = 0, frame = 0;
    bool known() const { return height < ENDLESS; }
};

struct Rows {
    int64_t first, stop;
};

// Sizes of all values; false, with a message, if the plan cannot take an image of that size. height ENDLESS: not known.
bool value_sizes(const Plan &plan, int64_t width, int64_t height, Size *sizes, std::string &message);

// How an op looks at one of its inputs.
class View {
public:
    View(const Plan &plan, int node, int input, const Size *sizes);

    // Input rows behind output row y (both counted in the whole value), as they stand, before padding is resolved. Empty for an input
    // of which only the size matters.
    Rows rows(int64_t y) const;
    // The same for row y alone, where the op makes several rows together.
    Rows reads(int64_t y) const;
    // Where input row `row`, of those that `rows(y)` names, is read: a row of the value, or -1 for zeros.
    int64_t resolved(int64_t y, int64_t row) const;
    // One past the last input row that must be there before output row y can be made.
    int64_t ready(int64_t y) const;
    // The lowest input row that output row y, or any later one, reads.
    int64_t keep(int64_t y) const;

private:
    int64_t frame_of(int64_t y) const;
    int64_t lowest(int64_t y) const;
    int64_t height_with(int64_t y) const;
    Rows local(int64_t y) const;
    Rows delayed(int64_t y) const;
    const Op &op_;
    const Size &in_, &out_;
    int input_;
    int pad_mode_;
    bool single_;  // the input is one row, repeated
    bool delays_;  // the input is read one band late
};

// Output rows that `rows` input rows of a value of endless height let an op's later rows repeat after: 1, or a stride's period.
int64_t period(const Plan &plan);

}  // namespace thinlens
