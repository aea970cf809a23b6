#include "kernels/cpu/rounded_queries.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/score.h"
#include "kernels/cpu/tile_product.h"

namespace msa::cpu {
namespace {

constexpr int kLargest = 127;
// Where keys are bf16 the scan of the keys in full may round its queries to bf16 as well.
constexpr float kBf16Rounding = 0x1p-9f;
// Every float32 addition and multiplication of either scan.
constexpr float kFloatRounding = 0x1p-23f;

size_t round_up(size_t n, size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

void RoundedQueries::round(const RouteRule& rule, MatView<const float> router_q, bool native) {
  folded_.fold(rule, router_q);
  max_heads_ = rule.heads == RouteRule::Heads::max;
  head_dim_ = rule.head_dim;
  const size_t count = folded_.count();
  method_ = !native ? Method::dots : count <= kIntegerRowDots ? Method::row_dots : Method::tiles;
  padded_ = round_up(head_dim_, method_ == Method::tiles ? 4 : 64);
  const size_t panels = (count + kPanelColumns - 1) / kPanelColumns;
  const size_t heads = max_heads_ ? rule.query_heads : rule.kv_heads;
  const size_t columns = method_ == Method::tiles ? kPanelColumns : std::min(count, kPanelColumns);
  panel_bytes_ =
      heads * padded_ * columns * (method_ == Method::dots ? sizeof(int16_t) : sizeof(int8_t));
  std::memset(integers_.reserve<std::byte>(panels * panel_bytes_), 0, panels * panel_bytes_);
  scales_.assign(panels * heads * kPanelColumns, 0);
  offsets_.assign(panels * heads * kPanelColumns, 0);
  heads_.assign(heads, {});
  for (size_t h = 0; h < heads; ++h) {
    heads_[h].kv_head = max_heads_ ? h / (rule.query_heads / rule.kv_heads) : h;
    lay_out(h, max_heads_ ? folded_.head(h) : folded_.head(0).slice_cols(h * head_dim_, head_dim_));
  }
}

void RoundedQueries::lay_out(size_t unit, MatView<const float> values) {
  Head& head = heads_[unit];
  for (size_t t = 0; t < values.rows; ++t) {
    const std::span<const float> query = values.row(t);
    float highest = 0;
    for (const float x : query) highest = std::max(highest, std::abs(x));
    const float scale =
        highest == 0 ? 0 : std::max(highest / kLargest, std::numeric_limits<float>::min());
    const size_t panel = t / kPanelColumns, column = t % kPanelColumns;
    const size_t columns = std::min(kPanelColumns, values.rows - panel * kPanelColumns);
    std::byte* at = integers_.data() + panel * panel_bytes_;
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
      switch (method_) {
        case Method::dots:
          reinterpret_cast<int16_t*>(at)[(unit * columns + column) * padded_ + i] =
              static_cast<int16_t>(n);
          break;
        case Method::row_dots:
          reinterpret_cast<int8_t*>(at)[(unit * columns + column) * padded_ + i] =
              static_cast<int8_t>(n);
          break;
        case Method::tiles:
          reinterpret_cast<int8_t*>(
              at)[unit * padded_ * kPanelColumns + (i / 4 * kPanelColumns + column) * 4 + i % 4] =
              static_cast<int8_t>(n);
          break;
      }
    }
    const size_t place = (panel * heads_.size() + unit) * kPanelColumns + column;
    scales_[place] = scale;
    offsets_[place] = -bias_of(KeyFormat::int8) * sum;
    head.norm = std::max(head.norm, static_cast<float>(std::sqrt(squares)));
    head.error = std::max(head.error, static_cast<float>(std::sqrt(errors)));
  }
}

void RoundedQueries::multiply(IntegerKeys keys, size_t first, float* scores, float* more) const {
  const size_t panel = first / kPanelColumns, place = panel * heads_.size() * kPanelColumns;
  const size_t columns = std::min(kPanelColumns, count() - first);
  const size_t head_bytes = padded_ * (method_ == Method::tiles ? kPanelColumns : columns) *
                            (method_ == Method::dots ? sizeof(int16_t) : sizeof(int8_t));
  const auto product = [&](size_t head, float* to) {
    const IntegerQueries queries{columns,
                                 integers_.data() + panel * panel_bytes_ + head * head_bytes,
                                 scales_.data() + place + head * kPanelColumns,
                                 offsets_.data() + place + head * kPanelColumns};
    switch (method_) {
      case Method::dots: return integer_dots(keys, queries, to);
      case Method::row_dots: return integer_row_dots(keys, queries, to);
      case Method::tiles: return integer_tile_product(keys, queries, to);
    }
  };
  keys.head_dim = head_dim_;
  if (!max_heads_) {
    keys.heads = heads_.size();
    return product(0, scores);
  }
  const IntegerKeys all = keys;
  keys.heads = 1;
  for (size_t h = 0; h < heads_.size(); ++h) {
    keys.data = all.data + heads_[h].kv_head * head_dim_;
    keys.scales = all.scales + heads_[h].kv_head;
    product(h, h == 0 ? scores : more);
    if (h > 0) max_scores(more, keys.rows, columns, scores);
    keys.ahead_bytes = 0;
  }
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

float RoundedQueries::Error::bound(const bf16* scales) const {
  float sum = 0, most = 0;
  for (size_t g = 0; g < bound_.size(); ++g) {
    const float error = scales[g].to_float() * bound_[g];
    sum += error;
    most = std::max(most, error);
  }
  return max_ ? most : sum;
}

float RoundedQueries::Error::deviation(const bf16* scales) const {
  float sum = 0, most = 0;
  for (size_t g = 0; g < square_.size(); ++g) {
    const float scale = scales[g].to_float(), square = scale * scale * square_[g];
    sum += square;
    most = std::max(most, square);
  }
  return std::sqrt(max_ ? most : sum);
}

}  // namespace msa::cpu
