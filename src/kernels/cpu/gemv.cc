#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemv.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/cache_control.h>

#include "kernels/cpu/gemv.h"
#include "kernels/cpu/vector_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

// Vectors of at most 16 lanes: four of them, or a multiple, make up a block of outputs.
using D16 = hn::CappedTag<float, 16>;
using V16 = hn::Vec<D16>;

// How far ahead of the sums W is fetched: enough to cover the latency of memory at full speed.
constexpr size_t kPrefetchBytes = 4096;

template <size_t kRows>
void blocked_f32(const float* HWY_RESTRICT x, size_t x_stride, const float* HWY_RESTRICT w,
                 size_t inputs, float* HWY_RESTRICT sums) {
  const D16 d;
  const size_t lanes = hn::Lanes(d);
  for (size_t first = 0; first < kBlockOutputs; first += 4 * lanes) {
    V16 sum[kRows][4];
    for (auto& row : sum)
      for (V16& v : row) v = hn::Zero(d);
    const float* HWY_RESTRICT p = w + first;
    for (size_t i = 0; i < inputs; ++i, p += kBlockOutputs) {
      hwy::Prefetch(reinterpret_cast<const char*>(p) + kPrefetchBytes);
      hwy::Prefetch(reinterpret_cast<const char*>(p) + kPrefetchBytes + 64);
      hwy::Prefetch(reinterpret_cast<const char*>(p) + kPrefetchBytes + 128);
      hwy::Prefetch(reinterpret_cast<const char*>(p) + kPrefetchBytes + 192);
      const V16 w0 = hn::LoadU(d, p), w1 = hn::LoadU(d, p + lanes),
                w2 = hn::LoadU(d, p + 2 * lanes), w3 = hn::LoadU(d, p + 3 * lanes);
      for (size_t r = 0; r < kRows; ++r) {
        const V16 factor = hn::Set(d, x[r * x_stride + i]);
        sum[r][0] = hn::MulAdd(w0, factor, sum[r][0]);
        sum[r][1] = hn::MulAdd(w1, factor, sum[r][1]);
        sum[r][2] = hn::MulAdd(w2, factor, sum[r][2]);
        sum[r][3] = hn::MulAdd(w3, factor, sum[r][3]);
      }
    }
    for (size_t r = 0; r < kRows; ++r)
      for (size_t v = 0; v < 4; ++v)
        hn::StoreU(sum[r][v], d, sums + r * kBlockOutputs + first + v * lanes);
  }
}

// A 32-bit lane holds the weights of one output for two inputs: the even one in the lower half.
template <size_t kRows>
void blocked_bf16(const float* HWY_RESTRICT x, size_t x_stride, const uint32_t* HWY_RESTRICT w,
                  size_t inputs, float* HWY_RESTRICT sums) {
  const D16 d;
  const hn::RebindToUnsigned<D16> du;
  const size_t lanes = hn::Lanes(d);
  const auto upper = hn::Set(du, 0xffff0000u);
  for (size_t first = 0; first < kBlockOutputs; first += 4 * lanes) {
    V16 sum[kRows][4];
    for (auto& row : sum)
      for (V16& v : row) v = hn::Zero(d);
    const uint32_t* HWY_RESTRICT p = w + first;
    for (size_t i = 0; i < inputs; i += 2, p += kBlockOutputs) {
      for (size_t v = 0; v < 4; ++v) {
        hwy::Prefetch(reinterpret_cast<const char*>(p + v * lanes) + kPrefetchBytes);
        const auto both = hn::LoadU(du, p + v * lanes);
        const V16 even = hn::BitCast(d, hn::ShiftLeft<16>(both));
        const V16 odd = hn::BitCast(d, hn::And(both, upper));
        for (size_t r = 0; r < kRows; ++r) {
          const float* HWY_RESTRICT factors = x + r * x_stride + i;
          sum[r][v] = hn::MulAdd(even, hn::Set(d, factors[0]), sum[r][v]);
          sum[r][v] = hn::MulAdd(odd, hn::Set(d, factors[1]), sum[r][v]);
        }
      }
    }
    for (size_t r = 0; r < kRows; ++r)
      for (size_t v = 0; v < 4; ++v)
        hn::StoreU(sum[r][v], d, sums + r * kBlockOutputs + first + v * lanes);
  }
}

