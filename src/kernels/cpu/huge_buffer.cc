#include "kernels/cpu/huge_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#include "base/aligned_buffer.h"

namespace msa::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

HugeBuffer::HugeBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const bool huge = bytes >= kHugePage;
  if (bytes > SIZE_MAX - kCacheLine) throw std::bad_alloc();
  // To whole cache lines, not to whole huge pages: all of the last one would be resident.
  const size_t rounded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  void* memory = nullptr;
  if (::posix_memalign(&memory, huge ? kHugePage : kCacheLine, rounded) != 0)
    throw std::bad_alloc();
  data_.reset(static_cast<std::byte*>(memory));
  if (huge) ::madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: refusal is no error
}

void HugeBuffer::Free::operator()(std::byte* p) const {
  std::free(p);
}

}  // namespace msa::cpu
