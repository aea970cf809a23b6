// Memory of CPU tensors, kept between steps.
#pragma once

#include <cstdint>

namespace msa::train {

// A training step makes and drops the same large tensors as the step before. Left alone, the
// allocator gives each back to the kernel and gets it anew, every page of it filled with zeros;
// told to keep all, it lets memory grow, because sizes vary a little from step to step and old gaps
// do not fit. So large blocks are kept here, in sizes of eight steps per power of two, and given
// back when they have not been used for some steps.
//
// From the first call on, libtorch takes the memory of CPU tensors from here. Any thread.
void keep_tensor_memory();

// Marks the end of a step: frees blocks that have lain idle for several.
void tensor_memory_step_done();

struct TensorMemory {
  uint64_t used = 0;  // bytes of large blocks in tensors
  uint64_t kept = 0;  // bytes of large blocks waiting for one
};
TensorMemory tensor_memory();

}  // namespace msa::train