// kOutputs rows of W at once, so that each vector of x is loaded once for them.
template <size_t kRows, size_t kOutputs, class W>
HWY_INLINE void plain_outputs(const float* HWY_RESTRICT x, size_t x_stride, const W* HWY_RESTRICT w,
                              size_t inputs, float* HWY_RESTRICT sums) {
  const D16 d;
  V16 sum[kRows][kOutputs];
  for (auto& row : sum)
    for (V16& v : row) v = hn::Zero(d);
  for_each_vector(d, inputs, [&](const auto& get, const auto&) HWY_ATTR {
    V16 factor[kRows];
    for (size_t r = 0; r < kRows; ++r) factor[r] = get(x + r * x_stride);
    for (size_t o = 0; o < kOutputs; ++o) {
      const V16 weight = get(w + o * inputs);
      for (size_t r = 0; r < kRows; ++r) sum[r][o] = hn::MulAdd(weight, factor[r], sum[r][o]);
    }
  });
  for (size_t r = 0; r < kRows; ++r)
    for (size_t o = 0; o < kOutputs; ++o)
      sums[r * kBlockOutputs + o] = hn::GetLane(hn::SumOfLanes(d, sum[r][o]));
}

template <size_t kRows, class W>
void plain(const float* x, size_t x_stride, const W* w, size_t inputs, size_t outputs,
           float* sums) {
  size_t o = 0;
  for (; o + 4 <= outputs; o += 4)
    plain_outputs<kRows, 4>(x, x_stride, w + o * inputs, inputs, sums + o);
  for (; o < outputs; ++o) plain_outputs<kRows, 1>(x, x_stride, w + o * inputs, inputs, sums + o);
}

template <size_t kRows>
void blocked_rows(const float* x, size_t x_stride, const std::byte* weights,
                  const WeightShape& shape, size_t block, Range inputs, float* sums) {
  const size_t first =
      (block * shape.padded_inputs() + inputs.begin) * kBlockOutputs * size_of(shape.dtype);
  const size_t count = inputs.end - inputs.begin;
  if (shape.dtype == DType::bf16)
    blocked_bf16<kRows>(x + inputs.begin, x_stride,
                        reinterpret_cast<const uint32_t*>(weights + first), count, sums);
  else
    blocked_f32<kRows>(x + inputs.begin, x_stride, reinterpret_cast<const float*>(weights + first),
                       count, sums);
}

template <size_t kRows>
void plain_rows(const float* x, size_t x_stride, const std::byte* weights, const WeightShape& shape,
                Range outputs, float* sums) {
  const std::byte* first = weights + outputs.begin * shape.inputs * size_of(shape.dtype);
  const size_t count = outputs.end - outputs.begin;
  if (shape.dtype == DType::bf16)
    plain<kRows>(x, x_stride, reinterpret_cast<const bf16*>(first), shape.inputs, count, sums);
  else
    plain<kRows>(x, x_stride, reinterpret_cast<const float*>(first), shape.inputs, count, sums);
}

void blocked(const float* x, size_t x_stride, size_t rows, const std::byte* weights,
             const WeightShape& shape, size_t block, Range inputs, float* sums) {
  switch (rows) {
    case 1: return blocked_rows<1>(x, x_stride, weights, shape, block, inputs, sums);
    case 2: return blocked_rows<2>(x, x_stride, weights, shape, block, inputs, sums);
    case 3: return blocked_rows<3>(x, x_stride, weights, shape, block, inputs, sums);
    default: return blocked_rows<4>(x, x_stride, weights, shape, block, inputs, sums);
  }
}

void plain_any(const float* x, size_t x_stride, size_t rows, const std::byte* weights,
               const WeightShape& shape, Range outputs, float* sums) {
  switch (rows) {
    case 1: return plain_rows<1>(x, x_stride, weights, shape, outputs, sums);
    case 2: return plain_rows<2>(x, x_stride, weights, shape, outputs, sums);
    case 3: return plain_rows<3>(x, x_stride, weights, shape, outputs, sums);
    default: return plain_rows<4>(x, x_stride, weights, shape, outputs, sums);
  }
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(blocked);
HWY_EXPORT(plain_any);

void gemv_blocked(const float* x, size_t x_stride, size_t rows, const std::byte* weights,
                  const WeightShape& shape, size_t block, Range inputs, float* sums) {
  HWY_DYNAMIC_DISPATCH(blocked)(x, x_stride, rows, weights, shape, block, inputs, sums);
}

void gemv_plain(const float* x, size_t x_stride, size_t rows, const std::byte* weights,
                const WeightShape& shape, Range outputs, float* sums) {
  HWY_DYNAMIC_DISPATCH(plain_any)(x, x_stride, rows, weights, shape, outputs, sums);
}

}  // namespace msa::cpu
#endif
