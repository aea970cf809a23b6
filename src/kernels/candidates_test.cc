// Compressed keys and the scan of them: the CPU backend against the scalar twins, and against the
// scan of the keys in full, whose documents and scores have to come out.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/aligned_buffer.h"
#include "kernels/test_matrices.h"

namespace msa {
namespace {

// Compressed keys with their memory, filled with noise before.
struct Compressed {
  AlignedBuffer<uint8_t> integers;
  AlignedBuffer<bf16> scales;
  std::vector<float> error_norms, integer_norms;
  MutableCompressedKeys view;

  Compressed(KeyFormat format, DType full, size_t rows, size_t G, size_t D)
      : integers(padded_rows(rows) * integer_bytes(format, G, D)),
        scales(padded_rows(rows) * G),
        error_norms(G),
        integer_norms(G),
        view{format,
             full,
             rows,
             G,
             D,
             integers.data(),
             scales.data(),
             error_norms.data(),
             integer_norms.data()} {
    std::fill_n(integers.data(), integers.size(), uint8_t{0xa5});
    std::fill_n(scales.data(), scales.size(),
                bf16::from_float(std::numeric_limits<float>::quiet_NaN()));
  }
};

// A memory: keys in full, the same compressed, and the documents.
struct Keys {
  std::vector<TestMatrix> full;
  std::vector<std::unique_ptr<Compressed>> compressed;
  std::vector<std::vector<DocumentSpan>> documents;
  size_t count = 0;

