// A training sequence must be, token for token, what the engine gives a model that answers
// perfectly: the engine's rounds are run with a model that reads its next token off the labels.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/test_folder.h"
#include "engine/interleave.h"
#include "samples/sequence.h"
#include "text/testing_tokenizer.h"

namespace msa {
namespace {

using Tokens = std::vector<TokenId>;
using Steps = std::vector<std::vector<NumberedDocument>>;

// Writes what the labels of `queries` say and checks that it is shown just their tokens.
class TaughtModel final : public InterleaveModel {
 public:
  TaughtModel(const Tokenizer& tokenizer, const std::vector<QuerySequence>& queries,
              const Steps& steps)
      : tokenizer_(tokenizer), queries_(queries) {
    for (const auto& step : steps)
      for (const NumberedDocument& document : step) documents_[document.number] = document.text;
  }

  Result<void> prefill(std::span<const TokenId> tokens, std::span<const uint8_t> routes,
                       std::span<const uint32_t>) override {
    if (rounds_ == queries_.size()) {
      ADD_FAILURE() << "more rounds than queries";
      return Error{Code::internal, "test"};
    }
    const QuerySequence& query = queries_[rounds_++];
    read_ = 0;
    read(tokens);
    // The round begins where the first label is: all before it is context.
    size_t first = 0;
    while (first < query.labels.size() && query.labels[first] < 0) ++first;
    EXPECT_EQ(read_, first + 1) << "round " << rounds_;
    EXPECT_TRUE(std::equal(routes.begin(), routes.end(), query.routes.begin()))
        << "round " << rounds_;
    return {};
  }
  Result<Routing> routing() override {
    Routing out;
    LayerRouting layer{.layer = 0, .documents = {}};
    for (const auto& [number, text] : documents_) {
      layer.documents.push_back({number, "", 1.0f});
      out.ranking.push_back({number, "", 1.0f});
    }
    layer.documents.push_back({kOther, "", 0.5f});  // so that something is left to route to
    out.layers = {layer};
    return out;
  }
  Result<void> append(std::span<const TokenId> tokens) override {
    const size_t before = read_;
    read(tokens);
    for (size_t t = before; t < read_; ++t) EXPECT_EQ(query().routes.at(t), 0);
    return {};
  }
  TokenId sample(std::span<const uint8_t> allowed) override {
    const TokenId token = read_ > 0 ? query().labels.at(read_ - 1) : -1;
    EXPECT_GE(token, 0) << "no label at token " << read_ - 1 << " of round " << rounds_;
    if (token < 0) return end();
    if (!allowed.empty()) {
      EXPECT_NE(allowed[static_cast<size_t>(token)], 0) << "masked: " << token;
    }
    sampled_ = token;
    ++labels_used_[rounds_ - 1];
    return token;
  }
  Result<std::optional<Citation>> document(uint32_t number) override {
    const auto found = documents_.find(number);
    if (found == documents_.end()) return std::optional<Citation>();
    Citation citation;
    citation.number = number;
    citation.text = found->second;
    return std::optional(citation);
  }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  bool is_end(TokenId token) const override { return token == end(); }

  size_t rounds() const { return rounds_; }
  size_t labels_used(size_t round) { return labels_used_[round]; }
  // The last sampled token is not read any more.
  size_t read_of_last() const { return read_; }

 private:
  static constexpr uint32_t kOther = 4'000'000'000;

  TokenId end() const { return tokenizer_.find(kImEnd).value(); }
  const QuerySequence& query() const { return queries_.at(rounds_ - 1); }
  void read(std::span<const TokenId> tokens) {
    for (const TokenId token : tokens) {
      ASSERT_LT(read_, query().tokens.size());
      ASSERT_EQ(token, query().tokens[read_]) << "token " << read_ << " of round " << rounds_;
      ++read_;
    }
  }

