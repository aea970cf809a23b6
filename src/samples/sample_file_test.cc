#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "samples/sample_lines.h"
#include "samples/sample_source.h"
#include "samples/testing_samples.h"

namespace msa {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string line_of(const std::string& answer) {
  return R"({"documents": ["text"], "question": "Q?", "relevant": [0], "answer": ")" + answer +
         "\"}";
}

std::string lines(size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += line_of(std::to_string(i)) + "\n";
  return out;
}

std::unique_ptr<SampleSource> open(const std::filesystem::path& file, uint64_t seed = 1) {
  auto opened = open_sample_file(file, seed);
  if (!opened) throw std::runtime_error(opened.error().message);
  return std::move(opened).value();
}

std::vector<std::string> answers(SampleSource& source, size_t count) {
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) {
    auto sample = source.next();
    if (!sample) throw std::runtime_error(sample.error().message);
    out.push_back(sample->questions[0].answer);
  }
  return out;
}

TEST(SampleFile, EveryPassHasEveryLineInAnOrderOfItsOwn) {
  const TestFolder folder;
  const auto source = open(folder.put("a.jsonl", lines(50)));
  std::set<std::vector<std::string>> orders;
  for (int pass = 0; pass < 4; ++pass) {
    const auto order = answers(*source, 50);
    EXPECT_EQ(std::set<std::string>(order.begin(), order.end()).size(), 50u);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 4u);
  EXPECT_EQ(source->position(), 200u);
}

TEST(SampleFile, SeedsGiveOtherOrdersAndTheSameOneAgain) {
  const TestFolder folder;
  const auto file = folder.put("a.jsonl", lines(50));
  EXPECT_EQ(answers(*open(file, 3), 120), answers(*open(file, 3), 120));
  EXPECT_NE(answers(*open(file, 3), 50), answers(*open(file, 4), 50));
}

// The order is part of what a seed means: other machines and later versions must agree.
TEST(SampleFile, OrderIsFixed) {
  const TestFolder folder;
  EXPECT_THAT(answers(*open(folder.put("a.jsonl", lines(8)), 1), 16),
              ::testing::ElementsAre("2", "4", "5", "3", "6", "0", "7", "1", "6", "0", "7", "2",
                                     "4", "1", "3", "5"));
}

TEST(SampleFile, ContinuesAnywhere) {
  const TestFolder folder;
  const auto file = folder.put("a.jsonl", lines(20));
  const auto all = answers(*open(file), 100);
  for (const size_t at : {0u, 1u, 19u, 20u, 21u, 55u, 99u}) {
    const auto source = open(file);
    answers(*source, 33);
    ASSERT_TRUE(source->skip_to(at));
    EXPECT_EQ(source->position(), at);
    EXPECT_EQ(answers(*source, 100 - at), std::vector<std::string>(all.begin() + at, all.end()));
  }
}

TEST(SampleFile, TellsWhereASampleIs) {
  const TestFolder folder;
  const auto file =
      folder.put("a.jsonl", fmt::format("\n{}\r\n \t\n{}", line_of("two"), line_of("four")));
  const auto source = open(file);
  std::map<std::string, std::string> where;
  for (int i = 0; i < 2; ++i) {
    const auto sample = source->next();
    ASSERT_TRUE(sample) << sample.error().message;
    where[sample->questions[0].answer] = sample->where;
  }
  EXPECT_EQ(where["two"], file.string() + ":2");
  EXPECT_EQ(where["four"], file.string() + ":4");
}

TEST(SampleFile, ByteOrderMarkAndOneLine) {
  const TestFolder folder;
  const auto source = open(folder.put("a.jsonl", "\xef\xbb\xbf" + line_of("x")));
  EXPECT_THAT(answers(*source, 3), ::testing::ElementsAre("x", "x", "x"));
}

