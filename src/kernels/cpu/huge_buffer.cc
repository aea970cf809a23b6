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
  const size_t alignment = huge ? kHugePage : kCacheLine;
  if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)));
  if (!data_) throw std::bad_alloc();
  if (huge) ::madvise(data_.get(), rounded, MADV_HUGEPAGE);  // a wish: refusal is no error
}

void HugeBuffer::Free::operator()(std::byte* p) const {
  std::free(p);
}

}  // namespace msa::cpu
