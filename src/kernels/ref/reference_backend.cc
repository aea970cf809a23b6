// Every operation as the plain loop that defines it, one number at a time. The oracle in tests.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/aligned_buffer.h"
#include "kernels/backend.h"

namespace msa {
namespace {

// Reads one element; rows of files need not be aligned to the dtype.
float element(ConstAnyMat m, size_t row, size_t col) {
  const std::byte* at = m.data + (row * m.stride + col) * size_of(m.dtype);
  const auto read = [&]<class T>(T value) {
    std::memcpy(&value, at, sizeof(T));
    return to_float(value);
  };
  switch (m.dtype) {
    case DType::f32: return read(float{});
    case DType::bf16: return read(bf16{});
    case DType::f16: return read(f16{});
    case DType::i64: break;
  }
  assert(false && "not a floating-point matrix");
  return 0;
}

void set_element(AnyMat m, size_t row, size_t col, float value) {
  if (m.dtype == DType::f32)
    m.as<float>().row(row)[col] = value;
  else
    m.as<bf16>().row(row)[col] = bf16::from_float(value);
}

class ReferenceMatrix : public PackedMatrix {
 public:
  ReferenceMatrix(std::span<const ConstAnyMat> parts, DType compute) : inputs_(parts[0].cols) {
    for (const ConstAnyMat& part : parts) {
      assert(part.cols == inputs_);
      outputs_ += part.rows;
      for (size_t r = 0; r < part.rows; ++r)
        for (size_t c = 0; c < part.cols; ++c) {
          const float value = element(part, r, c);
          weights_.push_back(compute == DType::bf16 ? bf16::from_float(value).to_float() : value);
        }
    }
  }
  size_t outputs() const override { return outputs_; }
  size_t inputs() const override { return inputs_; }
  size_t bytes() const override { return weights_.size() * sizeof(float); }
  float weight(size_t output, size_t input) const { return weights_[output * inputs_ + input]; }

 private:
  size_t outputs_ = 0, inputs_;
  std::vector<float> weights_;
};

class HostBuffer : public DeviceBuffer {
 public:
  explicit HostBuffer(size_t bytes) : memory_(bytes) {}
  std::byte* data() override { return memory_.data(); }
  size_t size() const override { return memory_.size(); }

