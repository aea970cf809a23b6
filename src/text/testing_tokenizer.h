// For tests only: texts to tokenize, tokenizer.json files made to order, and the slow obvious way
// to merge.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace msa::testing {

inline constexpr std::string_view kQwenFile = MSA_TESTDATA "/qwen3-tokenizer/tokenizer.json";

// The Qwen tokenizer, read once.
inline const Tokenizer& qwen() {
  static const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::load(kQwenFile).value();
  return *tokenizer;
}

// A byte-level tokenizer.json: ids 0 to 255 are the bytes, then one token per merge. `merges` are
// in the byte alphabet ("Ġ t").
inline nlohmann::json byte_level_json(
    const std::vector<std::pair<std::string, std::string>>& merges) {
  nlohmann::json vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    vocab[alphabet_of_bytes({&c, 1})] = byte;
  }
  nlohmann::json list = nlohmann::json::array();
  int next = 256;
  for (const auto& [left, right] : merges) {
    list.push_back(left + " " + right);
    if (!vocab.contains(left + right)) vocab[left + right] = next++;
  }
  return {
      {"version", "1.0"},
      {"added_tokens", nlohmann::json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

inline nlohmann::json added_token(int id, std::string_view content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

// Merges by looking through the whole piece for the best pair, again and again.
class SlowMerger {
 public:
  explicit SlowMerger(const nlohmann::json& tokenizer)
      : vocab_(tokenizer["model"]["vocab"].get<std::map<std::string, TokenId>>()) {
    int rank = 0;
    for (const auto& merge : tokenizer["model"]["merges"]) {
      const auto both = merge.get<std::string>();
      const size_t space = both.find(' ');
      ranks_[{both.substr(0, space), both.substr(space + 1)}] = rank++;
    }
  }

  std::vector<TokenId> merge(std::string_view piece) const {
    std::vector<std::string> parts;
    for (const char& byte : piece) parts.push_back(alphabet_of_bytes({&byte, 1}));
    while (true) {
      int best = -1;
      size_t where = 0;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto found = ranks_.find({parts[i], parts[i + 1]});
        if (found != ranks_.end() && (best < 0 || found->second < best)) {
          best = found->second;
          where = i;
        }
      }
      if (best < 0) break;
      parts[where] += parts[where + 1];
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
    }
    std::vector<TokenId> ids;
    for (const std::string& part : parts) ids.push_back(vocab_.at(part));
    return ids;
  }

 private:
  std::map<std::string, TokenId> vocab_;
  std::map<std::pair<std::string, std::string>, int> ranks_;
};

// Text of `characters` characters, drawn from those that pre-tokenizers and normalization treat
// differently, with runs and words in between.
inline std::string random_text(std::mt19937& random, size_t characters) {
  static const std::vector<std::string> kPieces = {" ",
                                                   "  ",
                                                   "\n",
                                                   "\r\n",
                                                   "\t",
                                                   "a",
                                                   "e",
                                                   "t",
                                                   "s",
                                                   "S",
                                                   "the",
                                                   " and",
                                                   "'s",
                                                   "'LL",
                                                   "'",
                                                   ".",
                                                   "?!",
                                                   "1",
                                                   "23",
                                                   "\u00e9",
                                                   "e\u0301",
                                                   "\u00df",
                                                   "\u0436",
                                                   "\u4f60",
                                                   "\u597d",
                                                   "\uac00",
                                                   "\u1100\u1161",
                                                   "\u0928\u093c",
                                                   "\u00a0",
                                                   "\u3000",
                                                   "\u2028",
                                                   "\u180e",
                                                   "\u0085",
                                                   "\U0001f600",
                                                   "\u017f",
                                                   "\u212b",
                                                   "\u0301",
                                                   "\u0323",
                                                   "<",
                                                   "<|",
                                                   "|>",
                                                   "\u0e01\u0e33",
                                                   "\u00bd",
                                                   "\u2167",
                                                   "_",
                                                   "\u200d"};
  std::string text;
  for (size_t i = 0; i < characters; ++i) {
    const std::string& piece = kPieces[random() % kPieces.size()];
    const size_t repeats = random() % 16 == 0 ? random() % 9 : 1;
    for (size_t r = 0; r < repeats; ++r) text += piece;
  }
  return text;
}

}  // namespace msa::testing
