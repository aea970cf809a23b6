#include "train/model/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "train/model/test_batch.h"

namespace msa::train {
namespace {

using testing::ElementsAre;

// Scores by the definition, one pair at a time, in double.
double naive_score(const torch::Tensor& queries, const torch::Tensor& keys, const StepPlan& plan,
                   const MsaConfig& config, bool cosine, size_t r, size_t n) {
  const int64_t H = queries.size(1), D = queries.size(2), G = keys.size(1);
  const auto pair = [&](int64_t t, int64_t c) {
    double best = -1e300, sum = 0;
    for (int64_t h = 0; h < H; ++h) {
      const torch::Tensor q = queries[t][h].to(torch::kFloat64);
      const torch::Tensor k = keys[c][h / (H / G)].to(torch::kFloat64);
      double s = torch::dot(q, k).item<double>();
      s /= cosine ? q.norm().item<double>() * k.norm().item<double>()
                  : std::sqrt(static_cast<double>(D));
      best = std::max(best, s);
      sum += s / static_cast<double>(H);
    }
    return config.head_reduce == HeadReduce::max ? best : sum;
  };
  const auto over_tokens = [&](int64_t c) {
    const int32_t begin = plan.routing_runs[r], end = plan.routing_runs[r + 1];
    if (config.query_reduce == QueryReduce::last) return pair(end - 1, c);
    double best = -1e300, sum = 0;
    for (int32_t t = begin; t < end; ++t) {
      const double s = pair(t, c);
      best = std::max(best, s);
      sum += s / (end - begin);
    }
    return config.query_reduce == QueryReduce::max ? best : sum;
  };
  double best = -1e300, sum = 0;
  const int32_t begin = plan.doc_chunks[n], end = plan.doc_chunks[n + 1];
  for (int32_t c = begin; c < end; ++c) {
    const double s = over_tokens(c);
    best = std::max(best, s);
    sum += s / (end - begin);
  }
  return config.chunk_reduce == ChunkReduce::max ? best : sum;
}

TEST(Router, ScoresAreTheDefinition) {
  torch::manual_seed(5);
  for (const uint64_t seed : {1, 2}) {
    BatchShape shape;
    shape.max_query = 30;
    const auto plan = make_plan(random_batch(shape, seed), small_config(), 2);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    const auto queries =
        torch::randn({static_cast<int64_t>(plan->routing_rows.size()), 4, 8}, torch::kFloat32);
    const auto keys = torch::randn({static_cast<int64_t>(plan->chunks()), 2, 8}, torch::kFloat32);
    MsaConfig config;
    for (const auto heads : {HeadReduce::mean, HeadReduce::max})
      for (const auto tokens : {QueryReduce::max, QueryReduce::mean, QueryReduce::last})
        for (const auto chunks : {ChunkReduce::max, ChunkReduce::mean})
          for (const bool cosine : {false, true}) {
            config.head_reduce = heads;
            config.query_reduce = tokens;
            config.chunk_reduce = chunks;
            const auto scores =
                route_scores(queries, keys, {}, *plan, config, cosine, OpsMode::automatic);
            ASSERT_EQ(scores.size(0), static_cast<int64_t>(plan->routed.size()));
            ASSERT_EQ(scores.size(1), static_cast<int64_t>(plan->documents()));
            for (size_t r = 0; r < plan->routed.size(); ++r)
              for (size_t n = 0; n < plan->documents(); ++n)
                EXPECT_NEAR(scores[static_cast<int64_t>(r)][static_cast<int64_t>(n)].item<double>(),
                            naive_score(queries, keys, *plan, config, cosine, r, n), 2e-5)
                    << name_of(heads) << ' ' << name_of(tokens) << ' ' << name_of(chunks) << ' '
                    << cosine;
          }
  }
}

// Chunks that are no document's: one column each, after the documents'.
TEST(Router, OtherChunksAreScoredOneByOne) {
  torch::manual_seed(7);
  const auto plan = make_plan(random_batch({}, 4), small_config(), 2);
  ASSERT_TRUE(plan.ok());
  const auto queries =
      torch::randn({static_cast<int64_t>(plan->routing_rows.size()), 4, 8}, torch::kFloat32);
  const auto keys = torch::randn({static_cast<int64_t>(plan->chunks()), 2, 8}, torch::kFloat32);
  const auto others = torch::randn({5, 2, 8}, torch::kFloat32);
  StepPlan of_others = *plan;  // each chunk a document
  of_others.doc_chunks = {0, 1, 2, 3, 4, 5};
  for (const bool cosine : {false, true}) {
    const MsaConfig config;
    const auto both =
        route_scores(queries, keys, others, *plan, config, cosine, OpsMode::automatic);
    const auto documents = static_cast<int64_t>(plan->documents());
    ASSERT_EQ(both.size(1), documents + 5);
    const auto close = [](const torch::Tensor& a, const torch::Tensor& b) {
      return (a - b).abs().max().item<double>() < 1e-5;
    };
    EXPECT_TRUE(close(both.slice(1, 0, documents),
                      route_scores(queries, keys, {}, *plan, config, cosine, OpsMode::automatic)));
    EXPECT_TRUE(close(both.slice(1, documents), route_scores(queries, others, {}, of_others, config,
                                                             cosine, OpsMode::automatic)));
  }
}

TEST(Router, HardestNegativesAreTheBestThatMayCount) {
  torch::manual_seed(8);
  const auto plan = make_plan(random_batch({}, 4), small_config(), 2);
  ASSERT_TRUE(plan.ok());
  const auto queries =
      torch::randn({static_cast<int64_t>(plan->routing_rows.size()), 4, 8}, torch::kFloat32);
  constexpr int64_t kOthers = 40;
  const auto others = torch::randn({kOthers, 2, 8}, torch::kFloat32);
  const auto rows = static_cast<int64_t>(plan->routed.size());
  auto unrelated = torch::rand({rows, kOthers}).gt(0.3);
  unrelated[0].fill_(false);
  unrelated[1].fill_(false);
  unrelated[1][7].fill_(true);  // one only
  const MsaConfig config;
  StepPlan each = *plan;  // every chunk a document, to have all scores
  each.doc_chunks.clear();
  for (int32_t i = 0; i <= kOthers; ++i) each.doc_chunks.push_back(i);
  const auto all = route_scores(queries, others, {}, each, config, true, OpsMode::automatic);
  const HardNegatives hard =
      hardest_negatives(queries, others, unrelated, 5, *plan, config, true, OpsMode::automatic);
  const auto columns = static_cast<size_t>(hard.chunks.size(0));
  ASSERT_EQ(hard.hard.size(), static_cast<size_t>(rows) * columns);
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<std::pair<float, int64_t>> may;
    for (int64_t c = 0; c < kOthers; ++c)
      if (unrelated[r][c].item<bool>()) may.emplace_back(-all[r][c].item<float>(), c);
    std::sort(may.begin(), may.end());
    may.resize(std::min<size_t>(may.size(), 5));
    std::vector<int64_t> expected, found;
    for (const auto& [score, chunk] : may) expected.push_back(chunk);
    for (size_t u = 0; u < columns; ++u)
      if (hard.hard[static_cast<size_t>(r) * columns + u])
        found.push_back(hard.chunks[static_cast<int64_t>(u)].item<int64_t>());
    EXPECT_THAT(found, testing::UnorderedElementsAreArray(expected)) << r;
  }
}

TEST(Router, GradientReachesQueriesAndKeys) {
  const auto plan = make_plan(random_batch({}, 3), small_config(), 2);
  ASSERT_TRUE(plan.ok());
  torch::manual_seed(6);
  const auto options = torch::dtype(torch::kFloat32).requires_grad(true);
  const auto queries =
      torch::randn({static_cast<int64_t>(plan->routing_rows.size()), 4, 8}, options);
  const auto keys = torch::randn({static_cast<int64_t>(plan->chunks()), 2, 8}, options);
  MsaConfig config;
  const auto loss = [&](const torch::Tensor& q, const torch::Tensor& k) {
    return route_scores(q, k, {}, *plan, config, true, OpsMode::automatic).square().sum();
  };
  loss(queries, keys).backward();
  // A small step along each gradient changes the loss by its squared length.
  const torch::NoGradGuard no_gradient;
  for (const torch::Tensor& x : {queries, keys}) {
    const double length = x.grad().square().sum().item<double>(), step = 1e-3 / std::sqrt(length);
    const auto moved = [&](double by) {
      const torch::Tensor at = x + by * x.grad();
      return (x.is_same(queries) ? loss(at, keys) : loss(queries, at)).item<double>();
    };
    EXPECT_NEAR((moved(step) - moved(-step)) / (2 * step), length, 0.02 * length);
  }
}

// One query that routes among three documents of one chunk each.
StepPlan three_documents() {
  StepPlan plan;
  plan.chunk_rows = {0, 1, 2, 3};
  plan.doc_chunks = {0, 1, 2, 3};
  plan.query_starts = {0, 1, 2};
  plan.routed = {1};
  plan.routing_rows = {0};
  plan.routing_runs = {0, 1};
  plan.sees = {1, 1, 1};
  plan.is_relevant = {0, 0, 1};
  return plan;
}

TEST(Router, EqualScoresGoByNumber) {
  const auto selection =
      select_documents(torch::tensor({{1.f, 2.f, 2.f}}), three_documents(), 2, false);
  EXPECT_THAT(selection.ranking[0], ElementsAre(1, 2, 0));
  EXPECT_THAT(selection.ranking_scores[0], ElementsAre(2.f, 2.f, 1.f));
  EXPECT_THAT(selection.chosen[0], ElementsAre());  // this query does not route
  EXPECT_THAT(selection.chosen[1], ElementsAre(1, 2));
}

TEST(Router, RelevantDocumentsCanBeForcedIn) {
  const auto scores = torch::tensor({{3.f, 2.f, 1.f}});
  EXPECT_THAT(select_documents(scores, three_documents(), 1, false).chosen[1], ElementsAre(0));
  const auto forced = select_documents(scores, three_documents(), 1, true);
  EXPECT_THAT(forced.chosen[1], ElementsAre(2));
  EXPECT_THAT(forced.ranking[0], ElementsAre(0, 1, 2));  // the ranking tells the truth
  EXPECT_THAT(select_documents(scores, three_documents(), 2, true).chosen[1], ElementsAre(0, 2));
}

TEST(Router, OnlyTheBestAreRanked) {
  StepPlan plan;
  plan.query_starts = {0, 1};
  plan.routed = {0};
  for (int32_t n = 0; n <= 20; ++n) plan.doc_chunks.push_back(n);
  plan.sees.assign(20, 1);
  plan.is_relevant.assign(20, 0);
  plan.is_relevant[0] = plan.is_relevant[3] = 1;
  const auto scores = torch::arange(20, torch::kFloat32).view({1, 20});
  const auto few = select_documents(scores, plan, 2, false);
  EXPECT_THAT(few.ranking[0], ElementsAre(19, 18, 17, 16, 15));
  EXPECT_THAT(few.chosen[0], ElementsAre(18, 19));
  const auto many = select_documents(scores, plan, 7, true);
  EXPECT_EQ(many.ranking[0].size(), 7u);
  EXPECT_THAT(many.chosen[0], ElementsAre(0, 3, 15, 16, 17, 18, 19));
  EXPECT_THAT(select_documents(scores, plan, 1, true).chosen[0], ElementsAre(3));
}

TEST(Router, OtherGroupsAreOutOfReach) {
  StepPlan plan = three_documents();
  plan.sees = {0, 1, 1};
  const auto selection = select_documents(torch::tensor({{9.f, 1.f, 2.f}}), plan, 5, false);
  EXPECT_THAT(selection.ranking[0], ElementsAre(2, 1));
  EXPECT_THAT(selection.chosen[1], ElementsAre(1, 2));
}

TEST(Router, AScoreThatIsNotANumberComesLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto selection =
      select_documents(torch::tensor({{nan, -5.f, nan}}), three_documents(), 1, false);
  EXPECT_THAT(selection.ranking[0], ElementsAre(1, 0, 2));
}

}  // namespace
}  // namespace msa::train