 private:
  AlignedBuffer<std::byte> memory_;
};

// 1 / sqrt(mean of squares + eps) of columns [first, first + count) of a row.
template <class Read>
float inverse_rms(size_t count, float eps, Read&& read) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += double{read(i)} * read(i);
  return static_cast<float>(1 / std::sqrt(sum / static_cast<double>(count) + eps));
}

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
    assert(!parts.empty());
    return std::make_unique<ReferenceMatrix>(parts, compute);
  }

  void matmul(ConstAnyMat x, const PackedMatrix& w, AnyMat y, bool accumulate) override {
    const auto& matrix = static_cast<const ReferenceMatrix&>(w);
    assert(x.cols == matrix.inputs() && y.cols == matrix.outputs() && x.rows == y.rows);
    for (size_t t = 0; t < x.rows; ++t)
      for (size_t o = 0; o < y.cols; ++o) {
        float sum = accumulate ? element(y, t, o) : 0;
        for (size_t i = 0; i < x.cols; ++i) sum += element(x, t, i) * matrix.weight(o, i);
        set_element(y, t, o, sum);
      }
  }

  void embed(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x) override {
    assert(x.rows == tokens.size() && x.cols == table.cols);
    for (size_t t = 0; t < x.rows; ++t)
      for (size_t i = 0; i < x.cols; ++i)
        x.row(t)[i] = element(table, static_cast<size_t>(tokens[t]), i);
  }

  void rms_norm(MatView<const float> x, std::span<const float> weight, float eps,
                AnyMat y) override {
    for (size_t t = 0; t < x.rows; ++t) {
      const float scale = inverse_rms(x.cols, eps, [&](size_t i) { return x.row(t)[i]; });
      for (size_t i = 0; i < x.cols; ++i) set_element(y, t, i, x.row(t)[i] * scale * weight[i]);
    }
  }

  void norm_rotary(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                   std::span<const int32_t> positions, const RotaryTable& table) override {
    const size_t dim = x.cols / heads, half = dim / 2;
    for (size_t t = 0; t < x.rows; ++t)
      for (size_t h = 0; h < heads; ++h) {
        const size_t at = h * dim;
        const float scale = inverse_rms(dim, eps, [&](size_t i) { return element(x, t, at + i); });
        for (size_t i = 0; i < half; ++i) {
          const float a = element(x, t, at + i) * scale * weight[i];
          const float b = element(x, t, at + half + i) * scale * weight[half + i];
          const size_t entry = static_cast<size_t>(positions[t]) * half + i;
          set_element(x, t, at + i, a * table.cos[entry] - b * table.sin[entry]);
          set_element(x, t, at + half + i, b * table.cos[entry] + a * table.sin[entry]);
        }
      }
  }

  void swiglu(ConstAnyMat gate_up, AnyMat y) override {
    for (size_t t = 0; t < y.rows; ++t)
      for (size_t i = 0; i < y.cols; ++i) {
        const float gate = element(gate_up, t, i), up = element(gate_up, t, y.cols + i);
        set_element(y, t, i, gate / (1 + std::exp(-gate)) * up);
      }
  }

  void document_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v,
                          std::span<const uint32_t> starts, size_t kv_heads, size_t head_dim,
                          AnyMat out) override {
    for (size_t i = 0; i + 1 < starts.size(); ++i) {
      const size_t first = starts[i], count = starts[i + 1] - starts[i];
      context_attention(q.slice_rows(first, count), k.slice_rows(first, count),
                        v.slice_rows(first, count), kv_heads, head_dim,
                        out.slice_rows(first, count));
    }
  }

  void context_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                         size_t head_dim, AnyMat out) override {
    const size_t heads = q.cols / head_dim, group = heads / kv_heads;
    for (size_t t = 0; t < q.rows; ++t)
      for (size_t h = 0; h < heads; ++h) {
        const size_t visible = k.rows - q.rows + t + 1, g = h / group;
        std::vector<double> weights(visible);
        for (size_t s = 0; s < visible; ++s) {
          for (size_t i = 0; i < head_dim; ++i)
            weights[s] += double{element(q, t, h * head_dim + i)} * element(k, s, g * head_dim + i);
          weights[s] /= std::sqrt(static_cast<double>(head_dim));
        }
        const double top = *std::max_element(weights.begin(), weights.end());
        double sum = 0;
        for (double& weight : weights) sum += weight = std::exp(weight - top);
        for (size_t i = 0; i < head_dim; ++i) {
          double value = 0;
          for (size_t s = 0; s < visible; ++s)
            value += weights[s] / sum * element(v, s, g * head_dim + i);
          set_element(out, t, h * head_dim + i, static_cast<float>(value));
        }
      }
  }

  void pool_chunks(ConstAnyMat x, std::span<const uint32_t> starts, size_t chunk_size,
                   size_t kv_heads, bool normalise, AnyMat out) override {
    const size_t dim = x.cols / kv_heads;
    size_t chunk = 0;
    for (size_t d = 0; d + 1 < starts.size(); ++d)
      for (size_t begin = starts[d]; begin < starts[d + 1]; begin += chunk_size, ++chunk) {
        const size_t end = std::min<size_t>(begin + chunk_size, starts[d + 1]);
        for (size_t g = 0; g < kv_heads; ++g) {
          std::vector<float> mean(dim);
          double squares = 0;
          for (size_t i = 0; i < dim; ++i) {
            for (size_t t = begin; t < end; ++t) mean[i] += element(x, t, g * dim + i);
            mean[i] /= static_cast<float>(end - begin);
            squares += double{mean[i]} * mean[i];
          }
          const double length = normalise ? std::max(std::sqrt(squares), 1e-12) : 1;
          for (size_t i = 0; i < dim; ++i)
            set_element(out, chunk, g * dim + i, static_cast<float>(mean[i] / length));
        }
      }
  }

  void copy_rows(ConstAnyMat from, AnyMat to) override {
    assert(from.rows == to.rows && from.cols == to.cols);
    for (size_t r = 0; r < from.rows; ++r)
      for (size_t c = 0; c < from.cols; ++c) set_element(to, r, c, element(from, r, c));
  }

  void route(const RouteRule& rule, MatView<const float> router_q, std::span<const KeyBlock> blocks,
             size_t k, std::vector<RouteHit>& hits) override {
    const size_t heads = rule.query_heads, dim = rule.head_dim, group = heads / rule.kv_heads;
    std::vector<double> query;  // [M, H, D], normalised or scaled
    for (size_t t = 0; t < router_q.rows; ++t)
      for (size_t h = 0; h < heads; ++h) {
        const auto head = router_q.row(t).subspan(h * dim, dim);
        double squares = 0;
        for (const float value : head) squares += double{value} * value;
        const double scale = rule.cosine ? 1 / std::max(std::sqrt(squares), 1e-12)
                                         : 1 / std::sqrt(static_cast<double>(dim));
        for (const float value : head) query.push_back(value * scale);
      }

    hits.clear();
    for (uint32_t b = 0; b < blocks.size(); ++b)
      for (uint32_t s = 0; s < blocks[b].documents.size(); ++s) {
        const DocumentSpan& span = blocks[b].documents[s];
        std::vector<double> by_chunk;
        for (size_t c = span.first_chunk; c < size_t{span.first_chunk} + span.chunks; ++c) {
          std::vector<double> by_token;
          for (size_t t = 0; t < router_q.rows; ++t) {
            std::vector<double> by_head;
            for (size_t h = 0; h < heads; ++h) {
              double score = 0;
              for (size_t i = 0; i < dim; ++i)
                score += query[(t * heads + h) * dim + i] *
                         element(blocks[b].keys, c, h / group * dim + i);
              by_head.push_back(score);
            }
            by_token.push_back(rule.heads == RouteRule::Heads::mean ? mean(by_head) : max(by_head));
          }
          by_chunk.push_back(rule.tokens == RouteRule::Tokens::max    ? max(by_token)
                             : rule.tokens == RouteRule::Tokens::mean ? mean(by_token)
                                                                      : by_token.back());
        }
        const double score = rule.chunks == RouteRule::Chunks::max ? max(by_chunk) : mean(by_chunk);
        hits.push_back({span.number, static_cast<float>(score), b, s});
      }
    std::sort(hits.begin(), hits.end(), ranks_before);
    hits.resize(std::min(k, hits.size()));
  }

 private:
  // The largest, or NaN if there is one.
  static double max(const std::vector<double>& values) {
    double largest = values[0];
    for (const double value : values)
      if (std::isnan(value) || value > largest) largest = value;
    return largest;
  }
  static double mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace msa
