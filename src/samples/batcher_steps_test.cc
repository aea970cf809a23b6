// Of the batcher: which sequences the retrieval steps of a question become.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "samples/batch.h"
#include "samples/testing_batches.h"
#include "samples/testing_samples.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using testing::batcher;
using testing::doc_text;
using testing::next;
using testing::query_text;

constexpr size_t kValues = 3;

// Eight documents, a question that wants the first three of them, in one step, and their values.
Sample three_values(uint64_t i) {
  Sample sample;
  sample.where = fmt::format("values:{}", i);
  SampleQuestion question;
  question.question = fmt::format("Which values has {}?", i);
  question.steps.emplace_back();
  for (uint32_t d = 0; d < 8; ++d) {
    const bool wanted = d < kValues;
    const std::string value = fmt::format("v{}x{}", i, d);
    sample.documents.push_back(
        {"", fmt::format("A value of {} is {}.", wanted ? i : 900 + d, value), ""});
    if (!wanted) continue;
    question.steps.front().push_back(d);
    question.values.push_back(value);
  }
  question.values_in_reading_order = true;
  question.answer =
      fmt::format("{}, {}, {}", question.values[0], question.values[1], question.values[2]);
  sample.questions = {question};
  return sample;
}

BatchOptions small() {
  BatchOptions options;
  options.tokens = 4000;
  options.documents = 8;
  options.share_documents = false;
  return options;
}

// Documents of query q: its part of `all`.
std::vector<size_t> part(const std::vector<int32_t>& all, const std::vector<int32_t>& starts,
                         size_t q) {
  std::vector<size_t> documents;
  for (int32_t i = starts[q]; i < starts[q + 1]; ++i)
    documents.push_back(static_cast<size_t>(all[static_cast<size_t>(i)]));
  return documents;
}
std::vector<size_t> relevant(const Batch& batch, size_t q) {
  return part(batch.relevant, batch.relevant_starts, q);
}
std::vector<size_t> handed_over(const Batch& batch, size_t q) {
  return part(batch.handed_over, batch.handed_over_starts, q);
}

std::string body(const Batch& batch, size_t d) {
  const std::string text = doc_text(batch, d);
  const size_t begin = text.find(". ") + 2;
  return text.substr(begin, text.rfind('[') - begin);
}

// The value that a document holds.
std::string value_of(const Batch& batch, size_t d) {
  const std::string text = body(batch, d);
  const size_t at = text.find(" is ") + 4;
  return text.substr(at, text.find('.', at) - at);
}

// What the model is to write in query q's labels of one kind.
std::string target(const Batch& batch, size_t q, LabelKind kind) {
  std::vector<TokenId> tokens;
  for (auto t = static_cast<size_t>(batch.query_starts[q]);
       t < static_cast<size_t>(batch.query_starts[q + 1]); ++t)
    if (batch.labels[t] >= 0 && batch.label_kinds[t] == kind) tokens.push_back(batch.labels[t]);
  return testing::tokenizer().decode(tokens);
}

// The texts of the documents of `handed_over` stand in the query, and of no other document.
void check_handed_over(const Batch& batch) {
  ASSERT_EQ(batch.handed_over_starts.size(), batch.queries() + 1);
  for (size_t q = 0; q < batch.queries(); ++q) {
    const std::vector<size_t> given = handed_over(batch, q);
    const std::string text = query_text(batch, q);
    for (size_t d = 0; d < batch.documents(); ++d) {
      if (batch.doc_group[d] != batch.query_group[q]) continue;
      EXPECT_EQ(text.find(body(batch, d)) != std::string::npos,
                std::ranges::find(given, d) != given.end())
          << q << ": " << body(batch, d);
    }
  }
}

TEST(BatcherSteps, AStepOfSeveralDocumentsStaysOne) {
  const Batch batch = next(*batcher(small(), three_values));
  check_handed_over(batch);
  ASSERT_EQ(batch.queries() % 2, 0u);
  for (size_t q = 0; q < batch.queries(); q += 2) {
    EXPECT_EQ(relevant(batch, q).size(), kValues);
    EXPECT_TRUE(handed_over(batch, q).empty());
    EXPECT_EQ(handed_over(batch, q + 1), relevant(batch, q));
    EXPECT_EQ(batch.named[q], -1);
    EXPECT_EQ(batch.named[q + 1], -1);
  }
}

TEST(BatcherSteps, OneDocumentPerStep) {
  BatchOptions options = small();
  options.one_document_per_step = true;
  const auto from = batcher(options, three_values);
  std::set<std::vector<std::string>> orders;
  for (int round = 0; round < 4; ++round) {
    const Batch batch = next(*from);
    check_handed_over(batch);
    ASSERT_EQ(batch.queries() % (kValues + 1), 0u);
    for (size_t q = 0; q < batch.queries(); q += kValues + 1) {
      std::vector<std::string> values;
      std::vector<std::string> order;
      for (size_t s = 0; s < kValues; ++s) {
        // All that are left would be right; the number is that of one.
        const std::vector<size_t> right = relevant(batch, q + s);
        EXPECT_EQ(right.size(), kValues - s);
        size_t named = right.front();
        if (s + 1 < kValues) {
          ASSERT_GE(batch.named[q + s], 0);
          named = static_cast<size_t>(batch.named[q + s]);
          EXPECT_NE(std::ranges::find(right, named), right.end());
        } else {
          EXPECT_EQ(batch.named[q + s], -1);  // no other is left
        }
        EXPECT_EQ(target(batch, q + s, LabelKind::number),
                  fmt::format("[{}]<|object_ref_end|>", batch.doc_number[named]));
        EXPECT_EQ(handed_over(batch, q + s).size(), s);
        values.push_back(value_of(batch, named));
        order.push_back(values.back().substr(values.back().find('x')));
      }
      EXPECT_TRUE(relevant(batch, q + kValues).empty());
      EXPECT_EQ(handed_over(batch, q + kValues).size(), kValues);
      // Values are given in the order in which they were read.
      EXPECT_THAT(target(batch, q + kValues, LabelKind::answer),
                  HasSubstr(fmt::format("{}, {}, {}", values[0], values[1], values[2])));
      orders.insert(order);
    }
  }
  EXPECT_GT(orders.size(), 2u);
}

