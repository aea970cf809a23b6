#include "train/loop/tensor_memory.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace msa::train {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kLarge = size_t{64} << 10;  // smaller blocks are the C library's
constexpr size_t kHugePage = size_t{2} << 20;
constexpr uint64_t kIdleSteps = 6;

// `bytes` rounded up to one of eight sizes between neighbouring powers of two.
size_t rounded(size_t bytes) {
  const size_t grain = std::bit_floor(bytes) / 8;
  return (bytes + grain - 1) / grain * grain;
}

// A block that no tensor uses.
struct Block {
  void* memory = nullptr;
  uint64_t idle_since = 0;  // step
};

void* new_memory(size_t size) {
  // Aligned to huge pages, large blocks can be made of them: fewer faults, fewer table look-ups.
  const size_t alignment = size >= kHugePage ? kHugePage : kAlignment;
  void* memory = nullptr;
  if (::posix_memalign(&memory, alignment, size) != 0) return nullptr;
  if (size >= kHugePage) ::madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}

class Blocks {
 public:
  // Lives as long as the process: tensors may be dropped while it ends.
  static Blocks& all() {
    static Blocks* const blocks = new Blocks;
    return *blocks;
  }

  void* take(size_t bytes) {
    const size_t size = rounded(bytes);
    {
      const std::lock_guard lock(mutex_);
      // A block of the next larger size will do as well.
      for (const size_t fitting : {size, rounded(size + 1)})
        if (const auto kept = kept_.find(fitting); kept != kept_.end() && !kept->second.empty()) {
          const Block block = kept->second.back();
          kept->second.pop_back();
          count_.kept -= fitting;
          count_.used += fitting;
          used_.emplace(block.memory, fitting);
          return block.memory;
        }
    }
    void* memory = new_memory(size);
    if (memory == nullptr) {  // better slow than not at all
      free_idle(/*since=*/UINT64_MAX);
      memory = new_memory(size);
      if (memory == nullptr) throw std::bad_alloc();
    }
    const std::lock_guard lock(mutex_);
    count_.used += size;
    used_.emplace(memory, size);
    return memory;
  }

  // Takes back a block; false if this is none of them.
  bool give(void* memory) {
    const std::lock_guard lock(mutex_);
    const auto used = used_.find(memory);
    if (used == used_.end()) return false;
    const size_t size = used->second;
    used_.erase(used);
    kept_[size].push_back({memory, step_});
    count_.used -= size;
    count_.kept += size;
    return true;
  }

  void step_done() {
    uint64_t step = 0;
    {
      const std::lock_guard lock(mutex_);
      step = ++step_;
    }
    if (step > kIdleSteps) free_idle(step - kIdleSteps);
  }

  TensorMemory count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  // Frees what has not been used after step `since`. The block given back last is taken first, so
  // the idle ones are in front.
  void free_idle(uint64_t since) {
    const std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : kept_) {
      size_t idle = 0;
      while (idle < blocks.size() && blocks[idle].idle_since < since) ++idle;
      for (size_t i = 0; i < idle; ++i) {
        count_.kept -= size;
        std::free(blocks[i].memory);
      }
      blocks.erase(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(idle));
    }
  }

  std::mutex mutex_;
  uint64_t step_ = 0;
  std::map<size_t, std::vector<Block>> kept_;  // by size as rounded()
  std::unordered_map<void*, size_t> used_;
  TensorMemory count_;
};

// libtorch's versions differ in whether allocate() is const and whether copy_data() is asked for.
// Both forms are here; those that the base class declares override it.
class KeepingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) const { return make(bytes); }
  c10::DataPtr allocate(size_t bytes) { return make(bytes); }
  void copy_data(void* to, const void* from, std::size_t bytes) const {
    std::memcpy(to, from, bytes);
  }

  c10::DeleterFnPtr raw_deleter() const { return &drop; }

 private:
  static c10::DataPtr make(size_t bytes) {
    void* memory = nullptr;
    if (bytes >= kLarge)
      memory = Blocks::all().take(bytes);
    else if (bytes > 0 && ::posix_memalign(&memory, kAlignment, bytes) != 0)
      throw std::bad_alloc();
    return {memory, memory, &drop, c10::Device(c10::DeviceType::CPU)};
  }
  static void drop(void* memory) {
    if (memory != nullptr && !Blocks::all().give(memory)) std::free(memory);
  }
};

}  // namespace

void keep_tensor_memory() {
  static KeepingAllocator* const allocator = new KeepingAllocator;
  c10::SetCPUAllocator(allocator, /*priority=*/100);
}

void tensor_memory_step_done() {
  Blocks::all().step_done();
}

TensorMemory tensor_memory() {
  return Blocks::all().count();
}

}  // namespace msa::train