  // A negative number of chunks is a removed document's.
  void add(Backend& backend, KeyFormat format, TestMatrix keys, size_t heads,
           const std::vector<int>& chunks) {
    const ConstAnyMat view = std::as_const(keys).view();
    compressed.push_back(
        std::make_unique<Compressed>(format, view.dtype, view.rows, heads, view.cols / heads));
    backend.compress_keys(view, compressed.back()->view);
    full.push_back(std::move(keys));
    auto& spans = documents.emplace_back();
    uint32_t first = 0;
    for (const int n : chunks) {
      const auto length = static_cast<uint32_t>(std::abs(n));
      if (n > 0) spans.push_back({static_cast<uint32_t>(count++), first, length});
      first += length;
    }
  }
  std::vector<KeyBlock> blocks() const {
    std::vector<KeyBlock> views;
    for (size_t b = 0; b < full.size(); ++b) views.push_back({full[b].view(), documents[b]});
    return views;
  }
  std::vector<CompressedBlock> compressed_blocks() const {
    std::vector<CompressedBlock> views;
    for (size_t b = 0; b < full.size(); ++b) views.push_back({compressed[b]->view, documents[b]});
    return views;
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
size_t total(const std::vector<int>& lengths) {
  size_t rows = 0;
  for (const int n : lengths) rows += static_cast<size_t>(std::abs(n));
  return rows;
}

// Rows around `centres` random points, as passages of documents on the same matters are.
TestMatrix clustered(std::mt19937& random, DType dtype, size_t rows, size_t cols, size_t centres,
                     float spread) {
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> points(centres * cols);
  for (float& x : points) x = normal(random);
  TestMatrix m(dtype, rows, cols);
  for (size_t r = 0; r < rows; ++r) {
    const float* point = points.data() + random() % centres * cols;
    for (size_t c = 0; c < cols; ++c) m.put(r, c, point[c] + spread * normal(random));
  }
  return m;
}

RouteRule rule_of(size_t H, size_t G, size_t D) {
  RouteRule rule;
  rule.query_heads = H;
  rule.kv_heads = G;
  rule.head_dim = D;
  return rule;
}

// Scores the candidates with the keys in full: what a router does with them.
std::vector<RouteHit> rescore(Backend& backend, const RouteRule& rule, MatView<const float> q,
                              const Keys& keys, const RouteCandidates& found, size_t k) {
  std::vector<DocumentSpan> spans;
  for (const RouteHit& c : found.documents)
    spans.push_back({c.number, 0, keys.documents[c.block][c.span].chunks});
  std::vector<KeyBlock> blocks;
  for (size_t i = 0; i < spans.size(); ++i) {
    const RouteHit& c = found.documents[i];
    blocks.push_back({keys.full[c.block].view().slice_rows(
                          keys.documents[c.block][c.span].first_chunk, spans[i].chunks),
                      std::span(spans).subspan(i, 1)});
  }
  std::vector<RouteHit> hits;
  backend.route(rule, q, blocks, k, hits);
  for (RouteHit& hit : hits) {
    const RouteHit& candidate = found.documents[hit.block];
    hit.block = candidate.block;
    hit.span = candidate.span;
  }
  return hits;
}

bool same(const std::vector<RouteHit>& a, const std::vector<RouteHit>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const RouteHit& x, const RouteHit& y) {
                      return x.number == y.number && x.block == y.block && x.span == y.span &&
                             std::bit_cast<uint32_t>(x.score) == std::bit_cast<uint32_t>(y.score);
                    });
}

struct Case {
  KeyFormat format;
  DType dtype;
};
class CandidatesTest : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Backend> backend_ = cpu_backend(3), reference_ = make_reference_backend();
  std::mt19937 random_{5};
  KeyFormat format() const { return GetParam().format; }
  DType dtype() const { return GetParam().dtype; }
};
INSTANTIATE_TEST_SUITE_P(
    Formats, CandidatesTest,
    testing::Values(Case{KeyFormat::int8, DType::f32}, Case{KeyFormat::int8, DType::bf16},
                    Case{KeyFormat::int4, DType::f32}, Case{KeyFormat::int4, DType::bf16}),
    [](const auto& instance) {
      return fmt::format("{}_of_{}", name_of(instance.param.format), name_of(instance.param.dtype));
    });

TEST_P(CandidatesTest, CompressionIsThatOfTheScalarTwin) {
  struct Shape {
    size_t G, D;
  };
  for (const Shape s : {Shape{1, 1}, {1, 5}, {3, 7}, {2, 16}, {3, 33}, {8, 64}, {2, 100}, {1, 256}})
    for (const size_t rows : {1, 2, 13, 70}) {
      const auto keys = TestMatrix::random(random_, dtype(), rows, s.G * s.D, s.G * s.D + 3, 0.3f);
      Compressed fast(format(), dtype(), rows, s.G, s.D), plain(format(), dtype(), rows, s.G, s.D);
      backend_->compress_keys(keys.view(), fast.view);
      reference_->compress_keys(keys.view(), plain.view);
      ASSERT_TRUE(std::equal(fast.integers.data(), fast.integers.data() + fast.integers.size(),
                             plain.integers.data()))
          << s.G << " " << s.D << " " << rows;
      for (size_t i = 0; i < fast.scales.size(); ++i)
        ASSERT_EQ(fast.scales.data()[i].bits, plain.scales.data()[i].bits);
      for (size_t g = 0; g < s.G; ++g) {
        ASSERT_GE(fast.error_norms[g], plain.error_norms[g] * 0.9999f);
        ASSERT_LE(fast.error_norms[g], plain.error_norms[g] * 1.01f + 1e-6f);
        ASSERT_NEAR(fast.integer_norms[g], plain.integer_norms[g], 1e-4f * plain.integer_norms[g]);
      }
      // No value is off by more than half a step, and the norm says by how much a row is.
      for (size_t r = 0; r < rows; ++r)
        for (size_t g = 0; g < s.G; ++g) {
          const double scale = std::as_const(fast).view.scale(r, g);
          double squares = 0;
          for (size_t i = 0; i < s.D; ++i) {
            const size_t c = g * s.D + i;
            const double error = ref::get(keys.view(), r, c) - ref::get(fast.view, r, c);
            ASSERT_LE(std::abs(error), 0.5001 * scale);
            squares += error * error;
          }
          ASSERT_LE(std::sqrt(squares), fast.error_norms[g] * scale);
        }
    }
}

TEST_P(CandidatesTest, EveryRuleGivesTheExactDocumentsAndScores) {
  struct Shape {
    size_t H, G, D;
  };
  size_t uncertain = 0;
  for (const Shape s : {Shape{4, 4, 16}, {8, 1, 80}, {6, 2, 10}, {3, 3, 5}, {4, 2, 64}}) {
    Keys keys;
    for (const std::vector<int>& lengths :
         {random_lengths(random_, 40, 5), {1}, {130, -60, 49, 1, 1, 48}})
      keys.add(*backend_, format(),
               TestMatrix::random(random_, dtype(), total(lengths), s.G * s.D, 0, 0.1f), s.G,
               lengths);
    for (const auto heads : {RouteRule::Heads::mean, RouteRule::Heads::max})
      for (const auto tokens :
           {RouteRule::Tokens::max, RouteRule::Tokens::mean, RouteRule::Tokens::last})
        for (const auto chunks : {RouteRule::Chunks::max, RouteRule::Chunks::mean})
          for (const bool cosine : {true, false})
            for (const size_t M : {1, 2, 5, 8, 9, 17, 64, 70}) {
              RouteRule rule = rule_of(s.H, s.G, s.D);
              rule.heads = heads;
              rule.tokens = tokens;
              rule.chunks = chunks;
              rule.cosine = cosine;
              const std::string what =
                  fmt::format("H {} G {} D {} heads {} tokens {} chunks {} cosine {} M {}", s.H,
                              s.G, s.D, static_cast<int>(heads), static_cast<int>(tokens),
                              static_cast<int>(chunks), cosine, M);
              auto q = TestMatrix::random(random_, DType::f32, M, s.H * s.D, s.H * s.D + 3);
              std::vector<RouteHit> exact;
              backend_->route(rule, q.f32(), keys.blocks(), 7, exact);
              std::vector<RouteCandidates> found, all;
              const RouteQuery request[] = {{q.f32(), 7}}, everything[] = {{q.f32(), keys.count}};
              backend_->route_candidates(rule, request, keys.compressed_blocks(), found);
              uncertain += !found[0].certain;
              EXPECT_TRUE(same(rescore(*backend_, rule, q.f32(), keys, found[0], 7), exact))
                  << what;

              // Each score is that of the integers, but for the rounding of the queries.
              if (M > 17) continue;
              backend_->route_candidates(rule, everything, keys.compressed_blocks(), found);
              reference_->route_candidates(rule, everything, keys.compressed_blocks(), all);
              ASSERT_EQ(found[0].documents.size(), keys.count) << what;
              ASSERT_EQ(all[0].documents.size(), keys.count) << what;
              std::vector<float> expected(keys.count);
              double highest = 1e-6;
              for (const RouteHit& hit : all[0].documents) {
                expected[hit.number] = hit.score;
                highest = std::max<double>(highest, std::abs(hit.score));
              }
              for (const RouteHit& hit : found[0].documents)
                ASSERT_NEAR(hit.score, expected[hit.number], 0.02 * highest) << what;
            }
  }
  EXPECT_EQ(uncertain, 0u);
}

// What the compressed keys leave out must not be among the best: on random and on clustered keys,
// with many queries. int8 is never wrong.
TEST_P(CandidatesTest, LeavesOutNoneOfTheBest) {
  const RouteRule rule = rule_of(4, 2, 64);
  const size_t k = 16;
  size_t queries = 0, equal = 0, candidates = 0;
  for (const size_t centres : {0, 20, 400}) {
    Keys keys;
    for (const size_t documents : {1500, 700}) {
      const auto lengths = random_lengths(random_, documents, 3);
      keys.add(*backend_, format(),
               centres == 0 ? TestMatrix::random(random_, dtype(), total(lengths), 128, 0, 0.1f)
                            : clustered(random_, dtype(), total(lengths), 128, centres, 0.3f),
               2, lengths);
    }
    for (size_t i = 0; i < 120; ++i) {
      auto q = TestMatrix::random(random_, DType::f32, 1 + i % 12, 256);
      std::vector<RouteHit> exact;
      std::vector<RouteCandidates> found;
      const RouteQuery request[] = {{q.f32(), k}};
      backend_->route(rule, q.f32(), keys.blocks(), k, exact);
      backend_->route_candidates(rule, request, keys.compressed_blocks(), found);
      EXPECT_TRUE(found[0].certain);
      ++queries;
      candidates += found[0].documents.size();
      equal += same(rescore(*backend_, rule, q.f32(), keys, found[0], k), exact);
    }
  }
  if (format() == KeyFormat::int8) {
    EXPECT_EQ(equal, queries);
  }
  EXPECT_GE(static_cast<double>(equal), 0.999 * static_cast<double>(queries));
  // They are few, else nothing is saved.
  EXPECT_LT(candidates, queries * (format() == KeyFormat::int8 ? 300 : 600));
  RecordProperty("candidates_per_query", static_cast<int>(candidates / queries));
}

TEST_P(CandidatesTest, ManyRequestsInOnePassFindWhatEachFindsAlone) {
  const RouteRule rule = rule_of(4, 2, 32);
  Keys keys;
  for (const size_t documents : {900, 1, 60}) {
    const auto lengths = random_lengths(random_, documents, 70);
    keys.add(*backend_, format(), TestMatrix::random(random_, dtype(), total(lengths), 64, 0, 0.1f),
             2, lengths);
  }
  std::vector<TestMatrix> queries;
  for (const size_t M : {1, 3, 9, 70, 2})
    queries.push_back(TestMatrix::random(random_, DType::f32, M, 128));
  std::vector<RouteQuery> requests;
  for (TestMatrix& q : queries) requests.push_back({q.f32(), 1 + requests.size() * 3});
  requests.push_back({queries[0].f32(), 0});
  std::vector<RouteCandidates> together, alone;
  backend_->route_candidates(rule, requests, keys.compressed_blocks(), together);
  std::vector<std::vector<RouteHit>> hits;
  backend_->route(rule, requests, keys.blocks(), hits);
  ASSERT_EQ(together.size(), requests.size());
  ASSERT_EQ(hits.size(), requests.size());
  const auto by_number = [](std::vector<RouteHit> documents) {
    std::sort(documents.begin(), documents.end(),
              [](const RouteHit& a, const RouteHit& b) { return a.number < b.number; });
    return documents;
  };
  for (size_t r = 0; r < requests.size(); ++r) {
    backend_->route_candidates(rule, {&requests[r], 1}, keys.compressed_blocks(), alone);
    EXPECT_TRUE(same(by_number(together[r].documents), by_number(alone[0].documents))) << r;
    std::vector<RouteHit> single;
    backend_->route(rule, requests[r].router_q, keys.blocks(), requests[r].k, single);
    EXPECT_TRUE(same(hits[r], single)) << r;
  }
  EXPECT_TRUE(together.back().documents.empty());
  backend_->route_candidates(rule, {}, keys.compressed_blocks(), alone);
  EXPECT_TRUE(alone.empty());
  backend_->route_candidates(rule, requests, {}, alone);
  ASSERT_EQ(alone.size(), requests.size());
  EXPECT_TRUE(alone[0].documents.empty());
}

TEST_P(CandidatesTest, ThreadsDoNotChangeWhatIsGathered) {
  Keys keys;
  const auto lengths = random_lengths(random_, 3000, 4);
  keys.add(*backend_, format(), clustered(random_, dtype(), total(lengths), 64, 5, 0.02f), 2,
           lengths);
  auto q = TestMatrix::random(random_, DType::f32, 5, 128);
  const RouteQuery request[] = {{q.f32(), 3}};
  std::vector<std::vector<uint32_t>> numbers;
  for (const int threads : {1, 2, 8}) {
    std::vector<RouteCandidates> found;
    cpu_backend(threads)->route_candidates(rule_of(4, 2, 32), request, keys.compressed_blocks(),
                                           found);
    auto& of_threads = numbers.emplace_back();
    for (const RouteHit& hit : found[0].documents) of_threads.push_back(hit.number);
    std::sort(of_threads.begin(), of_threads.end());
    EXPECT_EQ(of_threads, numbers[0]) << threads;
  }
}

// Keys that hold no finite numbers could be anything: their documents are always candidates.
TEST_P(CandidatesTest, WhatIsNotFiniteIsScoredAgain) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinite = std::numeric_limits<float>::infinity();
  for (const auto heads : {RouteRule::Heads::mean, RouteRule::Heads::max})
    for (const auto chunks : {RouteRule::Chunks::max, RouteRule::Chunks::mean})
      for (const size_t M : {1, 7, 12, 70}) {
        RouteRule rule = rule_of(4, 2, 16);
        rule.heads = heads;
        rule.chunks = chunks;
        Keys keys;
        auto matrix = TestMatrix::random(random_, dtype(), 9, 32, 0, 0.1f);
        matrix.put(1, 5, nan);        // document 0
        matrix.put(5, 31, infinite);  // document 2
        for (size_t c = 0; c < 32; ++c) matrix.put(8, c, 0);
        keys.add(*backend_, format(), std::move(matrix), 2, {2, 3, 1, 2, 1});
        auto q = TestMatrix::random(random_, DType::f32, M, 64);
        for (const size_t k : {1, 2, 5}) {
          const RouteQuery request[] = {{q.f32(), k}};
          std::vector<RouteCandidates> found;
          std::vector<RouteHit> exact;
          backend_->route(rule, q.f32(), keys.blocks(), k, exact);
          backend_->route_candidates(rule, request, keys.compressed_blocks(), found);
          const auto again = rescore(*backend_, rule, q.f32(), keys, found[0], k);
          ASSERT_EQ(again.size(), exact.size());
          for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(again[i].number, exact[i].number);
        }
      }
}

