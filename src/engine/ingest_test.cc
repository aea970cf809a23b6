// Ingest with a fake encoder and a fake bank: what is split, batched, passed over and reported.

#include "engine/ingest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "text/prompt.h"
#include "text/utf8.h"

namespace msa {
namespace {

class FakeBank : public BankWriter {
 public:
  static constexpr uint64_t kNameBytes = 100;  // that are pending of a name that comes or goes

  Result<Presence> presence(std::string_view id, std::string_view title,
                            std::string_view text) override {
    const auto found = documents_.find(std::string(id));
    if (found == documents_.end()) return Presence::absent;
    const bool same = found->second.title == title && found->second.text == text;
    return same ? Presence::same : Presence::different;
  }
  Result<bool> contains(std::string_view id) override {
    return documents_.contains(std::string(id));
  }
  Result<std::optional<uint32_t>> find_text(std::string_view title,
                                            std::string_view text) override {
    for (const auto& [id, document] : documents_)
      if (document.title == title && document.text == text) return std::optional(numbers_.at(id));
    return std::optional<uint32_t>();
  }
  uint32_t next_number() const override {
    return first_ + step_ * static_cast<uint32_t>(order_.size());
  }
  Result<void> add(std::vector<NewDocument> documents, EncodedBatch batch) override {
    EXPECT_EQ(documents.size(), batch.chunks.size());
    for (NewDocument& document : documents) {
      numbers_[document.id] = next_number();
      order_.push_back(document.id);
      pending_ += 1000;
      EXPECT_TRUE(documents_.emplace(document.id, document).second) << document.id;
    }
    return {};
  }
  Result<void> add_alias(const NewDocument& document, uint32_t number) override {
    EXPECT_TRUE(documents_.emplace(document.id, document).second) << document.id;
    numbers_[document.id] = number;
    pending_ += kNameBytes;
    ++changes_;
    return {};
  }
  Result<Removed> remove(std::string_view id) override {
    if (documents_.erase(std::string(id)) == 0) return Removed::nothing;
    numbers_.erase(std::string(id));
    removed_.emplace_back(id);
    pending_ += kNameBytes;
    ++changes_;
    return Removed::document;
  }
  Result<std::vector<std::string>> names(uint32_t) override { return std::vector<std::string>(); }
  uint64_t pending_bytes() const override { return pending_; }
  Result<void> commit() override {
    if (fail_commit_) return Error{Code::no_space, "bank: the disk is full"};
    commits_ += pending_ > 0 || changes_ > 0;
    pending_ = changes_ = 0;
    std::map<std::string, std::string> texts;
    for (const auto& [id, document] : documents_) texts.emplace(id, document.text);
    committed_.push_back(std::move(texts));
    return {};
  }
  Result<CompactionReport> compact(uint64_t, const std::function<void(uint64_t, uint64_t)>&,
                                   std::stop_token) override {
    return CompactionReport();
  }

  std::map<std::string, NewDocument> documents_;
  std::map<std::string, uint32_t> numbers_;
  std::vector<std::string> order_, removed_;
  std::vector<std::map<std::string, std::string>> committed_;  // id and text, after each commit
  uint64_t pending_ = 0, changes_ = 0;
  int commits_ = 0;
  bool fail_commit_ = false;
  uint32_t first_ = 0, step_ = 1;  // of numbers
};

class ListSource : public DocumentSource {
 public:
  explicit ListSource(std::vector<Document> documents) : documents_(std::move(documents)) {}
  Result<std::optional<Document>> next() override {
    if (at_next_) at_next_(next_);
    if (next_ == documents_.size()) return std::optional<Document>();
    return std::optional(documents_[next_++]);
  }
  std::function<void(size_t)> at_next_;

