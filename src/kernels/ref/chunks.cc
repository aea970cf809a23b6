#include <algorithm>
#include <cmath>

#include "kernels/ref/reference.h"

namespace msa::ref {

void pool_chunks(ConstAnyMat x, std::span<const uint32_t> starts, size_t chunk_size,
                 size_t kv_heads, bool normalise, AnyMat out) {
  assert(chunk_size > 0 && x.cols == out.cols && x.cols % kv_heads == 0);
  const size_t D = x.cols / kv_heads;
  std::vector<double> mean(x.cols);
  size_t chunk = 0;
  for (size_t d = 0; d + 1 < starts.size(); ++d)
    for (size_t first = starts[d]; first < starts[d + 1]; first += chunk_size, ++chunk) {
      const size_t end = std::min<size_t>(first + chunk_size, starts[d + 1]);
      for (size_t c = 0; c < x.cols; ++c) {
        double sum = 0;
        for (size_t t = first; t < end; ++t) sum += get(x, t, c);
        mean[c] = sum / static_cast<double>(end - first);
      }
      for (size_t g = 0; normalise && g < kv_heads; ++g) {
        double squares = 0;
        for (size_t i = 0; i < D; ++i) squares += mean[g * D + i] * mean[g * D + i];
        const double norm = std::max(std::sqrt(squares), 1e-12);
        for (size_t i = 0; i < D; ++i) mean[g * D + i] /= norm;
      }
      for (size_t c = 0; c < x.cols; ++c) set(out, chunk, c, mean[c]);
    }
  assert(chunk == out.rows);
}

void copy_rows(ConstAnyMat from, AnyMat to) {
  assert(from.rows == to.rows && from.cols == to.cols);
  for (size_t r = 0; r < from.rows; ++r)
    for (size_t c = 0; c < from.cols; ++c) set(to, r, c, get(from, r, c));
}

}  // namespace msa::ref
