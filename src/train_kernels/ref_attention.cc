#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "train_kernels/ref.h"
#include "train_kernels/ref_element.h"

namespace msa::train_kernels::ref {
namespace {

// One row that a query sees: which matrices it is of, and which row of them.
enum class Source { prefix, chunk, own };
struct Seen {
  Source source;
  size_t row;
};

std::vector<Seen> seen_by(const AttentionInputs& in, size_t s, size_t token) {
  std::vector<Seen> seen;
  if (in.sees_prefix[s])
    for (size_t p = 0; p < in.prefix_k.rows; ++p) seen.push_back({Source::prefix, p});
  for (int32_t c = in.chunk_starts[s]; c < in.chunk_starts[s + 1]; ++c)
    seen.push_back({Source::chunk, static_cast<size_t>(in.chunks[static_cast<size_t>(c)])});
  for (size_t t = static_cast<size_t>(in.starts[s]); t <= token; ++t)
    seen.push_back({Source::own, t});
  return seen;
}

template <class Mat>
Mat choose(Source source, Mat prefix, Mat chunk, Mat own) {
  return source == Source::prefix ? prefix : source == Source::chunk ? chunk : own;
}

double dot(ConstAnyMat a, size_t a_row, size_t a_first, ConstAnyMat b, size_t b_row, size_t b_first,
           size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += get(a, a_row, a_first + i) * get(b, b_row, b_first + i);
  return sum;
}

// Softmax weights of query `token` and head `h`; returns the logarithm of the denominator.
double softmax(const AttentionInputs& in, const std::vector<Seen>& seen, size_t token, size_t h,
               std::vector<double>& weights) {
  const size_t D = in.head_dim, g = h / (in.query_heads / in.kv_heads);
  weights.clear();
  for (const Seen& key : seen)
    weights.push_back(dot(in.q, token, h * D, choose(key.source, in.prefix_k, in.chunk_k, in.k),
                          key.row, g * D, D) /
                      std::sqrt(static_cast<double>(D)));
  const double highest = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - highest);
  for (double& weight : weights) weight /= total;
  return highest + std::log(total);
}

void zero(AnyMat m) {
  for (size_t r = 0; r < m.rows; ++r)
    for (size_t c = 0; c < m.cols; ++c) put(m, r, c, 0);
}

// Sums of gradients of one matrix, written when all are known.
class Sums {
 public:
  explicit Sums(AnyMat to) : to_(to), sums_(to.data == nullptr ? 0 : to.rows * to.cols, 0.0) {}
  void add(size_t r, size_t c, double value) {
    if (!sums_.empty()) sums_[r * to_.cols + c] += value;
  }
  void write() const {
    for (size_t i = 0; i < sums_.size(); ++i) put(to_, i / to_.cols, i % to_.cols, sums_[i]);
  }

 private:
  AnyMat to_;
  std::vector<double> sums_;
};

}  // namespace

void segment_attention(const AttentionInputs& in, AnyMat out, MatView<float> log_sums) {
  const size_t D = in.head_dim;
  zero(out);
  std::vector<double> weights;
  for (size_t s = 0; s < in.segments(); ++s)
    for (int32_t t = in.starts[s]; t < in.starts[s + 1]; ++t) {
      const size_t token = static_cast<size_t>(t);
      const std::vector<Seen> seen = seen_by(in, s, token);
      for (size_t h = 0; h < in.query_heads; ++h) {
        const size_t g = h / (in.query_heads / in.kv_heads);
        log_sums.row(token)[h] = static_cast<float>(softmax(in, seen, token, h, weights));
        for (size_t i = 0; i < D; ++i) {
          double sum = 0;
          for (size_t j = 0; j < seen.size(); ++j)
            sum += weights[j] * get(choose(seen[j].source, in.prefix_v, in.chunk_v, in.v),
                                    seen[j].row, g * D + i);
          put(out, token, h * D + i, sum);
        }
      }
    }
}

void segment_attention_backward(const AttentionInputs& in, ConstAnyMat grad_out,
                                const AttentionGradients& gradients) {
  const size_t D = in.head_dim;
  const double scale = 1 / std::sqrt(static_cast<double>(D));
  Sums q(gradients.q);
  Sums k[] = {Sums(gradients.prefix_k), Sums(gradients.chunk_k), Sums(gradients.k)};
  Sums v[] = {Sums(gradients.prefix_v), Sums(gradients.chunk_v), Sums(gradients.v)};
  std::vector<double> weights, weight_gradients;
  for (size_t s = 0; s < in.segments(); ++s)
    for (int32_t t = in.starts[s]; t < in.starts[s + 1]; ++t) {
      const size_t token = static_cast<size_t>(t);
      const std::vector<Seen> seen = seen_by(in, s, token);
      for (size_t h = 0; h < in.query_heads; ++h) {
        const size_t g = h / (in.query_heads / in.kv_heads);
        softmax(in, seen, token, h, weights);
        double mean = 0;
        weight_gradients.clear();
        for (size_t j = 0; j < seen.size(); ++j) {
          weight_gradients.push_back(dot(grad_out, token, h * D,
                                         choose(seen[j].source, in.prefix_v, in.chunk_v, in.v),
                                         seen[j].row, g * D, D));
          mean += weights[j] * weight_gradients[j];
        }
        for (size_t j = 0; j < seen.size(); ++j) {
          const Seen& key = seen[j];
          const ConstAnyMat keys = choose(key.source, in.prefix_k, in.chunk_k, in.k);
          const double score = weights[j] * (weight_gradients[j] - mean) * scale;
          for (size_t i = 0; i < D; ++i) {
            q.add(token, h * D + i, score * get(keys, key.row, g * D + i));
            k[static_cast<int>(key.source)].add(key.row, g * D + i,
                                                score * get(in.q, token, h * D + i));
            v[static_cast<int>(key.source)].add(key.row, g * D + i,
                                                weights[j] * get(grad_out, token, h * D + i));
          }
        }
      }
    }
  q.write();
  for (const Sums& sums : k) sums.write();
  for (const Sums& sums : v) sums.write();
}

}  // namespace msa::train_kernels::ref
