#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "samples/batch.h"
#include "samples/testing_batches.h"
#include "samples/testing_samples.h"
#include "text/prompt.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

using testing::batcher;
using testing::doc_text;
using testing::next;
using testing::plain_sample;
using testing::query_text;
using testing::tokenizer;

// Text of the labels of query q of one kind.
std::string labels_text(const Batch& batch, size_t q, LabelKind kind) {
  std::vector<TokenId> tokens;
  for (auto t = static_cast<size_t>(batch.query_starts[q]);
       t < static_cast<size_t>(batch.query_starts[q + 1]); ++t)
    if (batch.labels[t] >= 0 && batch.label_kinds[t] == kind) tokens.push_back(batch.labels[t]);
  return tokenizer().decode(tokens);
}

std::vector<std::string> relevant_texts(const Batch& batch, size_t q) {
  std::vector<std::string> out;
  for (auto r = batch.relevant_starts[q]; r < batch.relevant_starts[q + 1]; ++r)
    out.push_back(doc_text(batch, static_cast<size_t>(batch.relevant[static_cast<size_t>(r)])));
  return out;
}

// What holds for every batch, whatever is in it.
void check_shape(const Batch& batch, const BatchOptions& options) {
  const size_t n = batch.documents(), queries = batch.queries();
  ASSERT_EQ(batch.prefix, prefix_tokens(tokenizer()));
  ASSERT_LE(batch.tokens(), options.tokens);
  ASSERT_EQ(batch.doc_group.size(), n);
  ASSERT_EQ(batch.doc_number.size(), n);
  ASSERT_EQ(batch.query_group.size(), queries);
  ASSERT_EQ(batch.relevant_starts.size(), queries + 1);
  for (const size_t size : {batch.routes.size(), batch.labels.size(), batch.label_weights.size(),
                            batch.label_kinds.size()})
    ASSERT_EQ(size, batch.query_tokens.size());
  for (const auto* starts : {&batch.doc_starts, &batch.query_starts}) {
    ASSERT_EQ(starts->front(), 0);
    for (size_t i = 0; i + 1 < starts->size(); ++i) ASSERT_LT((*starts)[i], (*starts)[i + 1]);
  }
  ASSERT_EQ(static_cast<size_t>(batch.doc_starts.back()), batch.doc_tokens.size());
  ASSERT_EQ(static_cast<size_t>(batch.query_starts.back()), batch.query_tokens.size());
  ASSERT_EQ(static_cast<size_t>(batch.relevant_starts.back()), batch.relevant.size());
  if (options.document_weight > 0) {
    ASSERT_EQ(batch.doc_label_weights.size(), batch.doc_tokens.size());
  } else {
    ASSERT_TRUE(batch.doc_label_weights.empty());
  }
  ASSERT_EQ(std::set<uint32_t>(batch.doc_number.begin(), batch.doc_number.end()).size(), n);
  for (const uint32_t number : batch.doc_number)
    ASSERT_LT(number, std::pow(10, options.max_number_digits));
  for (const TokenId token : batch.doc_tokens) ASSERT_TRUE(token >= 0);

  for (size_t d = 0; d < n; ++d) {
    const auto begin = static_cast<size_t>(batch.doc_starts[d]);
    const auto end = static_cast<size_t>(batch.doc_starts[d + 1]);
    ASSERT_LE(end - begin, options.max_document_tokens);
    const std::string shown = doc_text(batch, d);
    ASSERT_TRUE(shown.starts_with(fmt::format("<|im_start|>[{}]. ", batch.doc_number[d])));
    ASSERT_TRUE(shown.ends_with(fmt::format("[{}]<|im_end|>", batch.doc_number[d])));
    for (size_t t = begin; options.document_weight > 0 && t < end; ++t)
      ASSERT_EQ(batch.doc_label_weights[t], t + 1 < end ? options.document_weight : 0);
  }
  for (size_t q = 0; q < queries; ++q) {
    const auto begin = static_cast<size_t>(batch.query_starts[q]);
    const auto end = static_cast<size_t>(batch.query_starts[q + 1]);
    bool labelled = false;
    for (size_t t = begin; t < end; ++t) {
      ASSERT_EQ(batch.labels[t] >= 0, batch.label_weights[t] > 0);
      if (batch.labels[t] < 0) continue;
      labelled = true;
      ASSERT_LT(t + 1, end);
      ASSERT_EQ(batch.labels[t], batch.query_tokens[t + 1]);
    }
    ASSERT_TRUE(labelled);
    const auto* relevant = batch.relevant.data() + batch.relevant_starts[q];
    const auto* relevant_end = batch.relevant.data() + batch.relevant_starts[q + 1];
    ASSERT_TRUE(std::is_sorted(relevant, relevant_end, std::less_equal<>()));
    for (const auto* r = relevant; r < relevant_end; ++r) {
      ASSERT_GE(*r, 0);
      ASSERT_LT(static_cast<size_t>(*r), n);
      ASSERT_EQ(batch.doc_group[static_cast<size_t>(*r)], batch.query_group[q]);
    }
  }
}

