#include "kernels/cpu/products.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/checked.h"
#include "kernels/cpu/gemv.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace msa::cpu {
namespace {

// Rows up to which our own kernel is faster than oneDNN's: both wait for W, ours less.
constexpr size_t kFewRows = kGemvRows;
// Scratch for a part of W or x in float32 stays near this size.
constexpr size_t kPanelBytes = size_t{2} << 20;
constexpr size_t kPanelRows = 512;

// Rows [first, first + count) of the concatenation of `parts`, converted into `to`.
void gather_rows(std::span<const ConstAnyMat> parts, size_t first, AnyMat to) {
  size_t done = 0;
  for (const ConstAnyMat& part : parts) {
    if (done == to.rows) return;
    if (first >= part.rows) {
      first -= part.rows;
      continue;
    }
    const size_t count = std::min(part.rows - first, to.rows - done);
    convert_rows(part.slice_rows(first, count), to.slice_rows(done, count), Range{0, count});
    done += count;
    first = 0;
  }
}

}  // namespace

Result<std::unique_ptr<PackedMatrix>> Products::pack(std::span<const ConstAnyMat> parts,
                                                     DType compute) {
  assert(compute == DType::f32 || compute == DType::bf16);
  WeightShape shape;
  shape.dtype = compute;
  shape.inputs = parts.empty() ? 0 : parts[0].cols;
  for (const ConstAnyMat& part : parts) {
    assert(part.cols == shape.inputs);
    shape.outputs += part.rows;
  }
  if (shape.outputs == 0 || shape.inputs == 0)
    return Error{Code::invalid_argument,
                 fmt::format("weights of {} x {}: nothing to multiply with; check the checkpoint",
                             shape.outputs, shape.inputs)};
  if (gemm_.takes_blocked(shape.outputs, shape.inputs, compute))
    shape.layout = WeightLayout::blocked;

  const auto bytes =
      checked_product<size_t>({shape.padded_outputs(), shape.padded_inputs(), size_of(compute)});
  try {
    if (!bytes) throw std::bad_alloc();
    HugeBuffer values(*bytes);
    const size_t block_outputs =
        shape.layout == WeightLayout::blocked ? kBlockOutputs : std::min<size_t>(shape.outputs, 64);
    const size_t blocks = (shape.outputs + block_outputs - 1) / block_outputs;
    const size_t stride = (shape.inputs + 1) / 2 * 2;  // whole pairs of bf16
    // One block of rows per thread, as the computation's dtype.
    const size_t scratch_block = block_outputs * stride * size_of(compute);
    auto* scratch = w_.reserve<std::byte>(static_cast<size_t>(threads_) * scratch_block);
    parallel_units(threads_, blocks, [&](size_t block, int thread) {
      const size_t first = block * block_outputs;
      const size_t count = std::min(block_outputs, shape.outputs - first);
      if (shape.layout == WeightLayout::plain) {
        gather_rows(parts, first,
                    AnyMat(values.data() + first * shape.inputs * size_of(compute), compute, count,
                           shape.inputs));
        return;
      }
      std::byte* rows = scratch + static_cast<size_t>(thread) * scratch_block;
      if (stride != shape.inputs) std::memset(rows, 0, scratch_block);
      gather_rows(parts, first, AnyMat(rows, compute, count, shape.inputs, stride));
      pack_block(rows, count, stride, shape,
                 values.data() + first * shape.padded_inputs() * size_of(compute));
    });
    return std::make_unique<CpuMatrix>(shape, std::move(values));
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space,
                 fmt::format("weights of {} x {}: not enough memory; use a smaller model or bf16",
                             shape.outputs, shape.inputs)};
  }
}

void Products::convert(ConstAnyMat from, AnyMat to) {
  parallel_ranges(threads_, from.rows, 32768 / (from.cols + 1) + 1,
                  [&](Range range) { convert_rows(from, to, range); });
}

void Products::matmul(ConstAnyMat x, const CpuMatrix& w, AnyMat y, bool accumulate) {
  assert(x.cols == w.inputs() && y.cols == w.outputs() && x.rows == y.rows);
  assert(x.dtype == w.shape().dtype && (!accumulate || y.dtype == DType::f32));
  if (x.rows <= kFewRows)
    few_rows(x, w.values(), w.shape(), y, accumulate);
  else if (w.shape().dtype == DType::bf16 && w.shape().layout == WeightLayout::plain)
    through_f32(x, w.values(), w.shape(), y, accumulate);
  else
    many_rows(x, w.values(), w.shape(), y, accumulate);
}