 private:
  std::vector<Document> documents_;
  size_t next_ = 0;
};

Document document(std::string id, std::string text, std::string title = "") {
  Document d;
  d.id = std::move(id);
  d.title = std::move(title);
  d.text = std::move(text);
  d.char_end = count_characters(d.text);
  return d;
}

class IngestTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto loaded = Tokenizer::load(MSA_TESTDATA "/qwen3-tokenizer/tokenizer.json");
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    tokenizer_ = *loaded;
  }
  static void TearDownTestSuite() { tokenizer_.reset(); }

  Result<EncodeReport> run(std::vector<Document> documents, const EncodeOptions& options = {},
                           std::stop_token stop = {}) {
    ListSource source(std::move(documents));
    source.at_next_ = at_next_;
    const EncodeBatch encode = [&](auto batch) -> Result<EncodedBatch> {
      EncodedBatch out;
      std::vector<std::string> texts;
      for (const auto tokens : batch) {
        out.chunks.push_back(1);
        texts.push_back(tokenizer_->decode(tokens));
      }
      out.total_chunks = batch.size();
      batches_.push_back(std::move(texts));
      return out;
    };
    return ingest(*tokenizer_, encode, limits_, bank_, source, options, {}, stop);
  }

  static std::shared_ptr<const Tokenizer> tokenizer_;
  FakeBank bank_;
  IngestLimits limits_{200};
  std::vector<std::vector<std::string>> batches_;  // texts as encoded
  std::function<void(size_t)> at_next_;
};
std::shared_ptr<const Tokenizer> IngestTest::tokenizer_;

TEST_F(IngestTest, DocumentsAreWrappedWithTheNumberTheyGet) {
  const auto report = run({document("a", "first", "One"), document("b", "second")});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->documents, 2u);
  EXPECT_EQ(report->passages, 2u);
  ASSERT_EQ(batches_.size(), 1u);
  EXPECT_EQ(batches_[0][0], "<|im_start|>[0]. One\nfirst[0]<|im_end|>");
  EXPECT_EQ(batches_[0][1], "<|im_start|>[1]. second[1]<|im_end|>");
  EXPECT_EQ(bank_.commits_, 1);
}

TEST_F(IngestTest, NumbersStayRightAcrossBatches) {
  EncodeOptions options;
  options.batch_tokens = 20;
  std::vector<Document> documents;
  for (int i = 0; i < 25; ++i)
    documents.push_back(document(fmt::format("d{}", i), fmt::format("some words {}", i)));
  ASSERT_TRUE(run(documents, options).ok());
  EXPECT_GT(batches_.size(), 3u);
  size_t number = 0;
  for (const auto& batch : batches_)
    for (const std::string& text : batch)
      EXPECT_EQ(text.find(fmt::format("<|im_start|>[{}]. ", number++)), 0u) << text;
  EXPECT_EQ(number, 25u);
}

TEST_F(IngestTest, AShardTakesEveryNthDocumentAndNumber) {
  std::vector<Document> documents;
  for (int i = 0; i < 11; ++i)
    documents.push_back(document(fmt::format("d{}", i), fmt::format("some words {}", i)));
  limits_.shard = 1;
  limits_.shards = 3;
  bank_.first_ = 41;
  bank_.step_ = 3;
  EncodeOptions options;
  options.batch_tokens = 30;  // two at a time
  const auto report = run(documents, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->documents, 4u);
  EXPECT_EQ(bank_.order_, (std::vector<std::string>{"d1", "d4", "d7", "d10"}));
  EXPECT_GT(batches_.size(), 1u);
  uint32_t number = 41;
  for (const auto& batch : batches_)
    for (const std::string& text : batch) {
      EXPECT_EQ(text.find(fmt::format("<|im_start|>[{}]. ", number)), 0u) << text;
      number += 3;
    }
  EXPECT_EQ(bank_.numbers_["d10"], 50u);
}

