#include "text/bpe_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "base/files.h"
#include "base/test_folder.h"
#include "text/byte_alphabet.h"
#include "text/pretokenize.h"
#include "text/prompt.h"
#include "text/testing_tokenizer.h"

namespace msa {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::random_text;
using Strings = std::vector<std::string>;

struct Trained {
  BpeSummary summary;
  std::string text;  // of the file
  std::shared_ptr<const Tokenizer> tokenizer;
  json description() const { return json::parse(text); }
};

Trained trained(const Strings& texts, const BpeOptions& options) {
  const TestFolder folder;
  const auto file = folder.path() / "tokenizer.json";
  BpeTrainer trainer = BpeTrainer::create(options).value();
  for (const std::string& text : texts) trainer.add(text);
  Trained made;
  made.summary = trainer.write(file).value();
  made.text = read_file(file, size_t{1} << 24).value();
  made.tokenizer = Tokenizer::load(file).value();
  return made;
}

// ---------------------------------------------------------------------------------------------
// Against the obvious way: count every pair again for every merge.

struct Piecewise : PieceSink {
  void piece(std::string_view text) override { ++counts[std::string(text)]; }
  std::map<std::string, uint64_t> counts;
};

// Merges in the byte alphabet, as the file has them.
Strings slow_merges(const Strings& texts, const BpeOptions& options) {
  const auto splitter = PreTokenizer::create({SplitStep{.pattern = options.split_pattern}}).value();
  PreTokenizer::Scratch scratch;
  Piecewise pieces;
  for (const std::string& text : texts) splitter.split(text, scratch, pieces);

  // Ids order equally frequent pairs: bytes in the order of their characters, then merges.
  std::map<std::string, int> ids;
  std::set<std::string> characters;
  for (int byte = 0; byte < 256; ++byte)
    characters.insert(alphabet_of_bytes(std::string(1, static_cast<char>(byte))));
  for (const std::string& character : characters) ids.emplace(character, ids.size());
  std::vector<std::pair<Strings, uint64_t>> words;
  for (const auto& [piece, count] : pieces.counts) {
    Strings parts;
    for (const char byte : piece) parts.push_back(alphabet_of_bytes({&byte, 1}));
    words.emplace_back(parts, count);
  }
  Strings merges;
  while (ids.size() + options.special_tokens.size() < options.vocabulary) {
    std::map<std::pair<int, int>, uint64_t> counts;
    std::map<std::pair<int, int>, std::pair<std::string, std::string>> names;
    for (const auto& [parts, count] : words)
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        if (options.alone.find(parts[i]) != std::string::npos ||
            options.alone.find(parts[i + 1]) != std::string::npos)
          continue;
        const std::pair<int, int> key{ids.at(parts[i]), ids.at(parts[i + 1])};
        counts[key] += count;
        names[key] = {parts[i], parts[i + 1]};
      }
    const auto best = std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) {
      return a.second < b.second;  // of equals the first
    });
    if (best == counts.end() || best->second < options.min_count) break;
    const auto [left, right] = names.at(best->first);
    merges.push_back(left + " " + right);
    ids.emplace(left + right, ids.size());
    for (auto& [parts, count] : words) {
      Strings merged;
      for (size_t i = 0; i < parts.size(); ++i) {
        const bool here = i + 1 < parts.size() && parts[i] == left && parts[i + 1] == right;
        merged.push_back(here ? left + right : parts[i]);
        i += here;
      }
      parts = merged;
    }
  }
  return merges;
}

TEST(BpeTrainer, FindsTheMergesOfTheObviousWay) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    // Few letters make many ties, repeats ("aaaa") and several ways to the same token.
    const std::string letters = round % 3 == 0 ? "ab" : round % 3 == 1 ? "abc -[" : "aé日.\n]1 ";
    Strings characters;
    for (size_t at = 0; at < letters.size();) {
      const size_t length = static_cast<uint8_t>(letters[at]) < 0x80   ? 1
                            : static_cast<uint8_t>(letters[at]) < 0xe0 ? 2
                                                                       : 3;
      characters.push_back(letters.substr(at, length));
      at += length;
    }
    Strings texts;
    for (int i = 0; i < 20; ++i) {
      std::string text;
      for (size_t n = random() % 60; n > 0; --n) text += characters[random() % characters.size()];
      texts.push_back(text);
    }
    BpeOptions options;
    options.vocabulary = 256 + options.special_tokens.size() + 40;
    options.min_count = 1 + random() % 3;
    const Trained made = trained(texts, options);
    EXPECT_EQ(made.description()["model"]["merges"].get<Strings>(), slow_merges(texts, options))
        << "round " << round;
  }
}