// Every row is read once per kGemvRows rows of x. Threads take blocks of 64 outputs; where there
// are not enough of them to go round, a block's inputs are split too, and the partial sums added in
// the end, in a fixed order.
void Products::few_rows(ConstAnyMat x, const std::byte* weights, const WeightShape& shape, AnyMat y,
                        bool accumulate) {
  const bool blocked = shape.layout == WeightLayout::blocked;
  const size_t stride = shape.padded_inputs();
  auto* wide = x_.reserve<float>(kGemvRows * stride);
  const size_t blocks = (shape.outputs + kBlockOutputs - 1) / kBlockOutputs;
  const size_t threads = static_cast<size_t>(threads_);
  size_t splits = 1;
  if (blocked && blocks < 4 * threads && blocks % threads != 0)
    splits = std::min<size_t>((4 * threads + blocks - 1) / blocks,
                              std::max<size_t>(shape.padded_inputs() / 512, 1));
  const size_t steps = shape.padded_inputs() / block_inputs(shape.dtype);
  auto* sums = sums_.reserve<float>(blocks * splits * kGemvRows * kBlockOutputs);

  for (size_t first = 0; first < x.rows; first += kGemvRows) {
    const size_t rows = std::min(kGemvRows, x.rows - first);
    if (stride != shape.inputs) std::fill_n(wide, kGemvRows * stride, 0.0f);
    convert_rows(x.slice_rows(first, rows),
                 AnyMat(MatView<float>(wide, rows, shape.inputs, stride)), Range{0, rows});

    const auto finish = [&](size_t block) {
      const float* sum = sums + block * splits * kGemvRows * kBlockOutputs;
      const size_t o = block * kBlockOutputs, count = std::min(kBlockOutputs, shape.outputs - o);
      float total[kGemvRows * kBlockOutputs];
      std::memcpy(total, sum, sizeof(total));
      for (size_t split = 1; split < splits; ++split)
        for (size_t i = 0; i < rows * kBlockOutputs; ++i)
          total[i] += sum[split * kGemvRows * kBlockOutputs + i];
      const MatView<const float> from(total, rows, count, kBlockOutputs);
      const AnyMat to = y.slice_rows(first, rows).slice_cols(o, count);
      if (accumulate)
        add_rows(from, to.as<float>(), Range{0, rows});
      else
        convert_rows(ConstAnyMat(from), to, Range{0, rows});
    };
    parallel_ranges(threads_, blocks * splits, 1, [&](Range units) {
      for (size_t unit = units.begin; unit < units.end; ++unit) {
        float* sum = sums + unit * kGemvRows * kBlockOutputs;
        if (blocked) {
          const Range part = part_of(steps, unit % splits, splits);
          gemv_blocked(
              wide, stride, rows, weights, shape, unit / splits,
              Range{part.begin * block_inputs(shape.dtype), part.end * block_inputs(shape.dtype)},
              sum);
        } else {
          const size_t o = unit * kBlockOutputs;
          gemv_plain(wide, stride, rows, weights, shape,
                     Range{o, std::min(o + kBlockOutputs, shape.outputs)}, sum);
        }
        if (splits == 1) finish(unit);
      }
    });
    if (splits > 1)
      for (size_t block = 0; block < blocks; ++block) finish(block);
  }
}

void Products::many_rows(ConstAnyMat x, const std::byte* weights, const WeightShape& shape,
                         AnyMat y, bool accumulate) {
  if (x.dense() && y.dense()) {
    if (!gemm_.multiply(x, weights, shape, y, accumulate))
      few_rows(x, weights, shape, y, accumulate);
    return;
  }
  // oneDNN wants dense rows.
  for (size_t first = 0; first < x.rows; first += kPanelRows) {
    const size_t rows = std::min(kPanelRows, x.rows - first);
    ConstAnyMat x_part = x.slice_rows(first, rows);
    AnyMat y_part = y.slice_rows(first, rows);
    if (!x.dense()) {
      const AnyMat dense(x_.reserve<std::byte>(rows * x.cols * size_of(x.dtype)), x.dtype, rows,
                         x.cols);
      convert(x_part, dense);
      x_part = dense;
    }
    AnyMat y_dense = y_part;
    if (!y.dense()) {
      y_dense =
          AnyMat(y_.reserve<std::byte>(rows * y.cols * size_of(y.dtype)), y.dtype, rows, y.cols);
      if (accumulate) convert(y_part, y_dense);
    }
    if (!gemm_.multiply(x_part, weights, shape, y_dense, accumulate))
      few_rows(x.slice_rows(first, rows), weights, shape, y_part, accumulate);
    else if (!y.dense())
      convert(y_dense, y_part);
  }
}

// Without bf16 instructions: x and a part of W at a time as float32. Exact products, float32 sums.
void Products::through_f32(ConstAnyMat x, const std::byte* weights, const WeightShape& shape,
                           AnyMat y, bool accumulate) {
  const size_t K = shape.inputs, N = shape.outputs;
  const size_t panel =
      std::min(N, std::clamp<size_t>(kPanelBytes / (K * sizeof(float)) / 16 * 16, 64, 512));
  const ConstAnyMat all(weights, DType::bf16, N, K);
  for (size_t first = 0; first < x.rows; first += kPanelRows) {
    const size_t rows = std::min(kPanelRows, x.rows - first);
    const MatView<float> wide(x_.reserve<float>(rows * K), rows, K);
    convert(x.slice_rows(first, rows), AnyMat(wide));
    for (size_t o = 0; o < N; o += panel) {
      const size_t outputs = std::min(panel, N - o);
      const MatView<float> part(w_.reserve<float>(outputs * K), outputs, K);
      convert(all.slice_rows(o, outputs), AnyMat(part));
      const MatView<float> sums(y_.reserve<float>(rows * outputs), rows, outputs);
      if (!gemm_.multiply(AnyMat(wide), reinterpret_cast<const std::byte*>(part.data),
                          WeightShape{outputs, K, DType::f32, WeightLayout::plain}, AnyMat(sums),
                          false)) {
        WeightShape rest = shape;
        rest.outputs = N - o;
        few_rows(x.slice_rows(first, rows), all.slice_rows(o, N - o).data, rest,
                 y.slice_rows(first, rows).slice_cols(o, N - o), accumulate);
        break;
      }
      const AnyMat to = y.slice_rows(first, rows).slice_cols(o, outputs);
      if (accumulate)
        parallel_ranges(threads_, rows, 32768 / outputs + 1,
                        [&](Range range) { add_rows(sums, to.as<float>(), range); });
      else
        convert(AnyMat(sums), to);
    }
  }
}

}  // namespace msa::cpu
