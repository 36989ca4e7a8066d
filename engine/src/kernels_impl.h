// The kernels of one instruction set, put together. Included by each kernels_*.cpp, which has chosen the vector type.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace {
const thinlens::EdgeSrKernels &thinlens_edge_sr();
}

#include "conv_kernels.h"
#include "winograd_kernels.h"
#include "low_sums.h"
#include "low_kernels.h"
#include "binary_tiles.h"
#include "binary_kernels.h"
#include "row_kernels.h"
#include "pixel_kernels.h"

namespace {

void run_task(const Task &task) {
    using namespace thinlens;
    switch (task.op->kind) {
        case PIXELS_IN: return pixels_in(task);
        case PIXELS_OUT: return pixels_out(task);
        case CONV2D: return conv2d(task);
        case CONV_TRANSPOSE2D: return conv_transpose2d(task);
        case ACTIVATION: return activation(task);
        case CLAMP: return clamp(task);
        case AFFINE: return affine(task);
        case ADD: return add(task);
        case MULTIPLY: return multiply(task);
        case CONCAT: return concat(task);
        case GATHER: return gather(task);
        case CHANNEL_MAX: return channel_max(task);
        case SOFTMAX_SUM: return softmax_sum(task);
        case PIXEL_SHUFFLE: return pixel_shuffle(task);
        case PIXEL_UNSHUFFLE: return pixel_unshuffle(task);
        case MAX_POOL: return max_pool(task);
        case RESIZE: return resize(task);
        case PAD: return pad(task);
        case CROP: return crop(task);
        case GLOBAL_MEAN:
        case GLOBAL_STD: return global_statistics(task);
        case BANDS:
        case UNBANDS: return copy_row(task);
        case EDGE_SR: return edge_sr(task);
        case QUANTIZE: return quantize(task);
        case LOW_CONV2D: return low_conv2d(task);
        case SIGN: return sign(task);
        case BINARY_CONV2D: return task.kernels->binary_conv2d(task);
        case LINE_DELAY: return line_delay(task);
        case LSTM_CELL: return lstm_cell(task);
        case KIND_END: return;
    }
}

}  // namespace
