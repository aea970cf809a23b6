// The CPU backend: shares the work of each operation out to the threads.
#include "kernels/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>

#include <hwy/targets.h>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/candidate_scan.h"
#include "kernels/cpu/compress.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/panel_scores.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/route_scan.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/tile_product.h"

namespace msa {
namespace cpu {
namespace {

// Elements below which waking another thread costs more than the work.
constexpr size_t kGrainElements = 16384;

size_t rows_per_thread(size_t cols) {
  return kGrainElements / (cols + 1) + 1;
}

class HostBuffer final : public DeviceBuffer {
 public:
  explicit HostBuffer(size_t bytes) : memory_(bytes) {}
  std::byte* data() override { return memory_.data(); }
  size_t size() const override { return memory_.size(); }

 private:
  HugeBuffer memory_;
};

// Tests keep Highway from what a lesser processor has not; the same holds for our own intrinsics.
bool native_integer_products() {
  return has_integer_products() && (hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX3_DL)) != 0;
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads)
      : threads_(threads),
        products_(threads),
        native_bf16_(has_bf16_tile_product() && products_.gemm().native_bf16()),
        attention_(threads, native_bf16_),
        scan_(threads, bf16_tiles()),
        candidate_scan_(threads, native_integer_products()) {}

  std::string describe() const override {
    const Gemm& gemm = products_.gemm();
    // Of the sets compiled in and supported, the lowest bit is the one dispatched to.
    const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
    return fmt::format("cpu: {}, oneDNN bf16 {}, f32 {}, {} thread{}",
                       hwy::TargetName(usable & -usable), gemm.kernel_name(DType::bf16),
                       gemm.kernel_name(DType::f32), threads_, threads_ == 1 ? "" : "s");
  }
  int threads() const override { return threads_; }

  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override {
    return std::make_unique<HostBuffer>(bytes);
  }
  void upload(std::byte* device, std::span<const std::byte> host) override {
    if (!host.empty()) std::memcpy(device, host.data(), host.size());
  }
  void download(std::span<std::byte> host, const std::byte* device) override {
    if (!host.empty()) std::memcpy(host.data(), device, host.size());
  }

  Result<std::unique_ptr<PackedMatrix>> pack(std::span<const ConstAnyMat> parts,
                                             DType compute) override {
    return products_.pack(parts, compute);
  }
  void matmul(ConstAnyMat x, const PackedMatrix& w, AnyMat y, bool accumulate) override {
    products_.matmul(x, static_cast<const CpuMatrix&>(w), y, accumulate);
  }

  void embed(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x) override {
    assert(x.rows == tokens.size() && x.cols == table.cols);
    parallel_ranges(threads_, x.rows, rows_per_thread(x.cols),
                    [&](Range range) { embed_rows(tokens, table, x, range); });
  }
  void rms_norm(MatView<const float> x, std::span<const float> weight, float eps,
                AnyMat y) override {
    assert(x.rows == y.rows && x.cols == y.cols && weight.size() == x.cols);
    parallel_ranges(threads_, x.rows, rows_per_thread(x.cols),
                    [&](Range range) { rms_norm_rows(x, weight, eps, y, range); });
  }
  void norm_rotary(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                   std::span<const int32_t> positions, const RotaryTable& table) override {
    assert(x.cols == heads * weight.size() && x.rows == positions.size());
    assert(2 * table.half == weight.size());
    parallel_ranges(threads_, x.rows, rows_per_thread(x.cols), [&](Range range) {
      norm_rotary_rows(x, heads, weight, eps, positions, table, range);
    });
  }
  void swiglu(ConstAnyMat gate_up, AnyMat y) override {
    assert(gate_up.cols == 2 * y.cols && gate_up.rows == y.rows && gate_up.dtype == y.dtype);
    parallel_ranges(threads_, y.rows, rows_per_thread(y.cols),
                    [&](Range range) { swiglu_rows(gate_up, y, range); });
  }