// Follows samples through batches: composes the text of every query anew, from the sample and the
// numbers that the batch gave its documents.
class Follower {
 public:
  explicit Follower(const BatchOptions& options) : options_(options) {}

  // Checks the queries of one batch from `samples`, in order; removes the samples that were in it.
  void follow(const Batch& batch, std::deque<Sample>& samples) {
    size_t q = 0;
    int32_t group = 0;
    std::set<std::string> seen;
    while (q < batch.queries() && batch.query_group[q] >= 0) {
      ASSERT_FALSE(samples.empty());
      const Sample sample = std::move(samples.front());
      samples.pop_front();
      // Texts of this memory and what they are called.
      std::map<std::string, uint32_t> numbers;
      for (size_t d = 0; d < batch.documents(); ++d) {
        if (batch.doc_group[d] != group) continue;
        const uint32_t n = batch.doc_number[d];
        const std::string opening = fmt::format("<|im_start|>[{}]. ", n);
        const std::string closing = fmt::format("[{}]<|im_end|>", n);
        const std::string shown = doc_text(batch, d);
        ASSERT_TRUE(
            numbers
                .emplace(
                    shown.substr(opening.size(), shown.size() - opening.size() - closing.size()), n)
                .second)
            << "twice in one memory: " << shown;
      }
      for (const SampleDocument& document : sample.documents) {
        ASSERT_TRUE(numbers.contains(document_text(document.title, document.text)));
        seen.insert(fmt::format("{} {}", group, document_text(document.title, document.text)));
      }
      for (const SampleQuestion& question : sample.questions)
        follow(batch, group, numbers, sample, question, q);
      if (!options_.share_documents) ++group;
    }
    EXPECT_EQ(seen.size(), batch.documents()) << "documents that no sample has";
  }

 private:
  void follow(const Batch& batch, int32_t group, const std::map<std::string, uint32_t>& numbers,
              const Sample& sample, const SampleQuestion& question, size_t& q) {
    const std::string block = fmt::format(
        "\nPlease answer the question based on the above historical document information\n\n"
        "{}\nPlease return all documents related to the question\n",
        question.question);
    std::string prompt = block + "<|im_end|>\n<|im_start|>";
    std::set<uint32_t> named;
    for (const auto& step : question.steps) {
      std::map<uint32_t, std::string> documents;
      for (const uint32_t d : step) {
        const std::string shown =
            document_text(sample.documents[d].title, sample.documents[d].text);
        if (named.insert(numbers.at(shown)).second) documents[numbers.at(shown)] = shown;
      }
      if (documents.empty()) continue;  // named in an earlier step, under another index
      std::string target, injected;
      std::vector<std::string> relevant;
      for (const auto& [number, shown] : documents) {
        target += fmt::format("[{}]", number);
        injected += fmt::format("[{}]. {}\n", number, shown);
        relevant.push_back(fmt::format("<|im_start|>[{0}]. {1}[{0}]<|im_end|>", number, shown));
      }
      target += "<|object_ref_end|>";
      ASSERT_LT(q, batch.queries());
      ASSERT_EQ(batch.query_group[q], group);
      ASSERT_EQ(query_text(batch, q), prompt + target);
      ASSERT_EQ(labels_text(batch, q, LabelKind::number), target);
      ASSERT_EQ(labels_text(batch, q, LabelKind::answer), "");
      ASSERT_THAT(relevant_texts(batch, q), ::testing::UnorderedElementsAreArray(relevant));
      prompt += target + injected + "<|object_ref_end|>";
      ++q;
    }
    const std::string answer =
        fmt::format("The answer to the question is: {}<|im_end|>", question.answer);
    ASSERT_LT(q, batch.queries());
    ASSERT_EQ(query_text(batch, q),
              fmt::format("{}<End-of-Retrieve><|im_start|>The user's question is: {}\n"
                          "<|object_ref_end|>{}",
                          prompt, question.question, answer));
    ASSERT_EQ(labels_text(batch, q, LabelKind::answer), "<End-of-Retrieve>" + answer);
    ASSERT_EQ(labels_text(batch, q, LabelKind::number), "");
    ASSERT_TRUE(relevant_texts(batch, q).empty());
    ++q;
  }