TEST_P(CandidatesTest, TooManyNearTiesAreToldAndTheLowestNumbersKept) {
  Keys keys;
  TestMatrix matrix(dtype(), 3000, 32);
  for (size_t r = 0; r < 3000; ++r)
    for (size_t c = 0; c < 32; ++c) matrix.put(r, c, static_cast<float>(c % 5) - 2);
  keys.add(*backend_, format(), std::move(matrix), 2, std::vector<int>(3000, 1));
  auto q = TestMatrix::random(random_, DType::f32, 3, 64);
  const RouteQuery request[] = {{q.f32(), 5}};
  for (Backend* backend : {backend_.get(), reference_.get()}) {
    std::vector<RouteCandidates> found;
    backend->route_candidates(rule_of(4, 2, 16), request, keys.compressed_blocks(), found);
    EXPECT_FALSE(found[0].certain);
    ASSERT_EQ(found[0].documents.size(), 5 * kCandidatesPerHit);
    for (const RouteHit& hit : found[0].documents) EXPECT_LT(hit.number, 5 * kCandidatesPerHit);
    const auto hits = rescore(*backend_, rule_of(4, 2, 16), q.f32(), keys, found[0], 5);
    for (uint32_t i = 0; i < 5; ++i) EXPECT_EQ(hits[i].number, i);
  }
}

}  // namespace
}  // namespace msa
