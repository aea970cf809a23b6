// Of the batcher, the reading exercises.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "samples/batch.h"
#include "samples/testing_batches.h"
#include "samples/testing_samples.h"

namespace msa {
namespace {

using testing::batcher;
using testing::next;
using testing::plain_sample;
using testing::query_text;
using testing::tokenizer;

// Sequences without a memory in which every question of a sample is answered once, from texts that
// hold what it needs.
TEST(Batcher, ReadingExercises) {
  BatchOptions options;
  options.tokens = 6000;
  options.documents = 1;
  options.reading_share = 1;
  options.reading_documents = 3;
  options.text_weight = 0.25f;
  const auto from = batcher(options, testing::random_sample);
  const Batch batch = next(*from);
  EXPECT_EQ(batch.documents(), 0u);
  std::map<std::string, int> asked, expected;
  size_t several = 0, most_documents = 0;
  for (size_t q = 0; q < batch.queries(); ++q) {
    EXPECT_EQ(batch.query_group[q], -1);
    const auto begin = static_cast<size_t>(batch.query_starts[q]);
    const auto end = static_cast<size_t>(batch.query_starts[q + 1]);
    const std::string text =
        tokenizer().decode(std::span(batch.query_tokens).subspan(begin, end - begin));
    const std::string request = "The user's question is: ";
    size_t questions = 0;
    for (size_t at = text.find(request); at != std::string::npos; at = text.find(request, at + 1)) {
      at += request.size();
      ++asked[text.substr(at, text.find("\n<|object_ref_end|>", at) - at)];
      ++questions;
    }
    EXPECT_GE(questions, 1u);
    several += questions > 1;
    const std::string numbers = text.substr(text.find("<|im_start|>[") + 12);
    most_documents = std::max<size_t>(
        most_documents,
        static_cast<size_t>(std::count(
            numbers.begin(),
            numbers.begin() + static_cast<std::ptrdiff_t>(numbers.find("<|object_ref_end|>")),
            '[')));
    for (size_t t = begin; t < end; ++t) {
      EXPECT_EQ(batch.routes[t], 0);
      if (batch.labels[t] < 0) continue;
      EXPECT_EQ(batch.label_weights[t],
                batch.label_kinds[t] == LabelKind::answer ? options.answer_weight : 0.25f);
    }
  }
  for (uint64_t i = 0; testing::random_sample(i).questions.size() > 0; ++i) {
    const Sample sample = testing::random_sample(i);
    if (!asked.contains(sample.questions.front().question)) break;
    for (const SampleQuestion& question : sample.questions) ++expected[question.question];
  }
  EXPECT_EQ(asked, expected);
  EXPECT_GT(several, 0u);
  // A question may need more than the limit; others are then not added to it.
  EXPECT_GE(most_documents, 2u);
}

TEST(Batcher, ReadingExercisesAreAShareOfTheSamples) {
  BatchOptions options;
  options.tokens = 30'000;
  options.documents = 1;
  options.reading_share = 0.5;
  const auto from = batcher(options, testing::random_sample);
  const Batch batch = next(*from);
  size_t reading = 0, routing = 0;
  for (size_t q = 0; q < batch.queries(); ++q) (batch.query_group[q] < 0 ? reading : routing)++;
  EXPECT_GT(reading, 10u);
  EXPECT_GT(routing, 10u);
  EXPECT_EQ(batch.doc_subject.size(), batch.documents());
}

TEST(Batcher, SamplesMaySayWhetherTheyBecomeReadingExercises) {
  BatchOptions options;
  options.tokens = 30'000;
  options.documents = 1;
  options.reading_share = 0.5;
  for (const double share : {0.0, 1.0}) {
    const auto from = batcher(options, [&](uint64_t index) {
      Sample sample = testing::random_sample(index);
      sample.reading_share = share;
      return sample;
    });
    const Batch batch = next(*from);
    ASSERT_GT(batch.queries(), 10u);
    for (size_t q = 0; q < batch.queries(); ++q)
      EXPECT_EQ(batch.query_group[q] < 0, share == 1) << q;
  }
}

// It is decided once for a sample, however often it waits for a batch with room for it; samples
// that need more room as one of the two would else become the other too often.
TEST(Batcher, WhatASampleBecomesDependsOnItsPlaceAlone) {
  constexpr size_t kSamples = 60;
  const auto reading = [](size_t tokens) {
    BatchOptions options;
    options.tokens = tokens;
    options.documents = 1;
    options.reading_share = 0.5;
    const auto from = batcher(options, [](uint64_t i) {
      Sample sample = plain_sample(i);
      sample.questions[0].question = fmt::format("Which {}?", i);
      return sample;
    });
    std::map<std::string, bool> read;  // by question
    while (read.size() < kSamples) {
      const Batch batch = next(*from);
      for (size_t q = 0; q < batch.queries(); ++q) {
        const std::string shown = query_text(batch, q);
        const size_t at = shown.find("Which ");
        read.emplace(shown.substr(at, shown.find('?', at) - at), batch.query_group[q] < 0);
      }
    }
    std::vector<bool> first;
    for (size_t i = 0; i < kSamples; ++i) first.push_back(read.at(fmt::format("Which {}", i)));
    return first;
  };
  const std::vector<bool> few = reading(400), many = reading(5000);
  EXPECT_EQ(few, many);
  EXPECT_GT(std::count(many.begin(), many.end(), true), 15);
  EXPECT_GT(std::count(many.begin(), many.end(), false), 15);
}

}  // namespace
}  // namespace msa
