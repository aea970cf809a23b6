#include "samples/sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "samples/testing_samples.h"
#include "text/prompt.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using Steps = std::vector<std::vector<NumberedDocument>>;

const Tokenizer& tokenizer() {
  return *testing::shared_qwen();
}

// Texts of the parts of a sequence.
std::string text_of(const QuerySequence& query) {
  return tokenizer().decode(query.tokens);
}
std::string routing_text(const QuerySequence& query) {
  std::vector<TokenId> tokens;
  for (size_t t = 0; t < query.tokens.size(); ++t)
    if (query.routes[t]) tokens.push_back(query.tokens[t]);
  return tokenizer().decode(tokens);
}
std::string labels_text(const QuerySequence& query, LabelKind kind) {
  std::vector<TokenId> tokens;
  for (size_t t = 0; t < query.tokens.size(); ++t)
    if (query.labels[t] >= 0 && query.kinds[t] == kind) tokens.push_back(query.labels[t]);
  return tokenizer().decode(tokens);
}
std::string text_before_first_label(const QuerySequence& query) {
  size_t first = 0;
  while (query.labels.at(first) < 0) ++first;
  return tokenizer().decode(std::span(query.tokens).first(first + 1));
}

constexpr std::string_view kBlock =
    "\nPlease answer the question based on the above historical document information\n\n"
    "When was Erik's father born?\n"
    "Please return all documents related to the question";

std::vector<QuerySequence> two_hops() {
  return question_sequences(
      tokenizer(), "When was Erik's father born?", "May 5, 1939",
      {{{812, "Erik\nSon of Bill."}, {40, "Forty."}}, {{3, "Bill was born on May 5, 1939."}}});
}

TEST(Sequence, StepsAreQueriesOfTheirOwn) {
  const auto queries = two_hops();
  ASSERT_EQ(queries.size(), 3u);
  const std::string start = std::string(kBlock) + "\n<|im_end|>\n<|im_start|>";
  const std::string first = start + "[40][812]<|object_ref_end|>";
  const std::string second = first +
                             "[40]. Forty.\n[812]. Erik\nSon of Bill.\n<|object_ref_end|>"
                             "[3]<|object_ref_end|>";
  const std::string request =
      second +
      "[3]. Bill was born on May 5, 1939.\n<|object_ref_end|><End-of-Retrieve>"
      "<|im_start|>The user's question is: When was Erik's father born?\n<|object_ref_end|>";
  EXPECT_EQ(text_of(queries[0]), first);
  EXPECT_EQ(text_of(queries[1]), second);
  EXPECT_EQ(text_of(queries[2]), request + "The answer to the question is: May 5, 1939<|im_end|>");
}

TEST(Sequence, LabelsAreWhatTheModelWrites) {
  const auto queries = two_hops();
  EXPECT_EQ(labels_text(queries[0], LabelKind::number), "[40][812]<|object_ref_end|>");
  EXPECT_EQ(labels_text(queries[1], LabelKind::number), "[3]<|object_ref_end|>");
  EXPECT_EQ(labels_text(queries[2], LabelKind::number), "");
  EXPECT_EQ(labels_text(queries[0], LabelKind::answer), "");
  EXPECT_EQ(labels_text(queries[2], LabelKind::answer),
            "<End-of-Retrieve>The answer to the question is: May 5, 1939<|im_end|>");
  EXPECT_THAT(text_before_first_label(queries[0]), ::testing::EndsWith("<|im_end|>\n<|im_start|>"));
  EXPECT_THAT(text_before_first_label(queries[1]),
              ::testing::EndsWith("[812]. Erik\nSon of Bill.\n<|object_ref_end|>"));
  EXPECT_THAT(text_before_first_label(queries[2]),
              ::testing::EndsWith("1939.\n<|object_ref_end|>"));
  for (const QuerySequence& query : queries) {
    EXPECT_EQ(query.labels.back(), -1);
    EXPECT_EQ(query.labels.size(), query.tokens.size());
    EXPECT_EQ(query.kinds.size(), query.tokens.size());
    EXPECT_EQ(query.routes.size(), query.tokens.size());
    for (size_t t = 0; t + 1 < query.tokens.size(); ++t)
      if (query.labels[t] >= 0) {
        EXPECT_EQ(query.labels[t], query.tokens[t + 1]);
      }
  }
}

TEST(Sequence, QuestionRoutesFirstThenTheLastTextsToo) {
  const auto queries = two_hops();
  EXPECT_EQ(routing_text(queries[0]), std::string(kBlock) + "\n");
  // The line break after the block is merged with nothing, so it stays out.
  EXPECT_EQ(routing_text(queries[1]),
            std::string(kBlock) + "[40]. Forty.\n[812]. Erik\nSon of Bill.\n");
  EXPECT_EQ(routing_text(queries[2]), std::string(kBlock) + "[3]. Bill was born on May 5, 1939.\n");
}

TEST(Sequence, ReadingIsOneAnswerAfterTheOther) {
  const QuerySequence query =
      reading_sequence(tokenizer(), {{812, "Erik\nSon of Bill."}, {40, "Forty."}},
                       {{"Whose son is Erik?", "Bill"},
                        {"What does 40 say?", "Forty"},
                        {"Who is Bill's son?", "Erik"}});
  EXPECT_EQ(text_of(query),
            "\nPlease answer the question based on the above historical document information\n\n"
            "Whose son is Erik?\nPlease return all documents related to the question\n"
            "<|im_end|>\n<|im_start|>[40][812]<|object_ref_end|>"
            "[40]. Forty.\n[812]. Erik\nSon of Bill.\n<|object_ref_end|><End-of-Retrieve>"
            "<|im_start|>The user's question is: Whose son is Erik?\n<|object_ref_end|>"
            "The answer to the question is: Bill<|im_end|>"
            "<|im_start|>The user's question is: What does 40 say?\n<|object_ref_end|>"
            "The answer to the question is: Forty<|im_end|>"
            "<|im_start|>The user's question is: Who is Bill's son?\n<|object_ref_end|>"
            "The answer to the question is: Erik<|im_end|>");
  EXPECT_EQ(labels_text(query, LabelKind::answer),
            "<End-of-Retrieve>The answer to the question is: Bill<|im_end|>"
            "The answer to the question is: Forty<|im_end|>"
            "The answer to the question is: Erik<|im_end|>");
  EXPECT_EQ(labels_text(query, LabelKind::number), "");
  EXPECT_EQ(routing_text(query), "");
  // With one question it ends as the question's own last sequence does.
  const Steps steps = {{{812, "Erik\nSon of Bill."}, {40, "Forty."}}};
  EXPECT_EQ(reading_sequence(tokenizer(), steps[0], {{"Q?", "A"}}).tokens,
            question_sequences(tokenizer(), "Q?", "A", steps).back().tokens);
}

TEST(Sequence, OneStep) {
  const auto queries = question_sequences(tokenizer(), "Q?", "A", {{{0, "Nought."}}});
  ASSERT_EQ(queries.size(), 2u);
  EXPECT_EQ(labels_text(queries[0], LabelKind::number), "[0]<|object_ref_end|>");
  EXPECT_EQ(routing_text(queries[1]).substr(routing_text(queries[1]).size() - 13),
            "[0]. Nought.\n");
}

}  // namespace
}  // namespace msa