  const BatchOptions& options_;
};

class EveryBatch : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Batcher, EveryBatch, ::testing::Bool(),
                         [](const auto& shared) { return shared.param ? "shared" : "apart"; });

TEST_P(EveryBatch, HoldsTheSamplesInOrder) {
  BatchOptions options;
  options.documents = 10;
  options.tokens = 6000;
  options.share_documents = GetParam();
  std::deque<Sample> given;
  const auto from = batcher(options, [&](uint64_t i) {
    given.push_back(testing::random_sample(i));
    return given.back();
  });
  Follower follower(options);
  for (int i = 0; i < 12; ++i) {
    const Batch batch = next(*from);
    check_shape(batch, options);
    follower.follow(batch, given);
    if (HasFailure()) FAIL() << "batch " << i;
    EXPECT_LE(given.size(), 1u);  // what did not fit
    EXPECT_GE(batch.documents(), 10u);
    EXPECT_GT(batch.tokens(), 3000u);  // a sample may have that many
  }
  EXPECT_EQ(from->samples_skipped(), 0u);
}

TEST(Batcher, OptionsAreKept) {
  for (uint64_t i = 0; i < 40; ++i) {
    Random random(17, i);
    BatchOptions options;
    options.documents = random.between(1, 200);
    options.tokens = random.between(1500, 10'000);
    options.max_document_tokens = random.between(32, 100);
    options.share_documents = random.chance(0.7);
    options.max_number_digits = random.between(4, 9);
    options.number_weight = random.chance(0.8) ? 2.0f : 0.0f;
    options.answer_weight = 0.5f;
    options.text_weight = random.chance(0.5) ? 0.25f : 0.0f;
    options.document_weight = random.chance(0.5) ? 0.75f : 0.0f;
    options.repeat_share = random.chance(0.5) ? 0.4 : 0;
    options.repeat_tokens = random.between(8, 300);
    options.repeat_vocabulary = random.chance(0.5) ? random.between(2, 40) : 0;
    const auto from = batcher(options, testing::random_sample, i);
    for (int step = 0; step < 3; ++step) {
      const Batch batch = next(*from);
      if (options.number_weight > 0) check_shape(batch, options);
      for (size_t q = 0; q < batch.queries(); ++q)
        for (auto t = static_cast<size_t>(batch.query_starts[q]);
             t < static_cast<size_t>(batch.query_starts[q + 1]); ++t) {
          const float expected = batch.query_group[q] < 0                    ? 1
                                 : batch.label_kinds[t] == LabelKind::number ? options.number_weight
                                 : batch.label_kinds[t] == LabelKind::answer ? options.answer_weight
                                                                             : options.text_weight;
          if (batch.labels[t] >= 0) {
            ASSERT_EQ(batch.label_weights[t], expected);
          }
          // With a weight on plain text, every token but the last has a label.
          if (options.text_weight > 0 && options.number_weight > 0 && batch.query_group[q] >= 0) {
            ASSERT_EQ(batch.labels[t] >= 0, t + 1 < static_cast<size_t>(batch.query_starts[q + 1]));
          }
        }
      if (HasFailure()) FAIL() << "case " << i;
    }
  }
}

TEST(Batcher, FillsTheBudget) {
  BatchOptions options;
  options.documents = 4;
  options.tokens = 8000;
  const auto small = [](uint64_t i) {
    Sample sample = testing::random_sample(i);
    sample.questions.resize(1);
    return sample;
  };
  const auto from = batcher(options, small);
  for (int i = 0; i < 10; ++i) {
    const Batch batch = next(*from);
    EXPECT_GE(batch.tokens(), 0.9 * 8000 * 0.9);  // stops early only for a sample that is too long
    EXPECT_LE(batch.tokens(), 8000u);
  }
}

// Short documents: the number of documents is what is waited for, beyond nine tenths of the tokens.
TEST(Batcher, GoesOnUntilThereAreEnoughDocuments) {
  BatchOptions options;
  options.tokens = 8000;
  options.documents = 1'000'000;
  const auto all = next(*batcher(options, testing::random_sample));
  options.documents = 1;
  const auto few = next(*batcher(options, testing::random_sample));
  EXPECT_GE(few.tokens(), 7200u);
  EXPECT_GE(all.tokens(), few.tokens());
  EXPECT_GE(all.documents(), few.documents());
}

TEST(Batcher, SameTextIsOneDocumentOfASharedMemory) {
  BatchOptions options;
  options.tokens = 3000;
  const auto same = [](uint64_t) { return plain_sample(1); };
  const Batch shared = next(*batcher(options, same));
  EXPECT_EQ(shared.documents(), 1u);
  EXPECT_GT(shared.queries(), 20u);
  for (size_t q = 0; q < shared.queries(); ++q)
    EXPECT_EQ(relevant_texts(shared, q).size(), q % 2 == 0 ? 1u : 0u);
  options.share_documents = false;
  options.documents = 5;
  const Batch apart = next(*batcher(options, same));
  EXPECT_EQ(apart.documents(), apart.queries() / 2);
  for (size_t d = 0; d < apart.documents(); ++d)
    EXPECT_EQ(apart.doc_group[d], static_cast<int32_t>(d));
}

TEST(Batcher, DocumentsThatAreTheSameAreHandedOverOnce) {
  Sample sample;
  sample.documents = {{"T", "x", "1"}, {"", "T\nx", "2"}, {"", "y", ""}, {"T", "x", "3"}};
  SampleQuestion question;
  question.question = "Q?";
  question.answer = "A";
  question.steps = {{0, 1}, {3}, {2}};
  sample.questions = {question};
  BatchOptions options;
  options.tokens = 300;
  const Batch batch = next(*batcher(options, [&](uint64_t) { return sample; }));
  ASSERT_EQ(batch.documents(), 2u);
  EXPECT_EQ(relevant_texts(batch, 0).size(), 1u);
  EXPECT_THAT(relevant_texts(batch, 0)[0], HasSubstr("T\nx"));
  EXPECT_THAT(relevant_texts(batch, 1)[0], HasSubstr("y"));
  EXPECT_EQ(relevant_texts(batch, 2).size(), 0u);
}

TEST(Batcher, LongDocumentsAreCutBeforeTheClosingNumber) {
  BatchOptions options;
  options.tokens = 4000;
  options.max_document_tokens = 32;
  const auto from = batcher(options, [](uint64_t i) { return plain_sample(i, 100); });
  const Batch batch = next(*from);
  ASSERT_GT(batch.documents(), 1u);
  for (size_t d = 0; d < batch.documents(); ++d) {
    EXPECT_EQ(batch.doc_starts[d + 1] - batch.doc_starts[d], 32);
    EXPECT_THAT(doc_text(batch, d),
                HasSubstr(fmt::format(" word word[{}]<|im_end|>", batch.doc_number[d])));
  }
  // What is handed over ends there too.
  for (size_t q = 0; q + 1 < batch.queries(); q += 2) {
    const auto d =
        static_cast<size_t>(batch.relevant[static_cast<size_t>(batch.relevant_starts[q])]);
    const std::string shown = doc_text(batch, d);
    const size_t opening = fmt::format("<|im_start|>[{}]. ", batch.doc_number[d]).size();
    const size_t closing = fmt::format("[{}]<|im_end|>", batch.doc_number[d]).size();
    EXPECT_THAT(query_text(batch, q + 1),
                HasSubstr(fmt::format("[{}]. {}\n<|object_ref_end|>", batch.doc_number[d],
                                      shown.substr(opening, shown.size() - opening - closing))));
  }
  // So it does in reading exercises, whose numbers are not known.
  options.reading_share = 1;
  const auto reading = batcher(options, [](uint64_t i) { return plain_sample(i, 100); });
  const Batch exercises = next(*reading);
  ASSERT_GT(exercises.queries(), 1u);
  for (size_t q = 0; q < exercises.queries(); ++q) {
    EXPECT_THAT(query_text(exercises, q), HasSubstr(" word word\n<|object_ref_end|>"));
    EXPECT_LT(exercises.query_starts[q + 1] - exercises.query_starts[q], 150);
  }
}

TEST(Batcher, WhatIsHandedOverEndsWithAWholeCharacter) {
  BatchOptions options;
  options.tokens = 4000;
  options.max_document_tokens = 40;
  const Batch batch = next(*batcher(options, [](uint64_t i) {
    Sample sample = plain_sample(i);
    // Of four bytes, and of several tokens each.
    for (int n = 0; n < 40; ++n) sample.documents[0].text += "\xf0\x93\x80\x80";
    return sample;
  }));
  ASSERT_GT(batch.queries(), 10u);
  for (size_t q = 1; q < batch.queries(); q += 2) {
    const std::string shown = query_text(batch, q);
    EXPECT_EQ(shown.find("\xef\xbf\xbd"), std::string::npos) << shown;
    EXPECT_THAT(shown, HasSubstr("\xf0\x93\x80\x80\n<|object_ref_end|>"));
  }
}

TEST(Batcher, DocumentsStandInRandomOrder) {
  BatchOptions options;
  options.tokens = 8000;
  const Batch batch = next(*batcher(options, [](uint64_t i) { return plain_sample(i); }));
  std::vector<int> order;
  for (size_t q = 0; q < batch.queries(); q += 2)
    order.push_back(batch.relevant[static_cast<size_t>(batch.relevant_starts[q])]);
  ASSERT_GT(order.size(), 20u);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  size_t rising = 0;
  for (size_t i = 0; i + 1 < order.size(); ++i) rising += order[i] < order[i + 1] ? 1 : 0;
  EXPECT_GT(rising, order.size() / 4);
  EXPECT_LT(rising, order.size() * 3 / 4);
}

TEST(Batcher, NumbersOfAllLengths) {
  BatchOptions options;
  options.tokens = 40'000;
  options.documents = 100;
  const auto from = batcher(options, [](uint64_t i) { return plain_sample(i); });
  std::map<size_t, size_t> lengths;
  for (int i = 0; i < 10; ++i)
    for (const uint32_t number : next(*from).doc_number) ++lengths[std::to_string(number).size()];
  EXPECT_EQ(lengths.size(), 7u);
  for (size_t digits = 3; digits <= 7; ++digits)
    EXPECT_GT(lengths[digits], lengths[7] / 2) << digits;  // short ones run out
}

TEST(Batcher, MoreDocumentsThanNumbersOfTheLengthAskedFor) {
  BatchOptions options;
  options.tokens = 8000;
  options.documents = 40;
  options.max_number_digits = 1;
  const Batch batch = next(*batcher(options, [](uint64_t i) { return plain_sample(i); }));
  ASSERT_GT(batch.documents(), 20u);
  const std::set<uint32_t> numbers(batch.doc_number.begin(), batch.doc_number.end());
  EXPECT_EQ(numbers.size(), batch.documents());
  EXPECT_LT(*numbers.rbegin(), 1000u);
}

class BatcherRepeats : public ::testing::TestWithParam<size_t> {};

TEST_P(BatcherRepeats, SequencesOfRandomTokens) {
  BatchOptions options;
  options.repeat_vocabulary = GetParam();
  options.tokens = 4000;
  options.documents = 2;
  options.repeat_share = 0.5;
  options.repeat_tokens = 20;
  const auto from = batcher(options, testing::random_sample);
  std::set<std::vector<TokenId>> seen;
  size_t unknown = 0, fewest = 20, most = 0;
  for (int i = 0; i < 3; ++i) {
    const Batch batch = next(*from);
    check_shape(batch, options);
    size_t repeated = 0;
    for (size_t q = 0; q < batch.queries(); ++q) {
      if (batch.query_group[q] >= 0) continue;
      const auto begin = static_cast<size_t>(batch.query_starts[q]);
      const auto end = static_cast<size_t>(batch.query_starts[q + 1]);
      ASSERT_EQ((end - begin) % 2, 0u);
      const size_t half = (end - begin) / 2;
      repeated += 2 * half;
      EXPECT_GE(half, 8u);
      EXPECT_LE(half, 20u);
      EXPECT_EQ(batch.relevant_starts[q], batch.relevant_starts[q + 1]);
      const auto tokens = std::span(batch.query_tokens).subspan(begin, 2 * half);
      EXPECT_TRUE(std::equal(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(half),
                             tokens.begin() + static_cast<std::ptrdiff_t>(half)));
      EXPECT_TRUE(seen.insert({tokens.begin(), tokens.end()}).second);
      const size_t distinct = std::set<TokenId>(tokens.begin(), tokens.end()).size();
      fewest = std::min(fewest, distinct);
      most = std::max(most, distinct);
      for (size_t t = 0; t < 2 * half; ++t) {
        // Whether the second half's tokens up to this one occur at one place before it only.
        size_t places = 0;
        for (size_t length = t + 1 - std::min(half, t + 1), p = 0; length > 0 && p < half; ++p)
          places += std::equal(tokens.begin() + static_cast<std::ptrdiff_t>(p),
                               tokens.begin() + static_cast<std::ptrdiff_t>(p + length),
                               tokens.begin() + static_cast<std::ptrdiff_t>(half));
        const bool known = t >= half && t + 1 < 2 * half && places == 1;
        unknown += t >= half && t + 1 < 2 * half && !known;
        EXPECT_FALSE(tokenizer().is_special(tokens[t]));
        EXPECT_FALSE(tokenizer().token_bytes(tokens[t]).empty());
        EXPECT_EQ(batch.routes[begin + t], 0);
        EXPECT_EQ(batch.labels[begin + t], known ? tokens[t + 1] : -1);
        EXPECT_EQ(batch.label_kinds[begin + t], LabelKind::text);
      }
    }
    EXPECT_GT(repeated, 1980u);
    EXPECT_LE(repeated, 2000u);
  }
  if (options.repeat_vocabulary > 0) {
    EXPECT_LE(most, options.repeat_vocabulary);
    EXPECT_LE(fewest, 2u);
    EXPECT_GT(unknown, seen.size() / 4);
  } else {
    EXPECT_GT(most, 15u);
    EXPECT_LT(unknown, seen.size() / 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabulary, BatcherRepeats, ::testing::Values(0, 2, 6));

TEST(Batcher, SubjectsAreTitlesOrFirstWords) {
  BatchOptions options;
  options.documents = 4;
  options.tokens = 2000;
  const auto from = batcher(options, [](uint64_t index) {
    Sample sample;
    const std::string long_beginning = "The River Koshond is a winding river in the north";
    sample.documents = {{"Chad: Population", fmt::format("19 million, {}", index), ""},
                        {"Chad: Population", fmt::format("renamed {}", index), ""},
                        {"", fmt::format("{} {}", long_beginning, index), ""},
                        {"", fmt::format("Other {}", index), ""}};
    sample.questions = {{"Q?", {{0}}, "A", {}, {}, ""}};
    sample.where = "made";
    return sample;
  });
  const Batch batch = next(*from);
  std::map<uint64_t, size_t> counts;
  for (const uint64_t subject : batch.doc_subject) {
    EXPECT_LT(subject, uint64_t{1} << 48);
    ++counts[subject];
  }
  const size_t samples = batch.documents() / 4;
  std::vector<size_t> sizes;
  for (const auto& [subject, count] : counts) sizes.push_back(count);
  std::sort(sizes.begin(), sizes.end());
  std::vector<size_t> expected(samples, 1);
  expected.insert(expected.end(), {samples, 2 * samples});
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(sizes, expected);
}

TEST(Batcher, TooLongSamplesArePassedOver) {
  BatchOptions options;
  options.tokens = 600;
  options.documents = 2;
  const auto make = [](uint64_t i) { return plain_sample(i, i % 3 == 1 ? 5000 : 3); };
  const auto from = batcher(options, make);
  for (int i = 0; i < 20; ++i) {
    const Batch batch = next(*from);
    check_shape(batch, options);
    for (size_t q = 0; q < batch.queries(); ++q)
      EXPECT_EQ(query_text(batch, q).find("word word word word"), std::string::npos);
  }
  EXPECT_GE(from->samples_skipped(), 9u);

  const auto never = batcher(options, [](uint64_t i) { return plain_sample(i, 5000); });
  const auto batch = never->next();
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().code, Code::invalid_argument);
  EXPECT_THAT(batch.error().message, HasSubstr("plain:999: "));
  EXPECT_THAT(batch.error().message, HasSubstr("600"));
}

TEST(Batcher, SequencesFitTheModel) {
  BatchOptions options;
  options.tokens = 4000;
  options.documents = 2;
  options.max_document_tokens = 1000;
  options.max_sequence_tokens = 200;
  options.repeat_share = 0.2;
  options.repeat_tokens = 300;
  // What every third sample hands over is too long; what nobody asks for is cut.
  const auto make = [](uint64_t i) {
    Sample sample = plain_sample(i, i % 3 == 1 ? 400 : 3);
    sample.documents.push_back(plain_sample(1'000'000 + i, 400).documents[0]);
    return sample;
  };
  for (const double share : {0.0, 1.0}) {
    options.reading_share = share;
    const auto from = batcher(options, make);
    size_t samples = 0, skipped = 0, longest_document = 0;
    for (int i = 0; i < 10; ++i) {
      const Batch batch = next(*from);
      check_shape(batch, options);
      samples += batch.samples;
      skipped += batch.samples_skipped;
      for (size_t q = 0; q < batch.queries(); ++q) {
        EXPECT_LE(batch.prefix.size() +
                      static_cast<size_t>(batch.query_starts[q + 1] - batch.query_starts[q]),
                  200u);
        EXPECT_EQ(query_text(batch, q).find("word word word word"), std::string::npos);
      }
      for (size_t d = 0; d < batch.documents(); ++d)
        longest_document = std::max(
            longest_document, static_cast<size_t>(batch.doc_starts[d + 1] - batch.doc_starts[d]));
    }
    EXPECT_EQ(longest_document, share == 0 ? 200u : 0u);
    EXPECT_GE(skipped, 9u);
    EXPECT_EQ(skipped, from->samples_skipped());
    EXPECT_GE(samples, skipped);  // two fit for each one that does not
  }

  const auto never = batcher(options, [](uint64_t i) { return plain_sample(i, 400); });
  const auto batch = never->next();
  ASSERT_FALSE(batch);
  EXPECT_THAT(batch.error().message, HasSubstr("more than the 200 that the model takes"));
}

void expect_same(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.samples_skipped, b.samples_skipped);
  EXPECT_EQ(a.doc_tokens, b.doc_tokens);
  EXPECT_EQ(a.doc_starts, b.doc_starts);
  EXPECT_EQ(a.doc_number, b.doc_number);
  EXPECT_EQ(a.doc_group, b.doc_group);
  EXPECT_EQ(a.query_tokens, b.query_tokens);
  EXPECT_EQ(a.query_starts, b.query_starts);
  EXPECT_EQ(a.query_group, b.query_group);
  EXPECT_EQ(a.routes, b.routes);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.label_weights, b.label_weights);
  EXPECT_EQ(a.relevant_starts, b.relevant_starts);
  EXPECT_EQ(a.relevant, b.relevant);
}