TEST(SampleLines, AreThoseOfTheFileWithoutBlankOnesAndByteOrderMark) {
  const TestFolder folder;
  const auto file = folder.put("a.jsonl", "\xef\xbb\xbfone\r\n \t\n\nfour\nnonsense");
  std::map<uint32_t, std::string> seen;
  const auto visit = [&](std::string_view text, uint32_t number) -> Result<void> {
    seen.emplace(number, text);
    if (number == 5) return Error{Code::busy, "stop"};
    return {};
  };
  const Result<void> stopped = for_each_sample_line(file, visit);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::busy);
  EXPECT_THAT(seen,
              ::testing::ElementsAre(::testing::Pair(1u, "one\r"), ::testing::Pair(4u, "four"),
                                     ::testing::Pair(5u, "nonsense")));
  seen.clear();
  EXPECT_TRUE(for_each_sample_line(folder.put("blank.jsonl", "\n \n"), visit));
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(for_each_sample_line(folder / "none.jsonl", visit).error().code, Code::not_found);
}

// Lines that are longer than the blocks the file is read in.
TEST(SampleFile, LongLines) {
  const TestFolder folder;
  std::string text;
  for (size_t i = 0; i < 5; ++i)
    text += line_of(std::to_string(i) + std::string((size_t{256} << 10) * i / 2 - i, 'x')) + "\n";
  const auto got = answers(*open(folder.put("a.jsonl", text)), 5);
  std::map<char, size_t> sizes;
  for (const std::string& answer : got) sizes[answer[0]] = answer.size();
  for (size_t i = 1; i < 5; ++i)
    EXPECT_EQ(sizes[static_cast<char>('0' + i)], (size_t{256} << 10) * i / 2 - i + 1);
}

TEST(SampleFile, FirstBadLineIsNamedAtOpening) {
  const TestFolder folder;
  const auto file = folder.put("train.jsonl", lines(16) + "{\"documents\": 3}\n" + "nonsense");
  const auto opened = open_sample_file(file, 1);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::corrupt);
  EXPECT_THAT(opened.error().message,
              StartsWith(file.string() + ":17: \"documents\" is number, not a list; "));
}

TEST(SampleFile, NotAFileOfSamples) {
  const TestFolder folder;
  const auto error_of = [](const std::filesystem::path& file) {
    const auto opened = open_sample_file(file, 1);
    return opened ? Error{} : opened.error();
  };
  const auto none = folder / "none.jsonl";
  EXPECT_EQ(error_of(none).code, Code::not_found);
  EXPECT_THAT(error_of(none).message, StartsWith(none.string() + ": "));
  EXPECT_EQ(error_of(folder.path()).code, Code::invalid_argument);
  EXPECT_EQ(error_of("/dev/null").code, Code::invalid_argument);
  const auto pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(error_of(pipe).code, Code::invalid_argument);  // and does not wait for a writer
  for (const char* text : {"", "\n\n  \n", "\xef\xbb\xbf"}) {
    const auto file = folder.put("empty.jsonl", text);
    EXPECT_EQ(error_of(file).code, Code::corrupt);
    EXPECT_THAT(error_of(file).message, HasSubstr("has no samples; "));
  }
  const auto packed = folder.put("a.jsonl.zst", "\x28\xb5\x2f\xfd and more");
  EXPECT_EQ(error_of(packed).code, Code::unsupported);
  EXPECT_THAT(error_of(packed).message, HasSubstr("is compressed"));
}

TEST(SampleFile, ChangedBehindItsBack) {
  const TestFolder folder;
  const auto file = folder.put("a.jsonl", lines(4));
  const auto source = open(file);
  std::filesystem::resize_file(file, 3);
  size_t failed = 0;
  for (int i = 0; i < 4; ++i) {
    const auto sample = source->next();
    if (sample) continue;  // may have been read ahead
    ++failed;
    EXPECT_EQ(sample.error().code, Code::corrupt);
    EXPECT_THAT(sample.error().message, HasSubstr("a.jsonl:"));
  }
  EXPECT_GT(failed, 0u);
}

}  // namespace
}  // namespace msa