TEST_F(IngestTest, LongTextsBecomeNumberedPassagesWithRanges) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += fmt::format("Sentence number {} is here. ", i);
  EncodeOptions options;
  options.passage_tokens = 50;
  const auto report = run({document("long", text, "Title")}, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->documents, 1u);
  EXPECT_GT(report->passages, 4u);
  EXPECT_EQ(bank_.order_[0], "long#1");
  uint64_t end = 0;
  for (const std::string& id : bank_.order_) {
    const NewDocument& passage = bank_.documents_.at(id);
    EXPECT_EQ(passage.title, "Title");
    EXPECT_GE(passage.char_begin, end);
    EXPECT_EQ(text.substr(passage.char_begin, passage.char_end - passage.char_begin), passage.text);
    EXPECT_LE(tokenizer_->encode(passage.text).size(), 50u);
    end = passage.char_end;
  }
}

TEST_F(IngestTest, RunningAgainEncodesNothing) {
  const std::vector<Document> documents = {document("a", "first"), document("b", "second")};
  ASSERT_TRUE(run(documents).ok());
  batches_.clear();
  const auto again = run(documents);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->already_there, 2u);
  EXPECT_EQ(again->passages, 0u);
  EXPECT_TRUE(batches_.empty());
}

TEST_F(IngestTest, ARepeatedIdInOneRunIsSeenThough) {
  std::vector<DocumentProblem> problems;
  EncodeOptions options;
  options.on_problem = [&](const DocumentProblem& problem) { problems.push_back(problem); };
  const auto report =
      run({document("a", "first"), document("a", "first"), document("a", "other")}, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->passages, 1u);
  EXPECT_EQ(report->already_there, 1u);
  EXPECT_EQ(report->rejected, 1u);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].where, "a");
  EXPECT_NE(problems[0].what.find("another text"), std::string::npos);
}

TEST_F(IngestTest, ATitleThatLeavesNoRoomIsAProblemNotACrash) {
  std::string title;
  for (int i = 0; i < 300; ++i) title += "word ";
  std::vector<DocumentProblem> problems;
  EncodeOptions options;
  options.on_problem = [&](const DocumentProblem& problem) { problems.push_back(problem); };
  const auto report = run({document("big", "text", title), document("small", "text")}, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->passages, 1u);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].what.find("200 positions"), std::string::npos);
}

TEST_F(IngestTest, CommitsWheneverASegmentIsFull) {
  EncodeOptions options;
  options.batch_tokens = 1;
  options.segment_bytes = 3000;
  std::vector<Document> documents;
  for (int i = 0; i < 10; ++i)
    documents.push_back(document(fmt::format("d{}", i), fmt::format("text {}", i)));
  ASSERT_TRUE(run(documents, options).ok());
  EXPECT_EQ(bank_.commits_, 4);  // 3 + 3 + 3 + 1
}

TEST_F(IngestTest, AStopCommitsWhatWasEncoded) {
  std::stop_source stop;
  at_next_ = [&](size_t index) {
    if (index == 5) stop.request_stop();
  };
  EncodeOptions options;
  options.batch_tokens = 1;
  std::vector<Document> documents;
  for (int i = 0; i < 10; ++i)
    documents.push_back(document(fmt::format("d{}", i), fmt::format("text {}", i)));
  const auto report = run(documents, options, stop.get_token());
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->stopped);
  EXPECT_EQ(bank_.order_.size(), 6u);
  EXPECT_EQ(bank_.pending_, 0u);
  at_next_ = {};
  const auto rest = run(documents, options);
  EXPECT_EQ(rest->already_there, 6u);
  EXPECT_EQ(bank_.order_.size(), 10u);
}

TEST_F(IngestTest, AFullDiskIsReported) {
  bank_.fail_commit_ = true;
  const auto report = run({document("a", "first")});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::no_space);
}

