// Routing of the CPU backend against the reference, over all rules and layouts of blocks.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/route_unfolded.h"
#include "kernels/test_matrices.h"

namespace msa {
namespace {

// Blocks of keys with the documents in them.
struct Keys {
  std::vector<TestMatrix> matrices;
  std::vector<std::vector<DocumentSpan>> documents;
  size_t count = 0;  // of documents

  std::vector<KeyBlock> blocks() const {
    std::vector<KeyBlock> views;
    for (size_t b = 0; b < matrices.size(); ++b)
      views.push_back({matrices[b].view(), documents[b]});
    return views;
  }
  // Appends a block of documents with these chunk counts; a negative one is removed.
  void add(std::mt19937& random, DType dtype, size_t width, const std::vector<int>& chunks) {
    size_t rows = 0;
    for (const int n : chunks) rows += static_cast<size_t>(std::abs(n));
    matrices.push_back(TestMatrix::random(random, dtype, rows, width, 0, 0.1f));
    auto& spans = documents.emplace_back();
    uint32_t first = 0;
    for (const int n : chunks) {
      const auto length = static_cast<uint32_t>(std::abs(n));
      if (n > 0) spans.push_back({static_cast<uint32_t>(count++), first, length});
      first += length;
    }
  }
};

std::vector<int> random_lengths(std::mt19937& random, size_t documents, int most) {
  std::vector<int> lengths(documents);
  for (int& n : lengths) {
    n = 1 + static_cast<int>(random() % static_cast<unsigned>(most));
    if (random() % 8 == 0) n = -n;
  }
  return lengths;
}

RouteRule rule_of(size_t H, size_t G, size_t D) {
  RouteRule rule;
  rule.query_heads = H;
  rule.kv_heads = G;
  rule.head_dim = D;
  return rule;
}

// Both find the same scores; where those lie within the tolerance the order may differ, so each
// document found is compared with the reference's score of that document.
void expect_same(Backend& backend, Backend& reference, const RouteRule& rule,
                 MatView<const float> router_q, const Keys& keys, size_t k, double tolerance,
                 const std::string& what) {
  std::vector<RouteHit> hits, all, again;
  const auto blocks = keys.blocks();
  backend.route(rule, router_q, blocks, k, hits);
  reference.route(rule, router_q, blocks, keys.count, all);
  ASSERT_EQ(hits.size(), std::min(k, keys.count)) << what;
  double scale = 1e-6;
  for (const RouteHit& hit : all) scale = std::max<double>(scale, std::abs(hit.score));
  std::vector<bool> found(keys.count, false);
  for (size_t i = 0; i < hits.size(); ++i) {
    const RouteHit& hit = hits[i];
    ASSERT_NEAR(hit.score, all[i].score, tolerance * scale) << what << ", rank " << i;
    const auto same = std::find_if(all.begin(), all.end(),
                                   [&](const RouteHit& a) { return a.number == hit.number; });
    ASSERT_NE(same, all.end()) << what;
    ASSERT_NEAR(hit.score, same->score, tolerance * scale) << what << ", rank " << i;
    ASSERT_EQ(hit.block, same->block) << what;
    ASSERT_EQ(hit.span, same->span) << what;
    ASSERT_FALSE(found[hit.number]) << what << ": document " << hit.number << " twice";
    found[hit.number] = true;
    if (i > 0) {
      ASSERT_TRUE(ranks_before(hits[i - 1], hit)) << what;
    }
  }
  backend.route(rule, router_q, blocks, k, again);
  ASSERT_EQ(again.size(), hits.size());
  for (size_t i = 0; i < hits.size(); ++i) {
    ASSERT_EQ(again[i].number, hits[i].number) << what;
    ASSERT_EQ(std::bit_cast<uint32_t>(again[i].score), std::bit_cast<uint32_t>(hits[i].score));
  }
}

// Queries may be rounded to bf16 when keys are: 2^-9 of each of the D or G*D terms, whose sum is
// not much smaller than its terms together where the score is among the best.
double tolerance_of(DType keys) {
  return keys == DType::bf16 ? 0x1p-7 : 1e-5;
}

class RouteTest : public testing::TestWithParam<DType> {
 protected:
  std::unique_ptr<Backend> backend_ = cpu_backend(3), reference_ = make_reference_backend();
  std::mt19937 random_{1};
};
INSTANTIATE_TEST_SUITE_P(Types, RouteTest, testing::Values(DType::f32, DType::bf16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(RouteTest, EveryRule) {
  struct Shape {
    size_t H, G, D;
  };
  for (const Shape s : {Shape{4, 4, 16}, {8, 1, 80}, {6, 2, 10}}) {
    Keys keys;
    keys.add(random_, GetParam(), s.G * s.D, random_lengths(random_, 40, 5));
    keys.add(random_, GetParam(), s.G * s.D, {1});
    keys.add(random_, GetParam(), s.G * s.D, {130, -60, 49, 1, 1, 48});
    for (const auto heads : {RouteRule::Heads::mean, RouteRule::Heads::max})
      for (const auto tokens :
           {RouteRule::Tokens::max, RouteRule::Tokens::mean, RouteRule::Tokens::last})
        for (const auto chunks : {RouteRule::Chunks::max, RouteRule::Chunks::mean})
          for (const bool cosine : {true, false})
            for (const size_t M : {1, 2, 3, 5, 8, 9, 17, 40, 70}) {
              RouteRule rule = rule_of(s.H, s.G, s.D);
              rule.heads = heads;
              rule.tokens = tokens;
              rule.chunks = chunks;
              rule.cosine = cosine;
              auto q = TestMatrix::random(random_, DType::f32, M, s.H * s.D, s.H * s.D + 3);
              expect_same(
                  *backend_, *reference_, rule, q.f32(), keys, 7, tolerance_of(GetParam()),
                  fmt::format("H {} G {} D {} heads {} tokens {} chunks {} cosine {} M {}", s.H,
                              s.G, s.D, static_cast<int>(heads), static_cast<int>(tokens),
                              static_cast<int>(chunks), cosine, M));
            }
  }
}

TEST_P(RouteTest, BlocksOfEverySize) {
  const RouteRule rule = rule_of(4, 2, 32);
  auto q = TestMatrix::random(random_, DType::f32, 12, 128);
  for (size_t round = 0; round < 10; ++round) {
    Keys keys;
    for (size_t b = 0; b < 1 + round * 20; ++b)
      keys.add(random_, GetParam(), 64, random_lengths(random_, random_() % 5, 3));
    keys.add(random_, GetParam(), 64,
             random_lengths(random_, 300, 1 + static_cast<int>(round) * 4));
    keys.add(random_, GetParam(), 64, {1700});
    expect_same(*backend_, *reference_, rule, q.f32(), keys, 16, tolerance_of(GetParam()),
                fmt::format("round {}", round));
  }
}

TEST_P(RouteTest, ThreadsDoNotChangeTheResult) {
  Keys keys;
  keys.add(random_, GetParam(), 64, random_lengths(random_, 3000, 4));
  auto q = TestMatrix::random(random_, DType::f32, 12, 128);
  std::vector<RouteHit> expected, hits;
  cpu_backend(1)->route(rule_of(4, 2, 32), q.f32(), keys.blocks(), 20, expected);
  for (const int threads : {2, 3, 8}) {
    cpu_backend(threads)->route(rule_of(4, 2, 32), q.f32(), keys.blocks(), 20, hits);
    ASSERT_EQ(hits.size(), expected.size());
    for (size_t i = 0; i < hits.size(); ++i) EXPECT_EQ(hits[i].number, expected[i].number);
  }
}

TEST_P(RouteTest, EqualScoresGoToTheLowerNumber) {
  Keys keys;
  keys.add(random_, GetParam(), 32, std::vector<int>(500, 1));
  AnyMat view = keys.matrices[0].view();
  for (size_t r = 1; r < view.rows; ++r)
    backend_->copy_rows(ConstAnyMat(view).slice_rows(0, 1), view.slice_rows(r, 1));
  std::shuffle(keys.documents[0].begin(), keys.documents[0].end(), random_);
  for (uint32_t i = 0; i < 500; ++i) {  // spans ascend, numbers do not
    keys.documents[0][i].first_chunk = i;
  }
  for (const size_t M : {1, 12}) {
    auto q = TestMatrix::random(random_, DType::f32, M, 64);
    std::vector<RouteHit> hits;
    backend_->route(rule_of(4, 2, 16), q.f32(), keys.blocks(), 10, hits);
    ASSERT_EQ(hits.size(), 10u);
    for (uint32_t i = 0; i < 10; ++i) EXPECT_EQ(hits[i].number, i);
  }
}

TEST_P(RouteTest, NanRanksLast) {
  Keys keys;
  keys.add(random_, GetParam(), 32, {2, 3, 1, 2});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  keys.matrices[0].put(1, 5, nan);   // document 0
  keys.matrices[0].put(5, 31, nan);  // document 2
  for (const auto heads : {RouteRule::Heads::mean, RouteRule::Heads::max})
    for (const auto chunks : {RouteRule::Chunks::max, RouteRule::Chunks::mean})
      for (const size_t M : {1, 2, 7, 12, 33}) {
        auto q = TestMatrix::random(random_, DType::f32, M, 64);
        RouteRule rule = rule_of(4, 2, 16);
        rule.heads = heads;
        rule.chunks = chunks;
        for (Backend* backend : {backend_.get(), reference_.get()}) {
          std::vector<RouteHit> hits;
          backend->route(rule, q.f32(), keys.blocks(), 4, hits);
          ASSERT_EQ(hits.size(), 4u);
          EXPECT_EQ(hits[2].number, 0u);
          EXPECT_EQ(hits[3].number, 2u);
          EXPECT_TRUE(std::isnan(hits[2].score) && std::isnan(hits[3].score));
          EXPECT_FALSE(std::isnan(hits[1].score));
        }
      }
}

TEST_P(RouteTest, FewerDocumentsThanWanted) {
  Keys keys;
  auto q = TestMatrix::random(random_, DType::f32, 3, 64);
  std::vector<RouteHit> hits(5);
  backend_->route(rule_of(4, 2, 16), q.f32(), {}, 4, hits);
  EXPECT_TRUE(hits.empty());
  keys.add(random_, GetParam(), 32, {2, 1, -4});
  expect_same(*backend_, *reference_, rule_of(4, 2, 16), q.f32(), keys, 100,
              tolerance_of(GetParam()), "two documents");
  backend_->route(rule_of(4, 2, 16), q.f32(), keys.blocks(), 0, hits);
  EXPECT_TRUE(hits.empty());
  keys.documents[0].clear();
  backend_->route(rule_of(4, 2, 16), q.f32(), keys.blocks(), 4, hits);
  EXPECT_TRUE(hits.empty());
}

TEST_P(RouteTest, BlocksOfBothTypes) {
  Keys keys;
  keys.add(random_, DType::f32, 64, random_lengths(random_, 50, 4));
  keys.add(random_, DType::bf16, 64, random_lengths(random_, 50, 4));
  for (const size_t M : {1, 6, 20}) {
    auto q = TestMatrix::random(random_, DType::f32, M, 128);
    expect_same(*backend_, *reference_, rule_of(4, 2, 32), q.f32(), keys, 16,
                tolerance_of(DType::bf16), fmt::format("M {}", M));
  }
}

// The form for comparison computes the same, whatever fits its scratch memory.
TEST_P(RouteTest, UnfoldedFormAgrees) {
  Keys keys;
  keys.add(random_, GetParam(), 64, random_lengths(random_, 50, 4));
  keys.add(random_, GetParam(), 64, {3, 1});
  auto q = TestMatrix::random(random_, DType::f32, 5, 128);
  for (const size_t scratch : {size_t{1} << 20, size_t{4 * 5 * 7 * 4}})
    for (const auto heads : {RouteRule::Heads::mean, RouteRule::Heads::max})
      for (const auto tokens :
           {RouteRule::Tokens::max, RouteRule::Tokens::mean, RouteRule::Tokens::last}) {
        RouteRule rule = rule_of(4, 2, 32);
        rule.heads = heads;
        rule.tokens = tokens;
        UnfoldedRoute unfolded(2, scratch);
        std::vector<RouteHit> hits, expected;
        if (!unfolded.run(rule, q.f32(), keys.blocks(), 9, hits))
          GTEST_SKIP() << "oneDNN has no such product on this processor";
        reference_->route(rule, q.f32(), keys.blocks(), 9, expected);
        ASSERT_EQ(hits.size(), expected.size());
        for (size_t i = 0; i < hits.size(); ++i)
          EXPECT_NEAR(hits[i].score, expected[i].score,
                      tolerance_of(GetParam()) * std::abs(expected[0].score));
      }
}

TEST(RanksBefore, IsAStrictOrder) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const RouteHit best{7, 2.0f, 0, 0}, low{1, 1.0f, 0, 0}, high{2, 1.0f, 0, 0}, none{0, nan, 0, 0},
      none_too{1, nan, 0, 0};
  const RouteHit order[] = {best, low, high, none, none_too};
  for (size_t i = 0; i < std::size(order); ++i)
    for (size_t j = 0; j < std::size(order); ++j)
      EXPECT_EQ(ranks_before(order[i], order[j]), i < j) << i << " " << j;
}

}  // namespace
}  // namespace msa
