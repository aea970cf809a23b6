// Data-parallel loops over OpenMP. Kernels are serial functions of a range; these split the range.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>

namespace msa::cpu {

// Part `i` of `parts` of [0, n): [begin, end). Sizes differ by at most one.
struct Range {
  size_t begin = 0, end = 0;
};
inline Range part_of(size_t n, size_t i, size_t parts) {
  const size_t each = n / parts, more = n % parts;
  const size_t begin = i * each + std::min(i, more);
  return {begin, begin + each + (i < more ? 1 : 0)};
}

// Calls body(range) for disjoint ranges that make up [0, n), one per thread, none shorter than
// `grain` (but the only one): small work is not worth waking a thread.
template <class Body>
void parallel_ranges(int threads, size_t n, size_t grain, const Body& body) {
  const size_t parts =
      std::min<size_t>(static_cast<size_t>(threads), n / std::max<size_t>(grain, 1));
  if (parts <= 1) {
    if (n > 0) body(Range{0, n});
    return;
  }
#pragma omp parallel num_threads(static_cast <int>(parts))
  {
    // The runtime may give fewer threads than asked for.
    const size_t team = static_cast<size_t>(omp_get_num_threads());
    const Range range = part_of(n, static_cast<size_t>(omp_get_thread_num()), team);
    if (range.begin < range.end) body(range);
  }
}

// Calls body(unit, thread) for units 0 .. n-1 in any order, each on the next free thread.
template <class Body>
void parallel_units(int threads, size_t n, const Body& body) {
  const int team = static_cast<int>(std::min<size_t>(static_cast<size_t>(threads), n));
  if (team <= 1) {
    for (size_t unit = 0; unit < n; ++unit) body(unit, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (size_t unit = 0; unit < n; ++unit) body(unit, omp_get_thread_num());
}

// Sets how many threads OpenMP regions of libraries called from here use, until the end of scope.
class LibraryThreads {
 public:
  explicit LibraryThreads(int threads) : before_(omp_get_max_threads()) {
    if (threads != before_) omp_set_num_threads(threads);
  }
  LibraryThreads(const LibraryThreads&) = delete;
  LibraryThreads& operator=(const LibraryThreads&) = delete;
  ~LibraryThreads() {
    if (omp_get_max_threads() != before_) omp_set_num_threads(before_);
  }

 private:
  int before_;
};

}  // namespace msa::cpu