TEST_F(IngestTest, EqualTextsAreEncodedOnce) {
  const auto report = run({document("a", "first", "T"), document("b", "first", "T"),
                           document("c", "first"), document("d", "second")});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->passages, 3u);
  EXPECT_EQ(report->duplicates, 1u);
  EXPECT_EQ(report->already_there, 0u);
  EXPECT_EQ(bank_.numbers_.at("b"), bank_.numbers_.at("a"));
  EXPECT_NE(bank_.numbers_.at("c"), bank_.numbers_.at("a"));
  // In a later run, and resumed.
  const auto again = run({document("b", "first", "T"), document("e", "second")});
  EXPECT_EQ(again->already_there, 1u);
  EXPECT_EQ(again->duplicates, 1u);
  EXPECT_EQ(again->passages, 0u);
  EXPECT_EQ(bank_.numbers_.at("e"), bank_.numbers_.at("d"));
}

TEST_F(IngestTest, CommitsWheneverNamesAreAsMuchAsASegment) {
  ASSERT_TRUE(run({document("a", "first")}).ok());
  bank_.commits_ = 0;
  batches_.clear();
  EncodeOptions options;
  options.segment_bytes = 10 * FakeBank::kNameBytes;
  // The first one has a number already, and waits for the last one.
  std::vector<Document> documents = {document("b", "second")};
  for (int i = 0; i < 25; ++i) documents.push_back(document(fmt::format("a{}", i), "first"));
  documents.push_back(document("c", "third"));
  const auto report = run(documents, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->duplicates, 25u);
  EXPECT_EQ(bank_.commits_, 3);  // 10 + 10 names, then the rest
  ASSERT_EQ(batches_.size(), 1u);
  EXPECT_EQ(batches_[0][0], "<|im_start|>[1]. second[1]<|im_end|>");
  EXPECT_EQ(batches_[0][1], "<|im_start|>[2]. third[2]<|im_end|>");
  EXPECT_EQ(bank_.numbers_.at("c"), 2u);
}

std::string long_text(int sentences, int from = 0) {
  std::string text;
  for (int i = 0; i < sentences; ++i) text += fmt::format("Sentence number {} is here. ", from + i);
  return text;
}

