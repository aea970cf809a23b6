// Memory for weights and other things that are read from end to end at full speed.
#pragma once

#include <cstddef>
#include <memory>

namespace msa::cpu {

// Uninitialised bytes, at least 64-byte aligned; move-only. Large buffers ask the system for huge
// pages: address translation would otherwise cost a tenth of the memory bandwidth.
class HugeBuffer {
 public:
  HugeBuffer() = default;
  explicit HugeBuffer(size_t bytes);  // throws std::bad_alloc

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

  // Makes room for at least `bytes`; the contents are lost when it grows. Returns the memory as T.
  template <class T>
  T* reserve(size_t count) {
    if (count * sizeof(T) > size_) {
      *this = HugeBuffer();  // first, so that the peak is not both
      *this = HugeBuffer(count * sizeof(T));
    }
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

}  // namespace msa::cpu