  void document_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v,
                          std::span<const uint32_t> starts, size_t kv_heads, size_t head_dim,
                          AnyMat out) override {
    attention_.documents(q, k, v, starts, kv_heads, head_dim, out);
  }
  void context_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                         size_t head_dim, AnyMat out) override {
    attention_.context(q, k, v, kv_heads, head_dim, out);
  }

  void pool_chunks(ConstAnyMat x, std::span<const uint32_t> starts, size_t chunk_size,
                   size_t kv_heads, bool normalise, AnyMat out) override {
    assert(chunk_size > 0 && x.cols == out.cols && x.cols % kv_heads == 0);
    const size_t documents = starts.empty() ? 0 : starts.size() - 1;
    first_chunk_.assign(1, 0);
    for (size_t i = 0; i < documents; ++i)
      first_chunk_.push_back(first_chunk_.back() +
                             (starts[i + 1] - starts[i] + chunk_size - 1) / chunk_size);
    assert(first_chunk_.back() == out.rows);
    auto* sums = sums_.reserve<float>(static_cast<size_t>(threads_) * x.cols);
    parallel_ranges(threads_, out.rows, rows_per_thread(x.cols * chunk_size), [&](Range range) {
      const std::span<float> sum(sums + static_cast<size_t>(omp_get_thread_num()) * x.cols, x.cols);
      size_t document = static_cast<size_t>(
          std::upper_bound(first_chunk_.begin(), first_chunk_.end(), range.begin) -
          first_chunk_.begin() - 1);
      for (size_t chunk = range.begin; chunk < range.end; ++chunk) {
        while (first_chunk_[document + 1] <= chunk) ++document;
        const size_t first = starts[document] + (chunk - first_chunk_[document]) * chunk_size;
        const size_t end = std::min<size_t>(first + chunk_size, starts[document + 1]);
        pool_rows(x.slice_rows(first, end - first), kv_heads, normalise, out.slice_rows(chunk, 1),
                  sum);
      }
    });
  }
  void copy_rows(ConstAnyMat from, AnyMat to) override {
    assert(from.rows == to.rows && from.cols == to.cols);
    parallel_ranges(threads_, from.rows, rows_per_thread(from.cols),
                    [&](Range range) { convert_rows(from, to, range); });
  }

  void route(const RouteRule& rule, std::span<const RouteQuery> requests,
             std::span<const KeyBlock> blocks, std::vector<std::vector<RouteHit>>& hits) override {
    scan_.run(rule, requests, blocks, hits);
  }
  void compress_keys(ConstAnyMat keys, const MutableCompressedKeys& to) override {
    assert(keys.rows == to.rows && keys.cols == to.width() && keys.dtype == to.full);
    const size_t G = to.kv_heads;
    fill_padding(to);
    std::fill_n(to.error_norms, G, 0.0f);
    std::fill_n(to.integer_norms, G, 0.0f);
    std::vector<float> norms(static_cast<size_t>(threads_) * 2 * G, 0);
    parallel_ranges(threads_, keys.rows, rows_per_thread(keys.cols), [&](Range range) {
      float* own = norms.data() + static_cast<size_t>(omp_get_thread_num()) * 2 * G;
      compress_rows(keys, to, range, {own, G}, {own + G, G});
    });
    for (size_t i = 0; i < norms.size(); i += 2 * G)
      for (size_t g = 0; g < G; ++g) {
        to.error_norms[g] = std::max(to.error_norms[g], norms[i + g]);
        to.integer_norms[g] = std::max(to.integer_norms[g], norms[i + G + g]);
      }
  }
  void route_candidates(const RouteRule& rule, std::span<const RouteQuery> requests,
                        std::span<const CompressedBlock> blocks,
                        std::vector<RouteCandidates>& found) override {
    candidate_scan_.run(rule, requests, blocks, found);
  }

 private:
  // oneDNN's products win where they run on AMX; else they cost a call for each tile.
  Bf16Tiles bf16_tiles() const {
    if (!native_bf16_) return Bf16Tiles::widened;
    const std::string_view kernel = products_.gemm().kernel_name(DType::bf16);
    return kernel.find("amx") == std::string_view::npos ? Bf16Tiles::native : Bf16Tiles::library;
  }

  int threads_;
  Products products_;
  bool native_bf16_;
  Attention attention_;
  RouteScan scan_;
  CandidateScan candidate_scan_;
  std::vector<size_t> first_chunk_;
  HugeBuffer sums_;
};

}  // namespace
}  // namespace cpu

Result<std::unique_ptr<Backend>> make_cpu_backend(const Runtime& runtime) {
  try {
    return std::make_unique<cpu::CpuBackend>(resolve_threads(runtime.threads));
  } catch (const dnnl::error& error) {
    return Error{Code::internal,
                 fmt::format("oneDNN: {}; is libdnnl for this processor?", error.what())};
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, "cpu backend: not enough memory; free some"};
  }
}

}  // namespace msa
