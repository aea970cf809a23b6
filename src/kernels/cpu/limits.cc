#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/limits.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>

#include <oneapi/dnnl/dnnl.hpp>

#include "base/runtime.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/limits.h"

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Combines all of `count` words, a multiple of 1024, in a way that no compiler leaves out.
uint64_t read_all(const uint64_t* HWY_RESTRICT words, size_t count) {
  const hn::ScalableTag<uint64_t> d;
  const size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (size_t i = 0; i < count; i += 4 * lanes) {
    a = hn::Xor(a, hn::Load(d, words + i));
    b = hn::Xor(b, hn::Load(d, words + i + lanes));
    c = hn::Xor(c, hn::Load(d, words + i + 2 * lanes));
    e = hn::Xor(e, hn::Load(d, words + i + 3 * lanes));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Xor(hn::Xor(a, b), hn::Xor(c, e))));
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa {
namespace cpu {
namespace {
HWY_EXPORT(read_all);

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double matmul_seconds(int threads, const MatmulShape& shape, DType dtype) {
  using Memory = dnnl::memory;
  const LibraryThreads scope(threads);
  const auto M = static_cast<Memory::dim>(shape.rows), N = static_cast<Memory::dim>(shape.outputs),
             K = static_cast<Memory::dim>(shape.inputs);
  const auto type = dtype == DType::bf16 ? Memory::data_type::bf16 : Memory::data_type::f32;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const dnnl::matmul::primitive_desc desc(
      dnnl::matmul::desc(Memory::desc({M, K}, type, Memory::format_tag::ab),
                         Memory::desc({K, N}, type, Memory::format_tag::any),
                         Memory::desc({M, N}, Memory::data_type::f32, Memory::format_tag::ab)),
      engine);
  HugeBuffer x(desc.src_desc().get_size()), w(desc.weights_desc().get_size()),
      y(desc.dst_desc().get_size());
  // Small normal numbers: zeros or subnormals might run at another speed. 0x3c3c is one in bf16,
  // and twice that in f32.
  std::memset(x.data(), 0x3c, x.size());
  std::memset(w.data(), 0x3c, w.size());
  Memory x_memory(desc.src_desc(), engine, x.data()),
      w_memory(desc.weights_desc(), engine, w.data()), y_memory(desc.dst_desc(), engine, y.data());
  const dnnl::matmul matmul(desc);
  double best = std::numeric_limits<double>::infinity(), spent = 0;
  for (int run = 0; run < 3 || (run < 50 && spent < 0.3); ++run) {
    const double seconds = seconds_of([&] {
      matmul.execute(
          stream,
          {{DNNL_ARG_SRC, x_memory}, {DNNL_ARG_WEIGHTS, w_memory}, {DNNL_ARG_DST, y_memory}});
      stream.wait();
    });
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

}  // namespace
}  // namespace cpu

double measure_read_bandwidth(int threads) {
  constexpr size_t kWords = (size_t{1} << 30) / sizeof(uint64_t), kUnit = 1024;
  constexpr int kPasses = 8;
  threads = resolve_threads(threads);
  cpu::HugeBuffer memory(kWords * sizeof(uint64_t));
  auto* words = reinterpret_cast<uint64_t*>(memory.data());
  const auto each_part = [&](const auto& body) {
    cpu::parallel_ranges(threads, kWords / kUnit, 1, [&](cpu::Range units) {
      body(words + units.begin * kUnit, (units.end - units.begin) * kUnit);
    });
  };
  // Written by the thread that reads it, so that it lies in that thread's part of the memory.
  each_part([](uint64_t* part, size_t count) { std::fill_n(part, count, 1); });
  double best = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < kPasses; ++pass)
    best = std::min(best, cpu::seconds_of([&] {
                      each_part([](const uint64_t* part, size_t count) {
                        volatile uint64_t kept = HWY_DYNAMIC_DISPATCH(cpu::read_all)(part, count);
                        (void)kept;
                      });
                    }));
  return static_cast<double>(memory.size()) / best;
}

double measure_matmul_rate(int threads, std::span<const MatmulShape> shapes, DType dtype) {
  double operations = 0, seconds = 0;
  try {
    for (const MatmulShape& shape : shapes) {
      seconds += cpu::matmul_seconds(resolve_threads(threads), shape, dtype);
      operations += 2.0 * static_cast<double>(shape.rows) * static_cast<double>(shape.outputs) *
                    static_cast<double>(shape.inputs);
    }
  } catch (const dnnl::error&) {
    return 0;
  }
  return seconds > 0 ? operations / seconds : 0;
}

}  // namespace msa
#endif