TEST(BpeTrainer, SummaryCountsWhatTheTokenizerMakesOfTheTexts) {
  std::mt19937 random(11);
  Strings texts;
  for (int i = 0; i < 50; ++i) texts.push_back(random_text(random, 200));
  for (const char* text : {"The rivers of the river basin.", "Rivers, rivers, rivers [12][3]."})
    texts.emplace_back(text);
  BpeOptions options;
  options.vocabulary = 400;
  const Trained made = trained(texts, options);
  uint64_t tokens = 0;
  for (const std::string& text : texts) {
    const auto ids = made.tokenizer->encode(text);
    tokens += ids.size();
  }
  EXPECT_EQ(made.summary.tokens, tokens);
  EXPECT_EQ(made.summary.texts, texts.size());
  EXPECT_EQ(made.summary.vocabulary, made.tokenizer->vocabulary_size());
  EXPECT_EQ(made.tokenizer->decode(made.tokenizer->encode(texts.back())), texts.back());
}

// ---------------------------------------------------------------------------------------------

TEST(BpeTrainer, BracketsAndDigitsStayAlone) {
  Strings texts;
  for (int i = 0; i < 50; ++i) texts.push_back("[12]. See [12][13], ([14]) 1212 [[x]]. ]]] [[[");
  BpeOptions options;
  options.vocabulary = 600;
  options.min_count = 1;
  const Trained made = trained(texts, options);
  const json description = made.description();
  EXPECT_GT(made.summary.merges, 3u);
  for (const auto& [token, id] : description["model"]["vocab"].items()) {
    if (token.size() < 2) continue;
    EXPECT_EQ(token.find_first_of("[]0123456789"), std::string::npos) << token;
  }
  const auto ids = made.tokenizer->encode("<|im_start|>[12]. See[12]<|im_end|>");
  Strings pieces;
  for (const TokenId id : ids) pieces.emplace_back(made.tokenizer->token_bytes(id));
  EXPECT_THAT(pieces, ElementsAre("<|im_start|>", "[", "1", "2", "]", ".", " See", "[", "1", "2",
                                  "]", "<|im_end|>"));
}

TEST(BpeTrainer, OtherBytesCanBeKeptAloneOrNone) {
  BpeOptions options;
  options.vocabulary = 300;
  options.alone = "";
  EXPECT_TRUE(trained({"[[ [[ [["}, options).tokenizer->find("[["));
  options.alone = "e";
  const auto tokenizer = trained({"seen seen been been ten"}, options).tokenizer;
  EXPECT_FALSE(tokenizer->find("ee"));
  EXPECT_FALSE(tokenizer->find("en"));
  EXPECT_TRUE(tokenizer->find(" b"));
}

TEST(BpeTrainer, SpecialTokensComeLastAndAreCutOutOfTexts) {
  const Trained made = trained({"<|im_end|><|im_end|><|im_end|>ab<|im_end|>ab"}, {});
  const size_t first = made.summary.vocabulary - 5;
  const Strings names = BpeOptions{}.special_tokens;
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(made.tokenizer->find(names[i]), static_cast<TokenId>(first + i));
    EXPECT_TRUE(made.tokenizer->is_special(static_cast<TokenId>(first + i)));
  }
  EXPECT_TRUE(check_prompt_tokens(*made.tokenizer).ok());
  EXPECT_EQ(made.description()["model"]["merges"], json::array({"a b"}));
  EXPECT_EQ(made.summary.characters, 4u);
}

TEST(BpeTrainer, TextsInAnyOrderGiveTheSameFile) {
  std::mt19937 random(3);
  Strings texts;
  for (int i = 0; i < 40; ++i) texts.push_back(random_text(random, 300));
  BpeOptions options;
  options.vocabulary = 500;
  const std::string once = trained(texts, options).text;
  std::shuffle(texts.begin(), texts.end(), random);
  EXPECT_EQ(trained(texts, options).text, once);
}

TEST(BpeTrainer, WeightCountsAsRepeats) {
  const TestFolder folder;
  const auto file = folder.path() / "t.json";
  BpeTrainer trainer = BpeTrainer::create({}).value();
  trainer.add("seldom words");
  trainer.add("often", 3);
  const BpeSummary summary = trainer.write(file).value();
  EXPECT_EQ(summary.texts, 4u);
  EXPECT_EQ(summary.characters, 12u + 15u);
  const auto tokenizer = Tokenizer::load(file).value();
  EXPECT_TRUE(tokenizer->find("often"));
  EXPECT_FALSE(tokenizer->find("seldom"));  // no pair of it occurs twice
}

