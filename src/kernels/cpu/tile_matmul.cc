#include "kernels/cpu/tile_matmul.h"

#include <cassert>
#include <string_view>
#include <unordered_map>

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_product.h"

namespace msa::cpu {

using Memory = dnnl::memory;
struct TileMatmul::State {
  Shape shape;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul primitive;
  Memory a, b, c;
  HugeBuffer scratch;
  std::unordered_map<int, Memory> arguments;  // made once: a hot loop should not allocate
  bool fast = false;
};

TileMatmul::TileMatmul(const Shape& shape) : state_(std::make_unique<State>()) {
  assert(shape.inputs % kRowDotInputs == 0);
  State& s = *state_;
  s.shape = shape;
  const auto M = static_cast<Memory::dim>(shape.rows), K = static_cast<Memory::dim>(shape.inputs),
             N = static_cast<Memory::dim>(kPanelColumns);
  const LibraryThreads scope(1);  // a primitive is made for as many
  try {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc made(
        dnnl::matmul::desc(
            Memory::desc({M, K}, Memory::data_type::bf16, Memory::format_tag::ab),
            Memory::desc({K, N}, Memory::data_type::bf16, Memory::format_tag::BA16a64b2a),
            Memory::desc({M, N}, Memory::data_type::f32, Memory::format_tag::ab)),
        attributes, s.engine);
    s.fast = std::string_view(made.impl_info_str()).substr(0, 3) == "brg";
    if (!s.fast) return;
    s.primitive = dnnl::matmul(made);
    s.a = Memory(made.src_desc(), s.engine, DNNL_MEMORY_NONE);
    s.b = Memory(made.weights_desc(), s.engine, DNNL_MEMORY_NONE);
    s.c = Memory(made.dst_desc(), s.engine, DNNL_MEMORY_NONE);
    const Memory scratch(made.scratchpad_desc(), s.engine,
                         s.scratch.reserve<std::byte>(made.scratchpad_desc().get_size()));
    s.arguments = {{DNNL_ARG_SRC, s.a},
                   {DNNL_ARG_WEIGHTS, s.b},
                   {DNNL_ARG_DST, s.c},
                   {DNNL_ARG_SCRATCHPAD, scratch}};
  } catch (const dnnl::error&) {
    s.fast = false;
  }
}
TileMatmul::TileMatmul(TileMatmul&&) noexcept = default;
TileMatmul& TileMatmul::operator=(TileMatmul&&) noexcept = default;
TileMatmul::~TileMatmul() = default;

const TileMatmul::Shape& TileMatmul::shape() const {
  return state_->shape;
}

bool TileMatmul::is_fast() const {
  return state_->fast;
}

void TileMatmul::multiply(const bf16* a, const bf16* b, float* c) {
  State& s = *state_;
  assert(s.fast);
  s.a.set_data_handle(const_cast<bf16*>(a));
  s.b.set_data_handle(const_cast<bf16*>(b));
  s.c.set_data_handle(c);
  s.primitive.execute(s.stream, s.arguments);
}

}  // namespace msa::cpu
