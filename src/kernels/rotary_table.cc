#include <cmath>

#include "kernels/backend.h"

namespace msa {

RotaryTable RotaryTable::make(size_t positions, size_t head_dim, double theta) {
  assert(head_dim % 2 == 0);
  RotaryTable table;
  table.half = head_dim / 2;
  table.cos.resize(positions * table.half);
  table.sin.resize(positions * table.half);
  std::vector<double> frequencies(table.half);
  for (size_t i = 0; i < table.half; ++i)
    frequencies[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  for (size_t p = 0; p < positions; ++p)
    for (size_t i = 0; i < table.half; ++i) {
      const double angle = static_cast<double>(p) * frequencies[i];
      table.cos[p * table.half + i] = static_cast<float>(std::cos(angle));
      table.sin[p * table.half + i] = static_cast<float>(std::sin(angle));
    }
  return table;
}

}  // namespace msa
