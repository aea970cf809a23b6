// The seam between the model and the machine: a small set of operations on views, which knows no
// model. Chosen once, at run time; every operation has a plain scalar twin (kernels/ref), which is
// the oracle in tests.
//
// Symbols: T tokens, H query heads, G key/value heads, D head size, d hidden size, P tokens per
// chunk, C chunks, M routing tokens.
//
// Memory that operations read or write comes from allocate(); on the CPU it is ordinary memory and
// views may look anywhere. "act" marks activations, whose dtype is the computation's: f32 or bf16,
// the same in all arguments of a call. Sums are always float32. Shapes that do not fit each other
// are bugs (assert). Operations may use all of the backend's threads inside; one caller at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mat_view.h"
#include "base/runtime.h"
#include "kernels/compressed_keys.h"
#include "kernels/route.h"
#include "msa/result.h"

namespace msa {

// A weight matrix in the layout the backend multiplies fastest. Made by Backend::pack; immutable.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  virtual size_t outputs() const = 0;  // rows of the original
  virtual size_t inputs() const = 0;   // columns of the original
  virtual size_t bytes() const = 0;
};

// Memory on the backend's device, 64-byte aligned, freed with the object.
class DeviceBuffer {
 public:
  virtual ~DeviceBuffer() = default;
  virtual std::byte* data() = 0;  // a device address: only the backend may dereference it
  virtual size_t size() const = 0;
};

// cos and sin of position * theta^(-2i/D) for i < D/2, [positions, D/2] each.
struct RotaryTable {
  std::vector<float> cos, sin;
  size_t half = 0;  // D/2
  static RotaryTable make(size_t positions, size_t head_dim, double theta);
  size_t positions() const { return half == 0 ? 0 : cos.size() / half; }
};

class Backend {
 public:
  virtual ~Backend() = default;
  // For people, for example "cpu: AVX3_DL, oneDNN bf16 avx512_core_bf16, 2 threads".
  virtual std::string describe() const = 0;
  virtual int threads() const = 0;

  // --- memory ---
  virtual std::unique_ptr<DeviceBuffer> allocate(size_t bytes) = 0;  // throws std::bad_alloc
  virtual void upload(std::byte* device, std::span<const std::byte> host) = 0;
  virtual void download(std::span<std::byte> host, const std::byte* device) = 0;

  // --- dense products ---
  // Packs the row-wise concatenation of `parts`, each [outputs_i, inputs] of f32, f16 or bf16 (rows
  // need no alignment), for computation in `compute` (f32 or bf16).
  virtual Result<std::unique_ptr<PackedMatrix>> pack(std::span<const ConstAnyMat> parts,
                                                     DType compute) = 0;
  // y = x * W^T, or y += x * W^T.  x act [T, inputs], y [T, outputs] f32 or act; accumulate needs
  // an f32 y. Any T >= 1; one-row products read W at memory speed.
  virtual void matmul(ConstAnyMat x, const PackedMatrix& w, AnyMat y, bool accumulate) = 0;

  // --- around the products ---
  // x [T, d] f32 = rows of table [vocabulary, d] (f32, f16 or bf16). Ids must be in range.
  virtual void embed(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x) = 0;
  // y act [T, d] = x / sqrt(mean(x^2) + eps) * weight.  x f32 [T, d], weight [d].
  virtual void rms_norm(MatView<const float> x, std::span<const float> weight, float eps,
                        AnyMat y) = 0;
  // In place on act [T, heads*D]: RMSNorm per head with weight [D], then half-split rotary
  // embedding at positions[t] (all below table.positions()).
  virtual void norm_rotary(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                           std::span<const int32_t> positions, const RotaryTable& table) = 0;
  // y act [T, F] = silu(gate) * up, gate_up act [T, 2F] holding gate in the first F columns.
  virtual void swiglu(ConstAnyMat gate_up, AnyMat y) = 0;

  // --- attention: softmax(q k^T / sqrt(D)) v, query head h reads key/value head h / (H/G) ---
  // Documents packed one after the other: document i is rows starts[i] .. starts[i+1]-1, each
  // attends causally within itself.  q, out act [T, H*D]; k, v act [T, G*D].
  virtual void document_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v,
                                  std::span<const uint32_t> starts, size_t kv_heads,
                                  size_t head_dim, AnyMat out) = 0;
  // The T queries are the last T of S keys: query t sees keys 0 .. S-T+t.
  // q, out act [T, H*D]; k, v act [S, G*D].
  virtual void context_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                                 size_t head_dim, AnyMat out) = 0;

  // --- chunks ---
  // Means of consecutive runs of P rows within each document (starts as above); the last run may be
  // shorter. x [T, G*D] f32 or bf16; out [C, G*D] f32 or bf16. `normalise`: each head of the mean
  // is then divided by its L2 norm (at least 1e-12).
  virtual void pool_chunks(ConstAnyMat x, std::span<const uint32_t> starts, size_t chunk_size,
                           size_t kv_heads, bool normalise, AnyMat out) = 0;
  // Copies rows, converting between f32 and bf16 where the dtypes differ.
  virtual void copy_rows(ConstAnyMat from, AnyMat to) = 0;

  // --- routing ---
  // For each request the k best documents, best first, fewer if there are fewer: one pass over the
  // keys for all of them, with the results that each would get alone. Queries are not yet
  // normalised or scaled. Scratch memory does not grow with C.
  virtual void route(const RouteRule& rule, std::span<const RouteQuery> requests,
                     std::span<const KeyBlock> blocks,
                     std::vector<std::vector<RouteHit>>& hits) = 0;
  void route(const RouteRule& rule, MatView<const float> router_q, std::span<const KeyBlock> blocks,
             size_t k, std::vector<RouteHit>& hits);
  // Rounds keys [C, G*D] of to.full to integers, each head of a row with a scale of its own. `to`
  // has room for all and is of allocate()'s memory.
  virtual void compress_keys(ConstAnyMat keys, const MutableCompressedKeys& to) = 0;
  // For each request the documents that may be among its k best by the keys that were compressed:
  // one pass, scratch memory that does not grow with C. Queries must be finite.
  virtual void route_candidates(const RouteRule& rule, std::span<const RouteQuery> requests,
                                std::span<const CompressedBlock> blocks,
                                std::vector<RouteCandidates>& found) = 0;
};

// Plain loops, one thread, every dtype: the oracle. Not meant to be fast.
std::unique_ptr<Backend> make_reference_backend();
// oneDNN and Highway, dispatched to what this processor has.
Result<std::unique_ptr<Backend>> make_cpu_backend(const Runtime& runtime);

}  // namespace msa
