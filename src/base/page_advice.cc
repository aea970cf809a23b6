#include "base/page_advice.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace msa {

void fetch_ahead(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = begin / page * page;
  (void)::madvise(reinterpret_cast<void*>(first), begin + bytes.size() - first, MADV_WILLNEED);
}

}  // namespace msa
