// Stage 1: a document's tokens become pooled keys, values and routing keys.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/runtime.h"
#include "kernels/backend.h"
#include "model/weights.h"
#include "msa/result.h"

namespace msa {

// What the bank stores of a batch of documents, for each router layer in ascending order.
struct EncodedLayer {
  AlignedBuffer<std::byte> keys;     // [C, G*D]: routing keys
  AlignedBuffer<std::byte> content;  // [C, 2, G*D]: pooled key, then pooled value, of each chunk
};
struct EncodedBatch {
  DType dtype = DType::f32;          // of keys and content
  std::vector<uint32_t> chunks;      // per document
  size_t total_chunks = 0;           // C
  size_t kv_width = 0;               // G*D
  std::vector<EncodedLayer> layers;  // one per router layer
  std::vector<float> last_hidden;    // [T, d], final norm applied; only when asked for

  ConstAnyMat keys(size_t layer) const;           // [C, G*D]
  ConstAnyMat pooled_keys(size_t layer) const;    // [C, G*D], stride 2*G*D
  ConstAnyMat pooled_values(size_t layer) const;  // [C, G*D], stride 2*G*D
};

// Keys and values of the template prefix, per layer, [T0, G*D] each, in the computation's dtype.
struct PrefixKv {
  size_t tokens = 0;  // T0
  struct Layer {
    AlignedBuffer<std::byte> keys, values;
  };
  std::vector<Layer> layers;
  DType dtype = DType::f32;
  size_t kv_width = 0;
  std::vector<float> last_hidden;  // [T0, d], final norm applied
  ConstAnyMat keys(size_t layer) const;
  ConstAnyMat values(size_t layer) const;
};

// One caller at a time; keeps its scratch memory between calls.
class Encoder {
 public:
  Encoder(Backend& backend, std::shared_ptr<const Weights> weights);
  ~Encoder();

  // Encodes `documents` together, each alone with itself (positions from 0). Every document has at
  // least one and at most max_positions tokens, all within the vocabulary: an invalid_argument
  // error names the first that has not. Keys and content come in `stored` (f32 or bf16).
  Result<void> encode(std::span<const std::span<const int32_t>> documents, DType stored,
                      bool want_last_hidden, EncodedBatch& out);
  Result<PrefixKv> encode_prefix(std::span<const int32_t> tokens);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace msa