TEST(Batcher, GoesOnFromASavedState) {
  BatchOptions options;
  options.tokens = 2500;
  options.documents = 10;
  options.max_document_tokens = 4000;
  options.repeat_share = 0.1;
  options.reading_share = 0.4;
  const auto make = [](uint64_t i) {
    return i % 11 == 3 ? plain_sample(i, 4000) : testing::random_sample(i);
  };
  const auto create = [&](uint64_t seed) {
    std::vector<WeightedSource> sources;
    sources.push_back({make_sample_source(make), 1});
    sources.push_back({make_sample_source(testing::random_sample), 2});
    return Batcher::create(testing::shared_qwen(), mix_sources(std::move(sources), 3), options,
                           seed)
        .value();
  };
  const auto straight = create(1);
  std::vector<Batch> batches;
  std::vector<std::string> states = {straight->state()};
  std::vector<uint64_t> skipped = {0};
  for (int i = 0; i < 12; ++i) {
    batches.push_back(next(*straight));
    states.push_back(straight->state());
    skipped.push_back(straight->samples_skipped());
  }
  EXPECT_GT(skipped.back(), 0u);
  const auto used = create(1);
  for (const size_t at : {7u, 0u, 1u, 3u, 11u, 4u}) {
    const auto fresh = create(1);
    for (Batcher* other : {fresh.get(), used.get()}) {
      ASSERT_TRUE(other->restore(states[at]));
      EXPECT_EQ(other->state(), states[at]);
      EXPECT_EQ(other->samples_skipped(), skipped[at]);
      for (size_t i = at; i < std::min<size_t>(at + 2, 12); ++i) {
        expect_same(next(*other), batches[i]);
        EXPECT_EQ(other->state(), states[i + 1]);
      }
    }
  }
  EXPECT_NE(next(*create(2)).doc_number, batches[0].doc_number);
}

