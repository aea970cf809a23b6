#include "train/model/router_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "train/model/model.h"
#include "train/model/test_batch.h"

namespace msa::train {
namespace {

using testing::ElementsAre;
using torch::Tensor;

// Keys of `count` chunks that tell which they are.
std::vector<Tensor> keys_from(float first, int64_t count) {
  const Tensor values = torch::arange(count, torch::kFloat32).add(first).view({-1, 1, 1});
  const Tensor keys = values.expand({count, 2, 16}).contiguous();
  return {keys, -keys};  // of router layers 2 and 3
}

std::vector<float> held(const RouterMemory& memory, size_t layer) {
  const Tensor keys = memory.keys(layer);
  std::vector<float> values;
  for (int64_t i = 0; i < keys.size(0); ++i) {
    values.push_back(keys[i][1][15].item<float>());
    EXPECT_EQ(keys[i][0][0].item<float>(), values.back());
  }
  return values;
}

TEST(RouterMemory, KeepsTheLatest) {
  RouterMemory memory(small_config(), 5, torch::kCPU);
  EXPECT_EQ(memory.size(), 0u);
  EXPECT_EQ(memory.keys(2).size(0), 0);
  constexpr uint64_t kLarge = (uint64_t{1} << 48) - 1;
  memory.add({kLarge, 0, 7}, keys_from(1, 3));
  EXPECT_THAT(held(memory, 2), ElementsAre(1, 2, 3));
  EXPECT_THAT(held(memory, 3), ElementsAre(-1, -2, -3));
  EXPECT_THAT(memory.subjects(), ElementsAre(kLarge, 0, 7));
  memory.add({8, 9, 10}, keys_from(4, 3));
  EXPECT_THAT(held(memory, 2), ElementsAre(6, 2, 3, 4, 5));
  EXPECT_THAT(memory.subjects(), ElementsAre(10, 0, 7, 8, 9));
  // More than there is room for: the last of them.
  memory.add({20, 21, 22, 23, 24, 25, 26}, keys_from(20, 7));
  EXPECT_THAT(held(memory, 3), testing::UnorderedElementsAre(-22, -23, -24, -25, -26));
  memory.add({}, keys_from(0, 0));
  EXPECT_EQ(memory.size(), 5u);
}

TEST(RouterMemory, GoesOnFromItsTensorsAfterAnyNumberOfSteps) {
  RouterMemory whole(small_config(), 7, torch::kCPU);
  for (int step = 0; step < 40; ++step) {
    RouterMemory restored(small_config(), 7, torch::kCPU);
    for (size_t i = 0; i < whole.tensors().size(); ++i) {
      EXPECT_EQ(restored.tensors()[i].first, whole.tensors()[i].first);
      Tensor target = restored.tensors()[i].second;
      target.copy_(whole.tensors()[i].second);
    }
    const auto count = 1 + step % 4;
    const std::vector<uint64_t> subjects(static_cast<size_t>(count), 1000u + step);
    whole.add(subjects, keys_from(static_cast<float>(step), count));
    restored.add(subjects, keys_from(static_cast<float>(step), count));
    EXPECT_EQ(restored.subjects(), whole.subjects());
    EXPECT_TRUE(torch::equal(restored.keys(2), whole.keys(2)));
    EXPECT_EQ(whole.size(), std::min<size_t>(7, restored.size()));
  }
}

Batch batch_with_subjects(uint64_t seed, uint64_t first_subject) {
  Batch batch = random_batch({}, seed);
  for (size_t n = 0; n < batch.documents(); ++n) batch.doc_subject.push_back(first_subject + n);
  return batch;
}

double aux_loss(Model& model, const Batch& batch, RouterMemory* negatives) {
  StepOptions options;
  options.compute = torch::kFloat32;
  options.negatives = negatives;
  const auto result = model.step(batch, options);
  EXPECT_TRUE(result.ok());
  return result->metrics.aux_loss;
}

TEST(Negatives, OfOtherSubjectsMakeTheLossLarger) {
  const auto model = Model::create(small_config(), 3);
  ASSERT_TRUE(model.ok());
  const Batch earlier = batch_with_subjects(1, 100), batch = batch_with_subjects(2, 200);
  const double alone = aux_loss(**model, batch, nullptr);
  RouterMemory memory(small_config(), 1000, torch::kCPU);
  // Of the first step there are none yet, and its own chunks are no negatives of it.
  EXPECT_EQ(aux_loss(**model, batch, &memory), alone);
  const size_t chunks = memory.size();
  EXPECT_GT(chunks, batch.documents());
  // Again: those of its own relevant documents do not count, those of all others do.
  EXPECT_GT(aux_loss(**model, batch, &memory), alone);
  EXPECT_EQ(memory.size(), 2 * chunks);
  RouterMemory others(small_config(), 1000, torch::kCPU);
  aux_loss(**model, earlier, &others);
  EXPECT_GT(aux_loss(**model, batch, &others), alone);
}

TEST(Negatives, OfARelevantSubjectDoNotCount) {
  const auto model = Model::create(small_config(), 3);
  ASSERT_TRUE(model.ok());
  Batch batch = random_batch({}, 2);
  batch.doc_subject.assign(batch.documents(), 5);  // all about the same
  const double alone = aux_loss(**model, batch, nullptr);
  RouterMemory memory(small_config(), 1000, torch::kCPU);
  aux_loss(**model, batch, &memory);
  EXPECT_NEAR(aux_loss(**model, batch, &memory), alone, 1e-5);
}

TEST(Negatives, AreTheSameWithRecomputedLayers) {
  const auto loss = [](bool recompute) {
    const auto model = Model::create(small_config(), 3);
    RouterMemory memory(small_config(), 50, torch::kCPU);
    StepOptions options;
    options.compute = torch::kFloat32;
    options.negatives = &memory;
    options.checkpoint_activations = recompute;
    double sum = 0;
    for (uint64_t seed = 1; seed < 4; ++seed) {
      const auto result = (*model)->step(batch_with_subjects(seed, 100 * seed), options);
      EXPECT_TRUE(result.ok());
      result->loss.backward();
      sum += result->metrics.aux_loss;
    }
    double gradient = 0;
    for (const auto& [name, values] : (*model)->parameters())
      if (values.grad().defined()) gradient += values.grad().abs().sum().item<double>();
    return std::pair{sum, gradient};
  };
  const auto plain = loss(false), recomputed = loss(true);
  EXPECT_EQ(plain.first, recomputed.first);
  EXPECT_NEAR(plain.second, recomputed.second, 1e-5 * plain.second);
}

TEST(Negatives, OfAStepThatWentWrongAreNotKept) {
  const auto model = Model::create(small_config(), 3);
  ASSERT_TRUE(model.ok());
  RouterMemory memory(small_config(), 1000, torch::kCPU);
  aux_loss(**model, batch_with_subjects(1, 100), &memory);
  const size_t kept = memory.size();
  EXPECT_GT(kept, 0u);
  {
    const torch::NoGradGuard no_gradient;
    for (const auto& [name, values] : (*model)->parameters())
      if (name.find("lm_head") != std::string::npos ||
          name.find("embed_tokens") != std::string::npos)
        values.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  StepOptions options;
  options.compute = torch::kFloat32;
  options.negatives = &memory;
  const auto wrong = (*model)->step(batch_with_subjects(2, 200), options);
  ASSERT_TRUE(wrong.ok()) << wrong.error().message;
  ASSERT_FALSE(std::isfinite(wrong->metrics.loss));
  EXPECT_EQ(memory.size(), kept);
}

TEST(Negatives, NeedSubjects) {
  const auto model = Model::create(small_config(), 3);
  RouterMemory memory(small_config(), 50, torch::kCPU);
  StepOptions options;
  options.negatives = &memory;
  const auto result = (*model)->step(random_batch({}, 1), options);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, testing::HasSubstr("subjects of 0 of its 6 documents"));
}

}  // namespace
}  // namespace msa::train
