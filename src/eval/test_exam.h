// For tests only: a small task, and a model that takes moments to run.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "msa/msa.h"
#include "tasks/task.h"

namespace msa::eval {

// Sample i asks for the code of a town (kind "one") and for that of the town where a person lives
// (kind "two"); it has three documents. With a collection of n documents, sample i is about
// documents of it.
class TownTask : public Task {
 public:
  explicit TownTask(size_t collection = 0) {
    for (size_t i = 0; i < collection; ++i) collection_.push_back(town(i));
  }

  std::string_view name() const override { return "towns"; }
  Sample sample(uint64_t index) const override {
    const uint64_t at = collection_.empty() ? index : index % collection_.size();
    Sample sample;
    sample.where = fmt::format("towns:{}", index);
    sample.documents = {
        {"Visitors", fmt::format("In {} a fair is held.", index), fmt::format("fair/{}", index)},
        town(at),
        {fmt::format("Person {}", index), fmt::format("Person {} lives in town {}.", index, at),
         fmt::format("person/{}", index)}};
    SampleQuestion one;
    one.question = fmt::format("What is the code of town {}?", at);
    one.steps = {{1}};
    one.answer = fmt::format("code {}", 1000 + at);
    one.accepted = {std::to_string(1000 + at)};
    one.kind = "one";
    SampleQuestion two = one;
    two.question = fmt::format("What is the code of the town of person {}?", index);
    two.steps = {{2}, {1}};
    two.kind = "two";
    sample.questions = {one, two};
    return sample;
  }
  SampleDocument distractor(uint64_t index) const override {
    return {"", fmt::format("Lake {} has no code and no town.", index), "anything"};
  }
  const std::vector<SampleDocument>& collection() const override { return collection_; }

  static SampleDocument town(uint64_t index) {
    return {fmt::format("Town {}", index), fmt::format("Its code is {}.", 1000 + index),
            fmt::format("town/{}", index)};
  }

 private:
  std::vector<SampleDocument> collection_;
};

// A model with random weights in `folder`, small enough that an answer takes milliseconds.
inline Model tiny_model(const std::filesystem::path& folder, uint64_t seed = 1) {
  ModelShape shape;
  shape.layers = 2, shape.hidden = 16, shape.feed_forward = 32;
  shape.query_heads = 2, shape.kv_heads = 1, shape.head_dim = 8;
  shape.chunk_size = 8, shape.top_k = 2;
  shape.precision = Precision::f32;
  const auto made =
      init_model(folder, shape,
                 std::filesystem::path(MSA_TESTDATA) / "qwen3-tokenizer" / "tokenizer.json", seed);
  if (!made) throw std::runtime_error(made.error().message);
  auto model = Model::open(folder);
  if (!model) throw std::runtime_error(model.error().message);
  return *model;
}

}  // namespace msa::eval
