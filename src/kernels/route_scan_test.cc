// The routing scan with oneDNN's products of tiles, which processors with AMX use, against that
// with our own. Both run wherever there are instructions for bf16.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/cpu/route_scan.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/test_matrices.h"

namespace msa::cpu {
namespace {

bool available() {
  return has_bf16_tile_product() && TileMatmul({64, 64}).is_fast();
}

TEST(TileMatmul, AgreesWithTileProduct) {
  if (!available()) GTEST_SKIP() << "no instructions for bf16 on this processor";
  std::mt19937 random(1);
  for (const size_t rows : {1, 48, 192})
    for (const size_t inputs : {32, 96, 1024}) {
      const auto a = TestMatrix::random(random, DType::bf16, rows, inputs);
      const auto queries = TestMatrix::random(random, DType::bf16, kPanelColumns, inputs);
      std::vector<bf16> panel(packed_size(inputs, kPanelColumns));
      const auto from = queries.view().as<bf16>();
      pack_panel_of_rows<bf16>(from.data, from.stride, kPanelColumns, inputs, panel.data());
      std::vector<float> ours(rows * kPanelColumns), theirs(rows * kPanelColumns, -1);
      const auto* data = reinterpret_cast<const bf16*>(a.view().data);
      tile_product(data, inputs, panel.data(), rows, kPanelColumns, inputs, ours.data(),
                   kPanelColumns, false);
      TileMatmul product({rows, inputs});
      ASSERT_TRUE(product.is_fast());
      product.multiply(data, panel.data(), theirs.data());
      const float scale = std::sqrt(static_cast<float>(inputs));
      for (size_t i = 0; i < ours.size(); ++i)
        ASSERT_NEAR(ours[i], theirs[i], 1e-5f * scale) << rows << " x " << inputs << ": " << i;
    }
}

class LibraryScan : public testing::Test {
 protected:
  void SetUp() override {
    if (!available()) GTEST_SKIP() << "no instructions for bf16 on this processor";
  }
  // Documents of 1 to 9 chunks, in blocks of as many chunks as given.
  void make_bank(size_t width, const std::vector<size_t>& blocks) {
    uint32_t number = 0;
    for (const size_t rows : blocks) {
      keys_.push_back(TestMatrix::random(random_, DType::bf16, rows, width));
      auto& spans = documents_.emplace_back();
      for (uint32_t first = 0; first < rows;) {
        const auto chunks =
            static_cast<uint32_t>(std::min<size_t>(1 + random_() % 9, rows - first));
        spans.push_back({number++, first, chunks});
        first += chunks;
      }
    }
  }
  std::vector<KeyBlock> blocks() const {
    std::vector<KeyBlock> blocks;
    for (size_t b = 0; b < keys_.size(); ++b) blocks.push_back({keys_[b].view(), documents_[b]});
    return blocks;
  }

  std::mt19937 random_{7};
  std::vector<TestMatrix> keys_;
  std::vector<std::vector<DocumentSpan>> documents_;
};

TEST_F(LibraryScan, FindsWhatOurProductsFind) {
  RouteRule rule;
  rule.query_heads = 8;
  rule.kv_heads = 2;
  rule.head_dim = 64;
  make_bank(rule.kv_heads * rule.head_dim, {500, 1, 191, 192, 193, 70});
  RouteScan ours(3, Bf16Tiles::native), theirs(3, Bf16Tiles::library);
  for (const auto heads : {RouteRule::Heads::mean, RouteRule::Heads::max})
    for (const auto tokens : {RouteRule::Tokens::max, RouteRule::Tokens::mean})
      for (const auto chunks : {RouteRule::Chunks::max, RouteRule::Chunks::mean}) {
        rule.heads = heads;
        rule.tokens = tokens;
        rule.chunks = chunks;
        // Requests for few and many queries share a pass.
        std::vector<TestMatrix> queries;
        for (const size_t M : {3, 9, 16, 17, 64, 65, 140})
          queries.push_back(
              TestMatrix::random(random_, DType::f32, M, rule.query_heads * rule.head_dim));
        std::vector<RouteQuery> requests;
        for (TestMatrix& q : queries) requests.push_back({q.f32(), 20});
        std::vector<std::vector<RouteHit>> expected, found;
        ours.run(rule, requests, blocks(), expected);
        theirs.run(rule, requests, blocks(), found);
        // With every head's highest, and one query, rows are not multiplied as wholes.
        ASSERT_EQ(theirs.took_library(),
                  heads == RouteRule::Heads::mean && tokens == RouteRule::Tokens::max);
        ASSERT_FALSE(ours.took_library());
        ASSERT_EQ(found.size(), expected.size());
        for (size_t r = 0; r < found.size(); ++r) {
          ASSERT_EQ(found[r].size(), expected[r].size());
          for (size_t i = 0; i < found[r].size(); ++i)
            ASSERT_NEAR(found[r][i].score, expected[r][i].score, 1e-5)
                << "request " << r << ", rank " << i;
        }
      }
}

// The candidates of compressed keys are scored again in blocks of their own; the exact scan has the
// same bits.
TEST_F(LibraryScan, ARowHasTheSameScoreWhereverItLies) {
  RouteRule rule;
  rule.query_heads = 4;
  rule.kv_heads = 4;
  rule.head_dim = 64;
  make_bank(rule.kv_heads * rule.head_dim, {700});
  auto q = TestMatrix::random(random_, DType::f32, 40, rule.query_heads * rule.head_dim);
  RouteScan scan(2, Bf16Tiles::library);
  std::vector<std::vector<RouteHit>> all, one;
  const RouteQuery request[] = {{q.f32(), documents_[0].size()}};
  scan.run(rule, request, blocks(), all);
  ASSERT_TRUE(scan.took_library());
  ASSERT_EQ(all[0].size(), documents_[0].size());
  for (const RouteHit& hit : all[0]) {
    const DocumentSpan& span = documents_[0][hit.span];
    const std::vector<DocumentSpan> alone = {{span.number, 0, span.chunks}};
    const KeyBlock block = {keys_[0].view().slice_rows(span.first_chunk, span.chunks), alone};
    scan.run(rule, request, {&block, 1}, one);
    ASSERT_TRUE(scan.took_library());
    ASSERT_EQ(one[0].size(), 1u);
    ASSERT_EQ(std::bit_cast<uint32_t>(one[0][0].score), std::bit_cast<uint32_t>(hit.score))
        << "document " << hit.number;
  }
}

}  // namespace
}  // namespace msa::cpu
