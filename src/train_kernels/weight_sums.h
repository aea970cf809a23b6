// Gradients of weights that all rows share: sums over rows, the same for any number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/aligned_buffer.h"
#include "train_kernels/parallel.h"

namespace msa::train_kernels {

// Rows are split into parts by their number alone. Each part has its own sums (zero at first) and
// scratch memory of the same size; in the end the parts are added in order.
class WeightSums {
 public:
  WeightSums(size_t rows, size_t width)
      : rows_(rows),
        width_((width + kLine - 1) / kLine * kLine),
        parts_(std::max<size_t>((rows + kRows - 1) / kRows, 1)),
        memory_(parts_ * 2 * width_) {
    std::fill_n(memory_.data(), memory_.size(), 0.0f);
  }

  // Calls body(range, sums, scratch) for each part.
  template <class Body>
  void for_each_part(int threads, const Body& body) {
    parallel_units(threads, parts_, [&](size_t part, int) {
      float* sums = memory_.data() + part * 2 * width_;
      body(part_of(rows_, part, parts_), sums, sums + width_);
    });
  }

  // Empty: not wanted.
  void write(std::span<float> total) const {
    for (size_t i = 0; i < total.size(); ++i) {
      float sum = 0;
      for (size_t part = 0; part < parts_; ++part) sum += memory_[part * 2 * width_ + i];
      total[i] = sum;
    }
  }

 private:
  static constexpr size_t kRows = 256, kLine = kCacheLine / sizeof(float);
  size_t rows_, width_, parts_;
  AlignedBuffer<float> memory_;
};

}  // namespace msa::train_kernels