  const Tokenizer& tokenizer_;
  const std::vector<QuerySequence>& queries_;
  std::map<uint32_t, std::string> documents_;
  size_t rounds_ = 0, read_ = 0;
  std::optional<TokenId> sampled_;
  std::map<size_t, size_t> labels_used_;
};

void compare(const Tokenizer& tokenizer, const std::string& question, const std::string& answer,
             const Steps& steps, bool constrain) {
  const std::vector<QuerySequence> queries = question_sequences(tokenizer, question, answer, steps);
  TaughtModel model(tokenizer, queries, steps);
  AskOptions options;
  options.constrain_numbers = constrain;
  const auto result = run_interleave(model, question, options, {}, {});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->finish, "stop");
  EXPECT_EQ(result->answer, answer);
  EXPECT_EQ(model.rounds(), queries.size());
  for (size_t q = 0; q < queries.size(); ++q) {
    size_t labels = 0;
    for (const TokenId label : queries[q].labels) labels += label >= 0 ? 1 : 0;
    EXPECT_EQ(model.labels_used(q), labels) << "query " << q;
  }
  EXPECT_EQ(model.read_of_last() + 1, queries.back().tokens.size());
  for (size_t s = 0; s < steps.size(); ++s) {
    std::vector<uint32_t> numbers;
    for (const NumberedDocument& document : steps[s]) numbers.push_back(document.number);
    EXPECT_THAT(result->rounds[s].numbers, ::testing::UnorderedElementsAreArray(numbers));
  }
}

// A tokenizer that joins brackets, and that has the special tokens only.
std::shared_ptr<const Tokenizer> joining_tokenizer() {
  nlohmann::json made = testing::byte_level_json({{"]", "["}, {"1", "2"}, {"\u010a", "\u010a"}});
  int next = 300;
  for (const std::string_view token : {kImStart, kImEnd, kRoundEnd}) {
    made["added_tokens"].push_back(testing::added_token(next++, token));
    made["added_tokens"].back()["special"] = true;
  }
  const TestFolder folder;
  auto loaded = Tokenizer::load(folder.put("tokenizer.json", made.dump()));
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return *loaded;
}

TEST(SequenceEngine, OneHop) {
  for (const bool constrain : {false, true})
    compare(testing::qwen(), "When was Bill Watts born?", "May 5, 1939",
            {{{4, "Bill Watts was born on May 5, 1939."}}}, constrain);
}

TEST(SequenceEngine, TwoHopsWithSeveralDocuments) {
  const Steps steps = {{{812, "Erik Watts\nErik is the son of Bill."}, {7, "Seven."}},
                       {{3, "Bill Watts was born on May 5, 1939."}}};
  for (const bool constrain : {false, true}) {
    compare(testing::qwen(), "When was Erik Watts' father born?", "May 5, 1939", steps, constrain);
    compare(*joining_tokenizer(), "When was Erik Watts' father born?", "May 5, 1939", steps,
            constrain);
  }
}

TEST(SequenceEngine, RandomQuestions) {
  static const std::vector<std::string> kPieces = {
      "a",  "The",  " king", " of\n",      "\n\n", "[12]", "12", " ", "  ", "é",
      "'s", "日本", ".",     "<|im_start", "|>",   "?",    "]",  "[", "\t", "\r\n"};
  const auto joining = joining_tokenizer();
  for (uint64_t i = 0; i < 300; ++i) {
    Random random(11, i);
    const auto text = [&](uint64_t most) {
      std::string out;
      for (uint64_t n = random.between(1, most); n > 0; --n) out += random.pick(kPieces);
      return out;
    };
    Steps steps(random.between(1, 4));
    uint32_t number = 0;
    for (auto& step : steps)
      for (uint64_t n = random.between(1, 3); n > 0; --n) {
        number += static_cast<uint32_t>(random.between(1, random.chance(0.5) ? 9 : 50'000'000));
        step.push_back({number, text(30)});
      }
    for (auto& step : steps) random.shuffle(step);
    // White space around an answer does not count, and special tokens in it are not shown.
    std::string answer = fmt::format("x{}x", text(5));
    while (answer.find(kImStart) != std::string::npos) answer = fmt::format("x{}x", text(5));
    compare(random.chance(0.5) ? testing::qwen() : *joining, text(20), answer, steps,
            random.chance(0.5));
    if (HasFailure()) FAIL() << "case " << i;
  }
}

}  // namespace
}  // namespace msa