TEST(Batcher, RefusesAStateThatIsNone) {
  const auto from = batcher({}, testing::random_sample);
  const Batch first = next(*from);
  const std::string state = from->state();
  for (const char* bad : {"", "[]", "7", "{}", "{\"position\": 1, \"steps\": 2}", "null",
                          "{\"position\": 1", R"({"position": -1, "steps": 2, "skipped": 0})",
                          R"({"position": 1.5, "steps": 2, "skipped": 0})",
                          R"({"position": 1, "steps": "2", "skipped": 0})",
                          R"({"position": 99999999999999999, "steps": 2, "skipped": 0})"}) {
    const auto restored = from->restore(bad);
    ASSERT_FALSE(restored) << bad;
    EXPECT_EQ(restored.error().code, Code::corrupt);
    EXPECT_THAT(restored.error().message, HasSubstr("; "));
    EXPECT_EQ(from->state(), state);
  }
}

TEST(Batcher, RefusesOptionsThatMakeNoSense) {
  const auto message_of = [](const BatchOptions& options) -> std::string {
    const auto made = Batcher::create(testing::shared_qwen(),
                                      make_sample_source(testing::random_sample), options, 1);
    if (made) return "";
    EXPECT_EQ(made.error().code, Code::invalid_argument);
    return made.error().message;
  };
  const auto with = [](const auto& change) {
    BatchOptions options;
    change(options);
    return options;
  };
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message_of({}), "");
  using O = BatchOptions;
  EXPECT_THAT(message_of(with([](O& o) { o.documents = 0; })), HasSubstr("batch.documents: is 0"));
  EXPECT_THAT(message_of(with([](O& o) { o.tokens = 63; })), HasSubstr("batch.tokens: 63"));
  EXPECT_THAT(message_of(with([](O& o) { o.tokens = size_t{1} << 40; })),
              HasSubstr("batch.tokens: "));
  EXPECT_THAT(message_of(with([](O& o) { o.max_document_tokens = 31; })),
              HasSubstr("batch.max_document_tokens: 31"));
  EXPECT_THAT(message_of(with([](O& o) { o.max_sequence_tokens = 31; })),
              HasSubstr("sequences of 31 tokens"));
  EXPECT_THAT(message_of(with([](O& o) { o.max_number_digits = 0; })),
              HasSubstr("batch.max_number_digits: 0"));
  EXPECT_THAT(message_of(with([](O& o) { o.max_number_digits = 10; })),
              HasSubstr("batch.max_number_digits: 10"));
  EXPECT_THAT(message_of(with([](O& o) { o.number_weight = -1; })),
              HasSubstr("batch.number_weight: -1"));
  EXPECT_THAT(message_of(with([](O& o) { o.answer_weight = kNan; })),
              HasSubstr("batch.answer_weight: nan"));
  EXPECT_THAT(message_of(with([](O& o) { o.document_weight = 1e9f; })),
              HasSubstr("batch.document_weight: "));
  EXPECT_THAT(message_of(with([](O& o) { o.repeat_share = 1; })),
              HasSubstr("batch.repeat_share: 1"));
  EXPECT_THAT(message_of(with([](O& o) { o.repeat_share = kNan; })),
              HasSubstr("batch.repeat_share: nan"));
  EXPECT_THAT(message_of(with([](O& o) { o.reading_share = 1.5; })),
              HasSubstr("batch.reading_share: 1.5"));
  EXPECT_THAT(message_of(with([](O& o) { o.reading_documents = 0; })),
              HasSubstr("batch.reading_documents: 0"));
  EXPECT_THAT(message_of(with([](O& o) { o.repeat_tokens = 7; })),
              HasSubstr("batch.repeat_tokens: 7"));
  EXPECT_THAT(message_of(with([](O& o) { o.repeat_vocabulary = 1; })),
              HasSubstr("batch.repeat_vocabulary: 1"));
  EXPECT_THAT(message_of(with([](O& o) {
                o.repeat_share = 0.1;
                o.repeat_tokens = 3000;
              })),
              HasSubstr("batch.repeat_tokens: 3000"));
}

TEST(Batcher, RefusesASampleThatContradictsItself) {
  const auto from = batcher({}, [](uint64_t i) {
    Sample sample = plain_sample(i);
    if (i == 5) sample.questions[0].steps = {{1}};
    return sample;
  });
  const auto batch = from->next();
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().message,
            "plain:5: question 1: document 1 is relevant to it, but there are 1; positions are "
            "counted from 0");
}

}  // namespace
}  // namespace msa
