// Tile products by oneDNN, which knows instructions that tile_product() does not: AMX.
#pragma once

#include <cstddef>
#include <memory>

#include "base/mat_view.h"

namespace msa::cpu {

// c = a b as tile_product() of bf16, for dense rows and one whole panel: what oneDNN has fast
// kernels for. In the calling thread; one caller at a time. Objects of the same shape give the same
// bits.
class TileMatmul {
 public:
  struct Shape {
    size_t rows = 0, inputs = 0;  // of a; inputs a multiple of 32
    bool operator==(const Shape&) const = default;
  };

  explicit TileMatmul(const Shape& shape);
  TileMatmul(TileMatmul&&) noexcept;
  TileMatmul& operator=(TileMatmul&&) noexcept;
  ~TileMatmul();

  const Shape& shape() const;
  // Whether oneDNN has a kernel for it that is made of blocked products.
  bool is_fast() const;
  // a [rows, inputs], b [inputs/2][64][2], c [rows, 64] f32, without gaps. Needs is_fast().
  void multiply(const bf16* a, const bf16* b, float* c);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace msa::cpu
