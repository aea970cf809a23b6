#include "kernels/cpu/gemm.h"

#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/parallel.h"

namespace msa::cpu {
namespace {

using Memory = dnnl::memory;

// Making a primitive costs 0.1 to 0.3 ms, so those for recent shapes are kept; a model has about
// ten shapes of weights, each met with the row counts of the last few prompts.
constexpr size_t kKeptPrimitives = 256;

size_t round_up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

Memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? Memory::data_type::bf16 : Memory::data_type::f32;
}

Memory::format_tag tag_of(const WeightShape& shape) {
  if (shape.layout == WeightLayout::plain) return Memory::format_tag::ba;
  return shape.dtype == DType::bf16 ? Memory::format_tag::BA16a64b2a : Memory::format_tag::BA16a64b;
}

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, size_t rows,
                                      const WeightShape& shape, DType y, bool accumulate) {
  const auto M = static_cast<Memory::dim>(rows), N = static_cast<Memory::dim>(shape.outputs),
             K = static_cast<Memory::dim>(shape.inputs);
  const Memory::desc x_desc({M, K}, type_of(shape.dtype), Memory::format_tag::ab);
  const Memory::desc w_desc({K, N}, type_of(shape.dtype), tag_of(shape));
  const Memory::desc y_desc({M, N}, type_of(y), Memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops add;
    add.append_sum(1.0f);
    attributes.set_post_ops(add);
  }
  return {dnnl::matmul::desc(x_desc, w_desc, y_desc), attributes, engine};
}

// The kernels made of blocked matrix products, which reach the machine's rate. The others emulate.
bool is_fast(std::string_view kernel) {
  return kernel.substr(0, 3) == "brg";
}

struct Key {
  size_t rows, outputs, inputs;
  DType dtype, y;
  WeightLayout layout;
  bool accumulate;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    size_t hash = 0;
    for (const size_t part : {key.rows, key.outputs, key.inputs, static_cast<size_t>(key.dtype),
                              static_cast<size_t>(key.y), static_cast<size_t>(key.layout),
                              static_cast<size_t>(key.accumulate)})
      hash = (hash ^ part) * 0x9e3779b97f4a7c15u + (hash >> 29);
    return hash;
  }
};

struct Product {
  Key key;
  dnnl::matmul primitive;
  Memory x, w, y, scratch;
  size_t scratch_bytes = 0;
};

}  // namespace

size_t WeightShape::padded_outputs() const {
  return layout == WeightLayout::plain ? outputs : round_up(outputs, kBlockOutputs);
}

size_t WeightShape::padded_inputs() const {
  return layout == WeightLayout::plain ? inputs : round_up(inputs, block_inputs(dtype));
}

struct Gemm::State {
  int threads;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  HugeBuffer scratch;
  std::list<Product> products;  // latest use first
  std::unordered_map<Key, std::list<Product>::iterator, KeyHash> by_key;
  std::string f32_kernel, bf16_kernel;

  explicit State(int thread_count) : threads(thread_count) {
    f32_kernel = kernel_of(64, 1024, 1024, DType::f32);
    bf16_kernel = kernel_of(64, 1024, 1024, DType::bf16);
  }

  // The kernel for blocked weights; empty if there is none.
  std::string kernel_of(size_t rows, size_t outputs, size_t inputs, DType dtype) {
    const LibraryThreads scope(threads);
    try {
      const WeightShape shape{outputs, inputs, dtype, WeightLayout::blocked};
      return describe(engine, rows, shape, DType::f32, false).impl_info_str();
    } catch (const dnnl::error&) {
      return "";
    }
  }

  Product& product(const Key& key) {
    if (const auto found = by_key.find(key); found != by_key.end()) {
      products.splice(products.begin(), products, found->second);
      return products.front();
    }
    const WeightShape shape{key.outputs, key.inputs, key.dtype, key.layout};
    const auto desc = describe(engine, key.rows, shape, key.y, key.accumulate);
    Product made;
    made.key = key;
    made.primitive = dnnl::matmul(desc);
    made.x = Memory(desc.src_desc(), engine, DNNL_MEMORY_NONE);
    made.w = Memory(desc.weights_desc(), engine, DNNL_MEMORY_NONE);
    made.y = Memory(desc.dst_desc(), engine, DNNL_MEMORY_NONE);
    made.scratch = Memory(desc.scratchpad_desc(), engine, DNNL_MEMORY_NONE);
    made.scratch_bytes = desc.scratchpad_desc().get_size();
    if (products.size() >= kKeptPrimitives) {
      by_key.erase(products.back().key);
      products.pop_back();
    }
    products.push_front(std::move(made));
    by_key[key] = products.begin();
    return products.front();
  }
};

Gemm::Gemm(int threads) : state_(std::make_unique<State>(threads)) {}
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;
Gemm::~Gemm() = default;

bool Gemm::takes_blocked(size_t outputs, size_t inputs, DType dtype) {
  return is_fast(state_->kernel_of(64, outputs, inputs, dtype)) &&
         is_fast(state_->kernel_of(1, outputs, inputs, dtype));
}

bool Gemm::native_bf16() const {
  return is_fast(state_->bf16_kernel);
}

const char* Gemm::kernel_name(DType dtype) const {
  return (dtype == DType::bf16 ? state_->bf16_kernel : state_->f32_kernel).c_str();
}

bool Gemm::multiply(ConstAnyMat x, const std::byte* weights, const WeightShape& shape, AnyMat y,
                    bool accumulate) {
  assert(x.dense() && y.dense() && x.dtype == shape.dtype);
  State& s = *state_;
  const LibraryThreads scope(s.threads);
  try {
    Product& p = s.product(
        {x.rows, shape.outputs, shape.inputs, shape.dtype, y.dtype, shape.layout, accumulate});
    p.x.set_data_handle(const_cast<std::byte*>(x.data));
    p.w.set_data_handle(const_cast<std::byte*>(weights));
    p.y.set_data_handle(y.data);
    p.scratch.set_data_handle(s.scratch.reserve<std::byte>(p.scratch_bytes));
    p.primitive.execute(s.stream, {{DNNL_ARG_SRC, p.x},
                                   {DNNL_ARG_WEIGHTS, p.w},
                                   {DNNL_ARG_DST, p.y},
                                   {DNNL_ARG_SCRATCHPAD, p.scratch}});
    s.stream.wait();
    return true;
  } catch (const dnnl::error&) {
    return false;
  }
}

}  // namespace msa::cpu
