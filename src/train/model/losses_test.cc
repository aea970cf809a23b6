#include "train/model/losses.h"

#include <gtest/gtest.h>

#include <cmath>

namespace msa::train {
namespace {

using torch::Tensor;

// The same by libtorch's own cross-entropy.
struct Wanted {
  Tensor loss, x_gradient, head_gradient, each;
};
Wanted wanted(const Tensor& x, const Tensor& head, const Tensor& labels, const Tensor& weights) {
  const Tensor x2 = x.detach().clone().set_requires_grad(true);
  const Tensor head2 = head.detach().clone().set_requires_grad(true);
  const Tensor each = torch::nn::functional::cross_entropy(
      torch::linear(x2, head2), labels,
      torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
  const Tensor loss = (each * weights).sum();
  (loss * 3).backward();
  return {loss, x2.grad(), head2.grad(), each};
}

void expect_token_loss(int64_t rows, int64_t vocabulary) {
  torch::manual_seed(3);
  const auto options = torch::dtype(torch::kFloat32).requires_grad(true);
  const Tensor x = torch::randn({rows, 8}, options);
  const Tensor head = torch::randn({vocabulary, 8}, options);
  const Tensor labels = torch::randint(vocabulary, {rows}, torch::kInt64);
  const Tensor weights = torch::rand({rows});
  const TokenLoss loss = token_loss(x, head, labels, weights);
  (loss.total * 3).backward();
  const Wanted w = wanted(x, head, labels, weights);
  EXPECT_TRUE(torch::allclose(loss.total, w.loss, 1e-5));
  EXPECT_TRUE(torch::allclose(loss.each, w.each, 1e-4, 1e-5));
  const auto largest_difference = [](const Tensor& a, const Tensor& b) {
    return ((a - b).abs().max() / b.abs().max()).item<double>();
  };
  EXPECT_LE(largest_difference(x.grad(), w.x_gradient), 1e-4);
  EXPECT_LE(largest_difference(head.grad(), w.head_gradient), 1e-4);
  const Tensor correct = torch::linear(x, head).argmax(1).eq(labels);
  EXPECT_TRUE(torch::equal(loss.correct, correct));
  EXPECT_FALSE(loss.each.requires_grad());
}

TEST(TokenLoss, IsCrossEntropy) {
  expect_token_loss(1, 5);
  expect_token_loss(33, 100);
}

TEST(TokenLoss, BlocksOfRowsAddUp) {
  expect_token_loss(2100, 5000);  // so large a vocabulary is computed 1024 rows at a time
}

TEST(TokenLoss, OfSeveralLikeliestTokensOneIsRight) {
  const torch::NoGradGuard no_gradient;
  const Tensor head = torch::cat({torch::zeros({2, 8}), -torch::ones({1, 8})});
  const TokenLoss loss = token_loss(torch::ones({3, 8}), head,
                                    torch::tensor({0, 1, 2}, torch::kInt64), torch::ones({3}));
  EXPECT_TRUE(torch::equal(loss.correct, torch::tensor({true, false, false})));
}

TEST(TokenLoss, WithoutGradientsNoneIsKept) {
  const torch::NoGradGuard no_gradient;
  const Tensor head = torch::randn({4, 8}).set_requires_grad(true);
  const TokenLoss loss =
      token_loss(torch::randn({3, 8}), head, torch::zeros({3}, torch::kInt64), torch::ones({3}));
  EXPECT_FALSE(loss.total.requires_grad());
}

// Three queries, four documents: one relevant; two relevant and one document out of reach; none.
StepPlan plan_of_three() {
  StepPlan plan;
  plan.doc_chunks = {0, 1, 2, 3, 4};
  plan.chunk_rows = {0, 1, 2, 3, 4};
  plan.routed = {0, 1, 2};
  plan.sees = {1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1};
  plan.is_relevant = {0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0};
  return plan;
}

double naive(const Tensor& scores, const StepPlan& plan, AuxLoss kind, double temperature) {
  const size_t N = plan.documents();
  double total = 0;
  int queries = 0;
  for (size_t r = 0; r < plan.routed.size(); ++r) {
    const auto s = [&](size_t n) {
      return scores[static_cast<int64_t>(r)][static_cast<int64_t>(n)].item<double>();
    };
    double all = 0, negatives = 0, loss = 0;
    int positives = 0, seen = 0;
    for (size_t n = 0; n < N; ++n) {
      if (!plan.sees[r * N + n]) continue;
      ++seen;
      all += std::exp(s(n) / temperature);
      if (!plan.is_relevant[r * N + n]) negatives += std::exp(s(n) / temperature);
      positives += plan.is_relevant[r * N + n];
    }
    if (positives == 0) continue;
    ++queries;
    for (size_t n = 0; n < N; ++n) {
      if (!plan.sees[r * N + n]) continue;
      const bool relevant = plan.is_relevant[r * N + n] != 0;
      if (kind == AuxLoss::bce) {
        loss += std::log1p(std::exp(relevant ? -s(n) : s(n))) / seen;
        continue;
      }
      if (!relevant) continue;
      const double e = std::exp(s(n) / temperature);
      const bool decouple =
          kind == AuxLoss::infonce_decouple || kind == AuxLoss::infonce_decouple_focal;
      const bool focal = kind == AuxLoss::infonce_focal || kind == AuxLoss::infonce_decouple_focal;
      const double p = decouple ? e / (e + negatives) : e / all;
      loss -= (focal ? (1 - p) * (1 - p) : 1) * std::log(p) / positives;
    }
    total += loss;
  }
  return total / queries;
}

constexpr AuxLoss kAll[] = {AuxLoss::infonce, AuxLoss::infonce_decouple, AuxLoss::infonce_focal,
                            AuxLoss::infonce_decouple_focal, AuxLoss::bce};

TEST(RoutingLoss, IsTheDefinition) {
  torch::manual_seed(4);
  const StepPlan plan = plan_of_three();
  for (const AuxLoss kind : kAll)
    for (const double temperature : {0.1, 0.5}) {
      const Tensor scores = torch::randn({3, 4}).mul_(0.3);
      EXPECT_NEAR(routing_loss(scores, plan, kind, temperature).item<double>(),
                  naive(scores, plan, kind, temperature), 1e-5)
          << name_of(kind);
    }
}

TEST(RoutingLoss, GradientIsThatOfTheDefinition) {
  torch::manual_seed(5);
  const StepPlan plan = plan_of_three();
  for (const AuxLoss kind : kAll) {
    const Tensor scores = torch::randn({3, 4}).mul_(0.3).set_requires_grad(true);
    routing_loss(scores, plan, kind, 0.2).backward();
    const torch::NoGradGuard no_gradient;
    for (int64_t i = 0; i < 12; ++i) {
      const auto moved = [&](double by) {
        const Tensor at = scores.to(torch::kFloat64).clone();
        at.view(-1)[i] += by;
        return naive(at, plan, kind, 0.2);
      };
      const double wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
      EXPECT_NEAR(scores.grad().view(-1)[i].item<double>(), wanted, 1e-5) << name_of(kind);
    }
  }
}

TEST(RoutingLoss, WithNothingButRelevantDocumentsNothingIsToBeLearnt) {
  StepPlan plan = plan_of_three();
  plan.routed = {0};
  plan.sees = {1, 1, 0, 0};
  plan.is_relevant = {1, 1, 0, 0};
  const Tensor scores = torch::tensor({{0.3f, -0.2f, 0.9f, 0.1f}}).set_requires_grad(true);
  const Tensor loss = routing_loss(scores, plan, AuxLoss::infonce_decouple, 0.1);
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), 0, 1e-6);
  EXPECT_EQ(scores.grad().abs().max().item<double>(), 0);
}

TEST(RoutingLoss, ExtremeScoresStayFinite) {
  const StepPlan plan = plan_of_three();
  for (const AuxLoss kind : kAll) {
    const Tensor scores =
        torch::tensor({{1e4f, -1e4f, 0.f, 0.f}, {-1e4f, 1e4f, 1e4f, -1e4f}, {0.f, 0.f, 0.f, 0.f}});
    scores.set_requires_grad(true);
    const Tensor loss = routing_loss(scores, plan, kind, 0.1);
    loss.backward();
    EXPECT_TRUE(torch::isfinite(loss).item<bool>()) << name_of(kind);
    EXPECT_TRUE(torch::isfinite(scores.grad()).all().item<bool>()) << name_of(kind);
  }
}

TEST(RoutingLoss, NoRelevantDocumentNoLoss) {
  StepPlan plan = plan_of_three();
  plan.is_relevant.assign(12, 0);
  EXPECT_FALSE(routing_loss(torch::zeros({3, 4}), plan, AuxLoss::infonce, 0.1).defined());
}

TEST(AuxLossNames, RoundTripAndUnknown) {
  for (const AuxLoss kind : kAll) {
    const auto parsed = parse_aux_loss(name_of(kind));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, kind);
  }
  const auto unknown = parse_aux_loss("INFONC");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("INFONCE_DECOUPLE_FOCAL"), std::string::npos);
}

}  // namespace
}  // namespace msa::train
