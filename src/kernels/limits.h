// What this machine can do at best, measured by plain means: the limits that speeds are shares of.
#pragma once

#include <cstddef>
#include <span>

#include "base/mat_view.h"

namespace msa {

// Bytes per second at which `threads` threads (0: one per core) together read memory that is far
// larger than the caches. The best of several passes over 1 GiB; takes about half a second. Throws
// std::bad_alloc.
double measure_read_bandwidth(int threads);

// x [rows, inputs] times the transpose of W [outputs, inputs].
struct MatmulShape {
  size_t rows = 0, outputs = 0, inputs = 0;
};

// Floating-point operations per second (two per multiplication) of oneDNN's own matrix product,
// weights in the layout it likes best, in f32 or bf16 with float32 results. For each shape the best
// of several runs counts; the rate is that of all shapes one after the other. 0 where oneDNN has no
// such product. Throws std::bad_alloc.
double measure_matmul_rate(int threads, std::span<const MatmulShape> shapes, DType dtype);

}  // namespace msa