TEST(BatcherSteps, ReadingExercisesGiveValuesInTheOrderOfTheTexts) {
  BatchOptions options = small();
  options.reading_share = 1;
  const Batch batch = next(*batcher(options, three_values));
  ASSERT_GT(batch.queries(), 3u);
  std::set<std::string> orders;
  for (size_t q = 0; q < batch.queries(); ++q) {
    const std::string text = query_text(batch, q);
    std::string values, order;
    for (size_t at = text.find("A value of"); at != std::string::npos;
         at = text.find("A value of", at + 1)) {
      const size_t is = text.find(" is ", at) + 4;
      const std::string value = text.substr(is, text.find('.', is) - is);
      values += (values.empty() ? "" : ", ") + value;
      order += value.substr(value.find('x'));
    }
    EXPECT_THAT(target(batch, q, LabelKind::answer), HasSubstr(values));
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 1u);
}

// Two hops among documents that share no word, but for one that is like the second.
Sample two_hops(uint64_t i) {
  Sample sample;
  sample.where = fmt::format("hops:{}", i);
  sample.documents = {{"", fmt::format("The queen of {} is Ada.", i), ""},
                      {"Ada", "Ada sings. Her dog is named Rex.", ""},
                      {"Ada", "Ada sings. Her cat is named Tom.", ""},
                      {"Ada", "Ada sings. Rex is also a film.", ""}};
  SampleQuestion question;
  question.question = fmt::format("What is the dog of the queen of {} called?", i);
  question.steps = {{0}, {1}};
  question.answer = "Rex";
  sample.questions = {question};
  return sample;
}

TEST(BatcherSteps, DetoursBringADocumentThatDoesNotAnswer) {
  BatchOptions options = small();
  options.detour_share = 1;
  const Batch batch = next(*batcher(options, two_hops));
  check_handed_over(batch);
  std::map<size_t, size_t> before;  // how many queries had so many documents before them
  size_t q = 0;
  while (q < batch.queries()) {
    // Two steps and the answer: what is brought by mistake is never a target.
    for (size_t s = 0; s < 3; ++s, ++q) {
      ++before[handed_over(batch, q).size()];
      EXPECT_EQ(relevant(batch, q).size(), s < 2 ? 1u : 0u);
      if (s < 2) {
        EXPECT_EQ(target(batch, q, LabelKind::number),
                  fmt::format("[{}]<|object_ref_end|>", batch.doc_number[relevant(batch, q)[0]]));
      }
      // The cat's text was handed over, if any; never the one that has the answer in it.
      EXPECT_THAT(query_text(batch, q), Not(HasSubstr("also a film")));
    }
    const std::string last = query_text(batch, q - 1);
    EXPECT_THAT(last, HasSubstr("cat is named Tom"));
    EXPECT_EQ(handed_over(batch, q - 1).size(), 3u);
  }
  // Before the first step as well as before the second.
  EXPECT_GT(before[0], 0u);
  EXPECT_GT(before[1], 0u);
  EXPECT_GT(before[2], 0u);
}

TEST(BatcherSteps, DetoursAreAShareOfTheQuestions) {
  BatchOptions options = small();
  options.tokens = 40'000;
  options.documents = 300;
  options.detour_share = 0.5;
  const Batch batch = next(*batcher(options, two_hops));
  size_t with = 0, all = 0;
  for (size_t q = 2; q < batch.queries(); q += 3, ++all) with += handed_over(batch, q).size() > 2;
  ASSERT_GT(all, 50u);
  EXPECT_GT(with, all / 4);
  EXPECT_LT(with, all * 3 / 4);
}

TEST(BatcherSteps, SomeOfTheSequences) {
  BatchOptions options = small();
  options.one_document_per_step = true;
  options.sequences_per_question = 2;
  options.tokens = 20'000;
  options.documents = 300;
  const Batch batch = next(*batcher(options, three_values));
  check_handed_over(batch);
  EXPECT_EQ(batch.queries(), 2 * batch.samples);
  std::map<size_t, size_t> kinds;  // by how many documents had been handed over
  for (size_t q = 0; q < batch.queries(); ++q) ++kinds[handed_over(batch, q).size()];
  EXPECT_EQ(kinds.size(), kValues + 1);  // each of the four is drawn now and then
}

TEST(BatcherSteps, OptionsOutOfRangeAreErrors) {
  BatchOptions options = small();
  options.detour_share = 1.5;
  const auto made =
      Batcher::create(testing::shared_qwen(), make_sample_source(three_values), options, 1);
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(made.error().message, HasSubstr("batch.detour_share"));
}

TEST(BatcherSteps, ValuesInReadingOrderNeedADocumentEach) {
  Sample sample = three_values(1);
  EXPECT_EQ(sample_problem(sample), "");
  sample.questions[0].values.pop_back();
  EXPECT_THAT(sample_problem(sample), HasSubstr("reading order"));
  sample = three_values(1);
  sample.questions[0].steps = {{0}, {1, 2}};
  EXPECT_THAT(sample_problem(sample), HasSubstr("reading order"));
}

}  // namespace
}  // namespace msa
