#include "kernels/cpu/rounded_queries.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace msa::cpu {
namespace {

constexpr int kLargest = 127;
// Where keys are bf16 the scan of the keys in full may round its queries to bf16 as well.
constexpr float kBf16Rounding = 0x1p-9f;
// Every float32 addition and multiplication of either scan.
constexpr float kFloatRounding = 0x1p-23f;

}  // namespace

void RoundedQueries::round(const RouteRule& rule, MatView<const float> router_q, KeyFormat format,
                           bool native) {
  folded_.fold(rule, router_q);
  native_ = native;
  max_heads_ = rule.heads == RouteRule::Heads::max;
  mean_ = rule.tokens == RouteRule::Tokens::mean;
  padded_ = padded_head(rule.head_dim);
  const size_t D = rule.head_dim, count = folded_.count();
  const size_t units = max_heads_ ? rule.query_heads : rule.kv_heads;
  const size_t bytes = units * padded_ * count * (native ? sizeof(int8_t) : sizeof(int16_t));
  std::memset(integers_.reserve<std::byte>(bytes), 0, bytes);
  scales_.assign(units * count, 0);
  offsets_.assign(units * count, 0);
  heads_.assign(units, {});
  kv_heads_.resize(units);
  for (size_t u = 0; u < units; ++u) {
    const size_t g = max_heads_ ? u / (rule.query_heads / rule.kv_heads) : u;
    heads_[u].kv_head = g;
    kv_heads_[u] = static_cast<uint32_t>(g);
    lay_out(u, format, max_heads_ ? folded_.head(u) : folded_.head(0).slice_cols(u * D, D));
  }
}

void RoundedQueries::lay_out(size_t unit, KeyFormat format, MatView<const float> values) {
  constexpr size_t kGroup = 4;
  constexpr size_t kTurn[] = {0, 2, 1, 3};  // is its own inverse
  Head& head = heads_[unit];
  const size_t count = values.rows;
  for (size_t t = 0; t < count; ++t) {
    const std::span<const float> query = values.row(t);
    float highest = 0;
    for (const float x : query) highest = std::max(highest, std::abs(x));
    const float scale =
        highest == 0 ? 0 : std::max(highest / kLargest, std::numeric_limits<float>::min());
    double squares = 0, errors = 0;
    int32_t sum = 0;
    for (size_t i = 0; i < query.size(); ++i) {
      const float exact = scale == 0 ? 0 : query[i] / scale;
      const int n = static_cast<int>(std::nearbyint(
          std::clamp(exact, -static_cast<float>(kLargest), static_cast<float>(kLargest))));
      const double x = query[i], error = x - static_cast<double>(scale) * n;
      squares += x * x;
      errors += error * error;
      sum += n;
      const size_t group = unit * padded_ * count + (i / kGroup * count + t) * kGroup;
      if (native_)
        reinterpret_cast<int8_t*>(integers_.data())[group + i % kGroup] = static_cast<int8_t>(n);
      else
        reinterpret_cast<int16_t*>(integers_.data())[group + kTurn[i % kGroup]] =
            static_cast<int16_t>(n);
    }
    scales_[unit * count + t] = scale;
    offsets_[unit * count + t] = -bias_of(format) * sum;
    head.norm = std::max(head.norm, static_cast<float>(std::sqrt(squares)));
    head.error = std::max(head.error, static_cast<float>(std::sqrt(errors)));
  }
}

PanelQueries RoundedQueries::panels() const {
  PanelQueries queries;
  queries.count = count();
  queries.units = heads_.size();
  queries.kv_heads = kv_heads_.data();
  queries.highest = max_heads_;
  queries.values = integers_.data();
  queries.scales = scales_.data();
  queries.offsets = offsets_.data();
  queries.mean = mean_;
  return queries;
}

// A score is q . k; what is computed, q' . k' for rounded q' and k', differs by
// q . (k - k') + (q - q') . k', and each product is at most that of the norms (Cauchy-Schwarz). To
// that comes what the float arithmetic of both scans rounds.
RoundedQueries::Error::Error(const RoundedQueries& queries, const CompressedKeys& keys)
    : max_(queries.max_heads_), bound_(keys.kv_heads, 0), square_(keys.kv_heads, 0) {
  const auto values = static_cast<float>(keys.width());
  const float rounding = kFloatRounding * values + (keys.full == DType::bf16 ? kBf16Rounding : 0);
  for (const Head& head : queries.heads_) {
    const size_t g = head.kv_head;
    const float of_keys = head.norm * keys.error_norms[g];
    const float of_query = head.error * keys.integer_norms[g];
    const float of_sums = rounding * head.norm * (keys.error_norms[g] + keys.integer_norms[g]);
    bound_[g] = std::max(bound_[g], of_keys + of_query + of_sums);
    square_[g] =
        std::max(square_[g], (of_keys * of_keys + of_query * of_query + of_sums * of_sums) /
                                 static_cast<float>(keys.head_dim));
  }
}

void RoundedQueries::Error::bounds(const bf16* scales, float* errors) const {
  std::fill_n(errors, kPanelRows, 0.0f);
  for (size_t g = 0; g < bound_.size(); ++g, scales += kPanelRows)
    for (size_t r = 0; r < kPanelRows; ++r) {
      const float error = scales[r].to_float() * bound_[g];
      errors[r] = max_ ? std::max(error, errors[r]) : errors[r] + error;
    }
}

void RoundedQueries::Error::deviations(const bf16* scales, float* errors) const {
  std::fill_n(errors, kPanelRows, 0.0f);
  for (size_t g = 0; g < square_.size(); ++g, scales += kPanelRows)
    for (size_t r = 0; r < kPanelRows; ++r) {
      const float scale = scales[r].to_float(), square = scale * scale * square_[g];
      errors[r] = max_ ? std::max(square, errors[r]) : errors[r] + square;
    }
  for (size_t r = 0; r < kPanelRows; ++r) errors[r] = std::sqrt(errors[r]);
}

}  // namespace msa::cpu
