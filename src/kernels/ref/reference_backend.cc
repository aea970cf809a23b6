// The scalar twins as a Backend.

#include <cstring>

#include "base/aligned_buffer.h"
#include "kernels/backend.h"
#include "kernels/ref/reference.h"

namespace msa {
namespace {

class HostBuffer : public DeviceBuffer {
 public:
  explicit HostBuffer(size_t bytes) : memory_(bytes) {}
  std::byte* data() override { return memory_.data(); }
  size_t size() const override { return memory_.size(); }

 private:
  AlignedBuffer<std::byte> memory_;
};

class ReferenceBackend : public Backend {
 public:
  std::string describe() const override { return "reference: scalar loops, 1 thread"; }
  int threads() const override { return 1; }

  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override {
    return std::make_unique<HostBuffer>(bytes);
  }
  void upload(std::byte* device, std::span<const std::byte> host) override {
    std::memcpy(device, host.data(), host.size());
  }
  void download(std::span<std::byte> host, const std::byte* device) override {
    std::memcpy(host.data(), device, host.size());
  }

  Result<std::unique_ptr<PackedMatrix>> pack(std::span<const ConstAnyMat> parts,
                                             DType compute) override {
    return ref::pack(parts, compute);
  }
  void matmul(ConstAnyMat x, const PackedMatrix& w, AnyMat y, bool accumulate) override {
    ref::matmul(x, w, y, accumulate);
  }

  void embed(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x) override {
    ref::embed(tokens, table, x);
  }
  void rms_norm(MatView<const float> x, std::span<const float> weight, float eps,
                AnyMat y) override {
    ref::rms_norm(x, weight, eps, y);
  }
  void norm_rotary(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                   std::span<const int32_t> positions, const RotaryTable& table) override {
    ref::norm_rotary(x, heads, weight, eps, positions, table);
  }
  void swiglu(ConstAnyMat gate_up, AnyMat y) override { ref::swiglu(gate_up, y); }

  void document_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v,
                          std::span<const uint32_t> starts, size_t kv_heads, size_t head_dim,
                          AnyMat out) override {
    ref::document_attention(q, k, v, starts, kv_heads, head_dim, out);
  }
  void context_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                         size_t head_dim, AnyMat out) override {
    ref::context_attention(q, k, v, kv_heads, head_dim, out);
  }

  void pool_chunks(ConstAnyMat x, std::span<const uint32_t> starts, size_t chunk_size,
                   size_t kv_heads, bool normalise, AnyMat out) override {
    ref::pool_chunks(x, starts, chunk_size, kv_heads, normalise, out);
  }
  void copy_rows(ConstAnyMat from, AnyMat to) override { ref::copy_rows(from, to); }

  void route(const RouteRule& rule, std::span<const RouteQuery> requests,
             std::span<const KeyBlock> blocks, std::vector<std::vector<RouteHit>>& hits) override {
    hits.resize(requests.size());
    for (size_t r = 0; r < requests.size(); ++r)
      ref::route(rule, requests[r].router_q, blocks, requests[r].k, hits[r]);
  }
  void compress_keys(ConstAnyMat keys, const MutableCompressedKeys& to) override {
    ref::compress_keys(keys, to);
  }
  void route_candidates(const RouteRule& rule, std::span<const RouteQuery> requests,
                        std::span<const CompressedBlock> blocks,
                        std::vector<RouteCandidates>& found) override {
    found.resize(requests.size());
    for (size_t r = 0; r < requests.size(); ++r)
      ref::route_candidates(rule, requests[r].router_q, blocks, requests[r].k, found[r]);
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace msa
