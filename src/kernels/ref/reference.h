// The scalar twins of the operations in backend.h, one function each, written to be obviously
// right: they read like the formulas, sum in double and take any dtype. Arguments are as in
// backend.h.
#pragma once

#include <cassert>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace msa::ref {

// Element (r, c) of a matrix, whatever its dtype.
inline double get(ConstAnyMat m, size_t r, size_t c) {
  assert(r < m.rows && c < m.cols);
  const std::byte* p = m.data + (r * m.stride + c) * size_of(m.dtype);
  switch (m.dtype) {
    case DType::f32: return *reinterpret_cast<const float*>(p);
    case DType::bf16: return reinterpret_cast<const bf16*>(p)->to_float();
    case DType::f16: return reinterpret_cast<const f16*>(p)->to_float();
    case DType::i64: break;
  }
  assert(false && "not a matrix of numbers to compute with");
  return 0;
}

inline void set(AnyMat m, size_t r, size_t c, double value) {
  assert(r < m.rows && c < m.cols);
  assert(m.dtype == DType::f32 || m.dtype == DType::bf16);
  std::byte* p = m.data + (r * m.stride + c) * size_of(m.dtype);
  if (m.dtype == DType::f32)
    *reinterpret_cast<float*>(p) = static_cast<float>(value);
  else
    *reinterpret_cast<bf16*>(p) = bf16::from_float(static_cast<float>(value));
}

std::unique_ptr<PackedMatrix> pack(std::span<const ConstAnyMat> parts, DType compute);
void matmul(ConstAnyMat x, const PackedMatrix& w, AnyMat y, bool accumulate);

void embed(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x);
void rms_norm(MatView<const float> x, std::span<const float> weight, float eps, AnyMat y);
void norm_rotary(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                 std::span<const int32_t> positions, const RotaryTable& table);
void swiglu(ConstAnyMat gate_up, AnyMat y);

void document_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v,
                        std::span<const uint32_t> starts, size_t kv_heads, size_t head_dim,
                        AnyMat out);
void context_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                       size_t head_dim, AnyMat out);

void pool_chunks(ConstAnyMat x, std::span<const uint32_t> starts, size_t chunk_size,
                 size_t kv_heads, bool normalise, AnyMat out);
void copy_rows(ConstAnyMat from, AnyMat to);

void route(const RouteRule& rule, MatView<const float> router_q, std::span<const KeyBlock> blocks,
           size_t k, std::vector<RouteHit>& hits);
void compress_keys(ConstAnyMat keys, const MutableCompressedKeys& to);
// The key that the integers of row r and column c stand for.
double get(const CompressedKeys& keys, size_t r, size_t c);
// With the queries as they are, and bounds that always hold.
void route_candidates(const RouteRule& rule, MatView<const float> router_q,
                      std::span<const CompressedBlock> blocks, size_t k, RouteCandidates& found);

}  // namespace msa::ref