TEST_F(IngestTest, ReplacesWhatHasChangedAndNothingElse) {
  EncodeOptions options;
  options.passage_tokens = 50;
  const std::string text = long_text(40);
  ASSERT_TRUE(
      run({document("long", text), document("a", "one"), document("b", "two")}, options).ok());
  size_t passages = 0;
  for (const auto& entry : bank_.documents_) passages += entry.first.starts_with("long#");
  ASSERT_GT(passages, 4u);
  const uint32_t kept = bank_.numbers_.at("long#1");

  options.replace = true;
  auto report = run({document("long", text), document("a", "one"), document("b", "two")}, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->already_there, passages + 2);
  EXPECT_EQ(report->replaced, 0u);
  EXPECT_TRUE(bank_.removed_.empty());

  // The second half is another one, and shorter; "a" is new, "c" was not there before.
  const std::string shorter = long_text(20) + long_text(8, 100);
  report = run({document("long", shorter), document("a", "three"), document("c", "four")}, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(bank_.numbers_.at("long#1"), kept);
  EXPECT_EQ(report->rejected, 0u);
  EXPECT_EQ(report->replaced, bank_.removed_.size());
  EXPECT_GE(bank_.removed_.size(), 3u);
  std::string whole;
  for (size_t i = 1; bank_.documents_.contains(fmt::format("long#{}", i)); ++i)
    whole += bank_.documents_.at(fmt::format("long#{}", i)).text;
  EXPECT_NE(whole.find("number 107 is here"), std::string::npos);
  EXPECT_EQ(whole.find("number 25 is here"), std::string::npos);
  EXPECT_EQ(bank_.documents_.at("a").text, "three");
  EXPECT_EQ(bank_.documents_.at("b").text, "two");
  EXPECT_EQ(bank_.documents_.at("c").text, "four");

  // A long text becomes a short one.
  ASSERT_TRUE(run({document("long", "short now")}, options).ok());
  EXPECT_FALSE(bank_.documents_.contains("long#1"));
  EXPECT_EQ(bank_.documents_.at("long").text, "short now");
}

TEST_F(IngestTest, NoCommitHoldsHalfOfAReplacement) {
  EncodeOptions options;
  options.passage_tokens = 50;
  options.batch_tokens = 80;     // a batch ends in the middle of documents
  options.segment_bytes = 3000;  // and so would segments
  const auto version = [&](int which) {
    std::vector<Document> documents;
    for (int d = 0; d < 4; ++d)
      documents.push_back(document(fmt::format("d{}", d), long_text(30, 1000 * which + 100 * d)));
    return documents;
  };
  options.replace = true;
  ASSERT_TRUE(run(version(0), options).ok());
  std::vector<Document> twice = version(1);
  for (Document& d : version(2)) twice.push_back(std::move(d));  // each once more, in the same run
  bank_.committed_.clear();
  ASSERT_TRUE(run(twice, options).ok());
  EXPECT_GT(bank_.committed_.size(), 4u);
  for (const auto& texts : bank_.committed_)
    for (int d = 0; d < 4; ++d) {
      std::string whole;  // white space between passages belongs to none
      for (size_t i = 1; texts.contains(fmt::format("d{}#{}", d, i)); ++i)
        whole += texts.at(fmt::format("d{}#{}", d, i)) + " ";
      size_t of_one = 0;
      for (int which = 0; which < 3; ++which)
        of_one += whole == long_text(30, 1000 * which + 100 * d);
      EXPECT_EQ(of_one, 1u) << whole;
    }
  EXPECT_NE(bank_.documents_.at("d3#1").text.find("number 2300 is"), std::string::npos);
}

TEST_F(IngestTest, NoCommitHoldsSomeOfTheNamesOfAReplacement) {
  EncodeOptions options;
  options.passage_tokens = 50;
  ASSERT_TRUE(run({document("x", long_text(40))}, options).ok());
  const size_t passages = bank_.documents_.size();
  ASSERT_GT(passages, 4u);
  options.replace = true;
  options.segment_bytes = 1;  // a single name is as much
  bank_.committed_.clear();
  ASSERT_TRUE(run({document("y", long_text(40)), document("z", long_text(40))}, options).ok());
  EXPECT_GE(bank_.committed_.size(), 2u);
  for (const auto& texts : bank_.committed_)
    for (const char* prefix : {"y#", "z#"}) {
      size_t names = 0;
      for (const auto& entry : texts) names += entry.first.starts_with(prefix);
      EXPECT_TRUE(names == 0 || names == passages) << prefix << " " << names;
    }
}

TEST_F(IngestTest, AStopWithinReplacementsLosesNothing) {
  EncodeOptions options;
  options.replace = true;
  ASSERT_TRUE(
      run({document("a", "one"), document("b", "two"), document("c", "three")}, options).ok());
  std::stop_source stop;
  at_next_ = [&](size_t index) {
    if (index == 1) stop.request_stop();
  };
  const auto report =
      run({document("a", "new one"), document("b", "new two"), document("c", "new three")}, options,
          stop.get_token());
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->stopped);
  EXPECT_EQ(bank_.committed_.back().at("a"), "new one");
  EXPECT_EQ(bank_.committed_.back().size(), 3u);
}

TEST_F(IngestTest, WhatCannotBeEncodedReplacesNothing) {
  EncodeOptions options;
  options.replace = true;
  ASSERT_TRUE(run({document("a", "one")}, options).ok());
  std::string title;
  for (int i = 0; i < 300; ++i) title += "word ";
  const auto report = run({document("a", "two", title)}, options);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->rejected, 1u);
  EXPECT_EQ(report->replaced, 0u);
  EXPECT_EQ(bank_.documents_.at("a").text, "one");
}

TEST_F(IngestTest, LimitsOfZeroAreRefused) {
  EncodeOptions options;
  options.passage_tokens = 0;
  EXPECT_EQ(run({}, options).error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace msa
