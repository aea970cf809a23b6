// Loops over OpenMP. Kernels are serial functions of a range or a unit; these split the work.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>

namespace msa::train_kernels {

// Rows [begin, end).
struct Range {
  size_t begin = 0, end = 0;
};

// Part `i` of `parts` of [0, n). Sizes differ by at most one.
inline Range part_of(size_t n, size_t i, size_t parts) {
  const size_t each = n / parts, more = n % parts;
  const size_t begin = i * each + std::min(i, more);
  return {begin, begin + each + (i < more ? 1 : 0)};
}

// Calls body(unit, thread) for units 0 .. n-1 in any order, each on the next free thread; `thread`
// is below `threads`.
template <class Body>
void parallel_units(int threads, size_t n, const Body& body) {
  const int team = static_cast<int>(std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), n));
  if (team <= 1) {
    for (size_t unit = 0; unit < n; ++unit) body(unit, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (size_t unit = 0; unit < n; ++unit) body(unit, omp_get_thread_num());
}

// Calls body(range) for disjoint ranges that make up [0, n). Ranges are short enough for a thread
// that starts late to take over some, and long enough for small work to stay on one thread.
template <class Body>
void parallel_rows(int threads, size_t n, size_t row_elements, const Body& body) {
  constexpr size_t kElements = size_t{1} << 16;
  const size_t rows = std::max<size_t>(kElements / std::max<size_t>(row_elements, 1), 1);
  const size_t parts = (n + rows - 1) / rows;
  parallel_units(threads, parts, [&](size_t part, int) { body(part_of(n, part, parts)); });
}

}  // namespace msa::train_kernels
