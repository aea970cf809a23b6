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
  Result<Presence> presence(std::string_view id, std::string_view title,
                            std::string_view text) override {
    const auto found = documents_.find(std::string(id));
    if (found == documents_.end()) return Presence::absent;
    const bool same = found->second.title == title && found->second.text == text;
    return same ? Presence::same : Presence::different;
  }
  uint32_t next_number() const override { return static_cast<uint32_t>(order_.size()); }
  Result<void> add(std::vector<NewDocument> documents, EncodedBatch batch) override {
    EXPECT_EQ(documents.size(), batch.chunks.size());
    for (NewDocument& document : documents) {
      order_.push_back(document.id);
      pending_ += 1000;
      EXPECT_TRUE(documents_.emplace(document.id, document).second) << document.id;
    }
    return {};
  }
  uint64_t pending_bytes() const override { return pending_; }
  Result<void> commit() override {
    if (fail_commit_) return Error{Code::no_space, "bank: the disk is full"};
    commits_ += pending_ > 0;
    pending_ = 0;
    return {};
  }

  std::map<std::string, NewDocument> documents_;
  std::vector<std::string> order_;
  uint64_t pending_ = 0;
  int commits_ = 0;
  bool fail_commit_ = false;
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
    return ingest(*tokenizer_, encode, {200}, bank_, source, options, {}, stop);
  }

  static std::shared_ptr<const Tokenizer> tokenizer_;
  FakeBank bank_;
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
  for (int i = 0; i < 25; ++i) documents.push_back(document(fmt::format("d{}", i), "some words"));
  ASSERT_TRUE(run(documents, options).ok());
  EXPECT_GT(batches_.size(), 3u);
  size_t number = 0;
  for (const auto& batch : batches_)
    for (const std::string& text : batch)
      EXPECT_EQ(text.find(fmt::format("<|im_start|>[{}]. ", number++)), 0u) << text;
  EXPECT_EQ(number, 25u);
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
  for (int i = 0; i < 10; ++i) documents.push_back(document(fmt::format("d{}", i), "text"));
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
  for (int i = 0; i < 10; ++i) documents.push_back(document(fmt::format("d{}", i), "text"));
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

TEST_F(IngestTest, LimitsOfZeroAreRefused) {
  EncodeOptions options;
  options.passage_tokens = 0;
  EXPECT_EQ(run({}, options).error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace msa
