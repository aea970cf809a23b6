// Keys as integers: rounding each head of a row to multiples of a scale, and which documents may be
// among the best when only those are known.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/ref/reference.h"

namespace msa::ref {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void put_integer(const MutableCompressedKeys& keys, size_t r, size_t g, size_t i, int n) {
  const IntegerPlace place = place_of(keys.format, keys.kv_heads, keys.head_dim, r, g, i);
  uint8_t& byte = keys.integers[place.byte];
  const int biased = n + bias_of(keys.format);
  if (keys.format == KeyFormat::int8)
    byte = static_cast<uint8_t>(biased);
  else if (place.upper)
    byte = static_cast<uint8_t>((byte & 0x0f) | biased << 4);
  else
    byte = static_cast<uint8_t>((byte & 0xf0) | biased);
}

}  // namespace

void compress_keys(ConstAnyMat keys, const MutableCompressedKeys& to) {
  assert(keys.rows == to.rows && keys.cols == to.width() && keys.dtype == to.full);
  const size_t D = to.head_dim;
  const auto largest = static_cast<float>(largest_integer(to.format));
  std::fill_n(to.error_norms, to.kv_heads, 0.0f);
  std::fill_n(to.integer_norms, to.kv_heads, 0.0f);
  fill_padding(to);
  for (size_t r = 0; r < to.rows; ++r) {
    for (size_t g = 0; g < to.kv_heads; ++g) {
      bf16& scale = to.scales[scale_place(to.kv_heads, r, g)];
      for (size_t i = 0; i < padded_head(D); ++i) put_integer(to, r, g, i, 0);
      float highest = 0;
      bool finite = true;
      for (size_t i = 0; i < D; ++i) {
        const auto value = static_cast<float>(get(keys, r, g * D + i));
        finite = finite && std::isfinite(value);
        highest = std::max(highest, std::abs(value));
      }
      if (!finite) {
        scale = bf16::from_float(std::numeric_limits<float>::quiet_NaN());
        continue;
      }
      scale = bf16::from_float(
          highest == 0 ? 0 : std::max(highest / largest, std::numeric_limits<float>::min()));
      const float inverse = highest == 0 ? 0 : 1 / scale.to_float();
      double errors = 0, squares = 0;
      for (size_t i = 0; i < D; ++i) {
        const auto value = static_cast<float>(get(keys, r, g * D + i));
        const float n = std::clamp(std::nearbyint(value * inverse), -largest, largest);
        const double error = value - double{n} * scale.to_float();
        put_integer(to, r, g, i, static_cast<int>(n));
        errors += error * error;
        squares += double{n} * n;
      }
      to.integer_norms[g] = std::max(to.integer_norms[g], static_cast<float>(std::sqrt(squares)));
      if (highest > 0)
        to.error_norms[g] =
            std::max(to.error_norms[g], static_cast<float>(std::sqrt(errors) / scale.to_float()));
    }
  }
}

double get(const CompressedKeys& keys, size_t r, size_t c) {
  const size_t g = c / keys.head_dim;
  const IntegerPlace place =
      place_of(keys.format, keys.kv_heads, keys.head_dim, r, g, c % keys.head_dim);
  const int byte = keys.integers[place.byte];
  const int biased = keys.format == KeyFormat::int8 ? byte : place.upper ? byte >> 4 : byte & 15;
  return double{keys.scale(r, g)} * (biased - bias_of(keys.format));
}

void route_candidates(const RouteRule& rule, MatView<const float> router_q,
                      std::span<const CompressedBlock> blocks, size_t k, RouteCandidates& found) {
  found.documents.clear();
  found.uppers.clear();
  found.certain = true;
  const size_t D = rule.head_dim, group = rule.query_heads / rule.kv_heads;
  // The norm of each query head as it is compared: 1 when it is normalised.
  std::vector<double> norms;
  for (size_t t = 0; t < router_q.rows; ++t)
    for (size_t h = 0; h < rule.query_heads; ++h) {
      double squares = 0;
      for (size_t i = 0; i < D; ++i)
        squares += double{router_q.row(t)[h * D + i]} * router_q.row(t)[h * D + i];
      norms.push_back(rule.cosine ? 1 : std::sqrt(squares / static_cast<double>(D)));
    }

  struct Document {
    RouteHit hit;
    double error = 0;
  };
  std::vector<Document> documents;
  std::vector<double> lowers;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const CompressedKeys& keys = blocks[b].keys;
    std::vector<float> values(keys.rows * keys.width());
    for (size_t r = 0; r < keys.rows; ++r)
      for (size_t c = 0; c < keys.width(); ++c)
        values[r * keys.width() + c] = static_cast<float>(get(keys, r, c));
    const KeyBlock block[] = {
        {MatView<const float>(values.data(), keys.rows, keys.width()), blocks[b].documents}};
    std::vector<RouteHit> hits;
    route(rule, router_q, block, block[0].documents.size(), hits);
    for (RouteHit hit : hits) {
      hit.block = static_cast<uint32_t>(b);
      const DocumentSpan& span = blocks[b].documents[hit.span];
      double most = 0;
      for (size_t c = span.first_chunk; c < size_t{span.first_chunk} + span.chunks; ++c)
        for (size_t t = 0; t < router_q.rows; ++t) {
          double sum = 0, highest = 0;
          for (size_t h = 0; h < rule.query_heads; ++h) {
            const size_t g = h / group;
            const double error =
                norms[t * rule.query_heads + h] * keys.error_norms[g] * keys.scale(c, g);
            sum += error / static_cast<double>(rule.query_heads);
            highest = std::max(highest, error);
          }
          most = std::max(most, rule.heads == RouteRule::Heads::mean ? sum : highest);
        }
      // float32 arithmetic in whatever the candidates are scored with again.
      most = most * 1.001 + 1e-5 * std::abs(hit.score);
      documents.push_back({hit, std::isnan(hit.score) ? kInfinity : most});
      lowers.push_back(std::isnan(hit.score) ? -kInfinity : hit.score - most);
    }
  }
  k = std::min(k, documents.size());
  if (k == 0) return;
  std::sort(lowers.begin(), lowers.end(), std::greater<>());
  const auto upper = [](const Document& d) {
    return std::isnan(d.hit.score) ? kInfinity : d.hit.score + d.error;
  };
  std::sort(documents.begin(), documents.end(), [&](const Document& a, const Document& b) {
    return upper(a) != upper(b) ? upper(a) > upper(b) : a.hit.number < b.hit.number;
  });
  for (const Document& document : documents) {
    if (upper(document) < lowers[k - 1]) break;
    if (found.documents.size() == std::max<size_t>(k, 4) * kCandidatesPerHit) {
      found.certain = false;
      break;
    }
    found.documents.push_back(document.hit);
    found.uppers.push_back(static_cast<float>(upper(document)));
  }
}

}  // namespace msa::ref