TEST(BpeTrainer, NormalizesAndRepairsTexts) {
  // The two spellings of é are one, and what is not UTF-8 is U+FFFD.
  const auto tokenizer = trained({"\u00e9", "e\u0301", "\xff", "\xfe"}, {}).tokenizer;
  EXPECT_TRUE(tokenizer->find("\u00e9"));
  EXPECT_TRUE(tokenizer->find("\ufffd"));
}

TEST(BpeTrainer, WritesWhatItsModelFileHas) {
  const json made = trained({"some text, some more text"}, {}).description();
  const json qwen = json::parse(read_file(testing::kQwenFile, size_t{1} << 30).value());
  for (const char* key : {"normalizer", "pre_tokenizer", "decoder", "post_processor", "version"})
    EXPECT_EQ(made.at(key), qwen.at(key)) << key;
  for (const auto& [key, value] : qwen["model"].items())
    if (key != "vocab" && key != "merges") {
      EXPECT_EQ(made["model"][key], value) << key;
    }
  // Bytes have the same ids.
  for (int byte = 0; byte < 256; ++byte) {
    const std::string character = alphabet_of_bytes(std::string(1, static_cast<char>(byte)));
    EXPECT_EQ(made["model"]["vocab"][character], qwen["model"]["vocab"][character]) << character;
  }
}

TEST(BpeTrainer, FewTextsGiveASmallerVocabulary) {
  const Trained made = trained({"ab ab"}, {});
  EXPECT_EQ(made.summary.vocabulary, 256u + 1u + 5u);
  EXPECT_EQ(made.summary.merges, 1u);
}

// Quadratic work would take minutes.
TEST(BpeTrainer, LongPiecesAreCountedInParts) {
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += i % 7 ? "日" : "本";
  BpeOptions options;
  options.vocabulary = 600;
  const Trained made = trained({text, std::string(300'000, '=')}, options);
  EXPECT_TRUE(made.tokenizer->find("日日"));
  EXPECT_TRUE(made.tokenizer->find("===="));
}

TEST(BpeTrainer, RefusesNonsense) {
  const auto message = [](const BpeOptions& options) {
    const auto made = BpeTrainer::create(options);
    EXPECT_FALSE(made.ok());
    if (made.ok()) return std::string();
    EXPECT_EQ(made.error().code, Code::invalid_argument);
    return made.error().message;
  };
  BpeOptions options;
  options.vocabulary = 260;
  EXPECT_THAT(message(options), HasSubstr("a vocabulary of 260 is not possible; ask for 261 to"));
  options.vocabulary = size_t{1} << 30;
  EXPECT_THAT(message(options), HasSubstr("16777216"));
  options = {};
  options.special_tokens = {"<a>", "<b>", "<a>"};
  EXPECT_THAT(message(options), HasSubstr("\"<a>\""));
  options.special_tokens = {""};
  EXPECT_THAT(message(options), HasSubstr("empty"));
  options.special_tokens = {"x"};
  EXPECT_THAT(message(options), HasSubstr("\"x\" is also the token of a byte"));
  options = {};
  options.split_pattern = "(";
  EXPECT_THAT(message(options), HasSubstr("\"(\""));
  options.split_pattern = "";
  EXPECT_THAT(message(options), HasSubstr("pattern is empty"));
  options = {};
  options.min_count = 0;
  EXPECT_THAT(message(options), HasSubstr("at least 1"));

  const TestFolder folder;
  BpeTrainer trainer = BpeTrainer::create({}).value();
  trainer.add("");
  const auto nothing = trainer.write(folder.path() / "t.json");
  ASSERT_FALSE(nothing.ok());
  EXPECT_THAT(nothing.error().message, HasSubstr("no characters"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "t.json"));
  trainer.add("text");
  EXPECT_FALSE(trainer.write(folder.path() / "none" / "t.json").ok());

  options = {};
  options.special_tokens = {"\u1ef9"};
  BpeTrainer decomposed = BpeTrainer::create(options).value();
  decomposed.add("y\u0303 y\u0303");
  const auto twice = decomposed.write(folder.path() / "t.json");
  ASSERT_FALSE(twice.ok());
  EXPECT_THAT(twice.error().message, HasSubstr("came out of the texts as well"));
}

}  // namespace
}  // namespace msa
