#include "text/bpe_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "text/byte_alphabet.h"
#include "text/nfc.h"
#include "text/one_line.h"
#include "text/pretokenize.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace msa {
namespace {

constexpr size_t kBytes = 256;
// A longer piece (a line of a language without spaces, a rule of dashes) is counted in parts: every
// merge in a piece costs its length.
constexpr size_t kLongestPiece = 1024;

// Ids of pieces' bytes. As in other files of this kind they follow the characters that stand for
// the bytes: first printable ones, then the rest.
std::vector<std::string> byte_tokens() {
  std::vector<std::pair<std::string, std::string>> ordered;  // character, byte
  for (size_t byte = 0; byte < kBytes; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    ordered.emplace_back(alphabet_of_bytes(bytes), bytes);
  }
  // UTF-8 sorts as its code points do.
  std::ranges::sort(ordered);
  std::vector<std::string> tokens;
  for (auto& [character, byte] : ordered) tokens.push_back(std::move(byte));
  return tokens;
}

using Pair = std::pair<TokenId, TokenId>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    const uint64_t both = static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32 |
                          static_cast<uint32_t>(pair.second);
    return static_cast<size_t>((both ^ both >> 29) * 0x9e3779b97f4a7c15u >> 7);
  }
};

struct Word {
  std::vector<TokenId> tokens;
  uint64_t count = 0;
};

// One round after the other: merges, and the words as they are written with them.
class Learner {
 public:
  Learner(std::vector<Word> words, std::string_view alone, uint64_t min_count)
      : tokens_(byte_tokens()), words_(std::move(words)), min_count_(min_count) {
    for (size_t id = 0; id < kBytes; ++id) {
      alone_.push_back(alone.find(tokens_[id][0]) != std::string_view::npos);
      ids_.emplace(tokens_[id], static_cast<TokenId>(id));
    }
    for (uint32_t word = 0; word < words_.size(); ++word) {
      const std::vector<TokenId>& tokens = words_[word].tokens;
      for (size_t i = 0; i + 1 < tokens.size(); ++i) add(tokens[i], tokens[i + 1], word, true);
    }
    for (const auto& [pair, uses] : pairs_) heap_.push({uses.count, pair});
  }

  // Merges until there are `entries` tokens or no pair is left that is frequent enough.
  void run(size_t entries) {
    while (tokens_.size() < entries) {
      const std::optional<Pair> best = most_frequent();
      if (!best) break;
      merge(*best);
    }
  }

  const std::vector<std::string>& tokens() const { return tokens_; }  // bytes of each id
  bool has(const std::string& bytes) const { return ids_.contains(bytes); }
  const std::vector<Pair>& merges() const { return merges_; }
  uint64_t tokens_in_texts() const {
    uint64_t sum = 0;
    for (const Word& word : words_) sum += word.tokens.size() * word.count;
    return sum;
  }

 private:
  struct Uses {
    uint64_t count = 0;           // in all texts
    std::vector<uint32_t> words;  // that hold the pair, or held it; neighbours differ
  };
  struct Candidate {
    uint64_t count;
    Pair pair;
    // The heap's top is its greatest.
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  // The pair's entry, unless it may not be merged.
  Uses* uses_of(TokenId left, TokenId right) {
    const auto is_alone = [&](TokenId id) {
      return static_cast<size_t>(id) < kBytes && alone_[static_cast<size_t>(id)];
    };
    return is_alone(left) || is_alone(right) ? nullptr : &pairs_[{left, right}];
  }

  void add(TokenId left, TokenId right, uint32_t word, bool remember_word) {
    Uses* uses = uses_of(left, right);
    if (!uses) return;
    uses->count += words_[word].count;
    if (remember_word && (uses->words.empty() || uses->words.back() != word))
      uses->words.push_back(word);
  }

  void remove(TokenId left, TokenId right, uint32_t word) {
    if (Uses* uses = uses_of(left, right)) uses->count -= words_[word].count;
  }

  // Every pair's greatest count since it was last looked at is in the heap, so that a candidate
  // whose count is still right is the best.
  std::optional<Pair> most_frequent() {
    while (!heap_.empty()) {
      const Candidate top = heap_.top();
      heap_.pop();
      const uint64_t now = pairs_.at(top.pair).count;
      if (now == top.count && now >= min_count_) return top.pair;
      if (now < top.count && now >= min_count_) heap_.push({now, top.pair});
    }
    return std::nullopt;
  }

  void merge(const Pair& pair) {
    const auto left = static_cast<size_t>(pair.first), right = static_cast<size_t>(pair.second);
    std::string bytes = tokens_[left] + tokens_[right];
    // Two ways to the same bytes lead to the same token.
    const auto [found, is_new] = ids_.emplace(bytes, static_cast<TokenId>(tokens_.size()));
    const TokenId merged = found->second;
    if (is_new) tokens_.push_back(std::move(bytes));
    merges_.push_back(pair);

    std::vector<uint32_t> affected = std::move(pairs_.at(pair).words);
    std::ranges::sort(affected);
    affected.erase(std::unique(affected.begin(), affected.end()), affected.end());
    std::vector<Pair> grown;
    for (const uint32_t word : affected) rewrite(word, pair, merged, grown);
    std::ranges::sort(grown);
    grown.erase(std::unique(grown.begin(), grown.end()), grown.end());
    for (const Pair& changed : grown)
      if (const auto at = pairs_.find(changed); at != pairs_.end())
        heap_.push({at->second.count, changed});
    pairs_.at(pair).words = {};
  }

  void rewrite(uint32_t word, const Pair& pair, TokenId merged, std::vector<Pair>& grown) {
    std::vector<TokenId>& tokens = words_[word].tokens;
    scratch_.clear();
    for (size_t i = 0; i < tokens.size();) {
      const bool here =
          i + 1 < tokens.size() && tokens[i] == pair.first && tokens[i + 1] == pair.second;
      scratch_.push_back(here ? merged : tokens[i]);
      i += here ? 2 : 1;
    }
    if (scratch_.size() == tokens.size()) return;  // the pair went with an earlier merge
    for (size_t i = 0; i + 1 < tokens.size(); ++i) remove(tokens[i], tokens[i + 1], word);
    tokens.assign(scratch_.begin(), scratch_.end());
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      // Pairs without the new token were in the word before.
      const bool is_new = tokens[i] == merged || tokens[i + 1] == merged;
      add(tokens[i], tokens[i + 1], word, is_new);
      if (is_new) grown.emplace_back(tokens[i], tokens[i + 1]);
    }
  }

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, TokenId> ids_;
  std::vector<bool> alone_;  // by id of a byte
  std::vector<Word> words_;
  uint64_t min_count_;
  std::vector<Pair> merges_;
  std::unordered_map<Pair, Uses, PairHash> pairs_;
  std::priority_queue<Candidate> heap_;
  std::vector<TokenId> scratch_;
};

using Json = nlohmann::ordered_json;

Json describe(const BpeOptions& options, const Learner& learned) {
  const auto text = [&](TokenId id) {
    return alphabet_of_bytes(learned.tokens()[static_cast<size_t>(id)]);
  };
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", false},
                           {"use_regex", false}};
  Json added = Json::array();
  for (size_t i = 0; i < options.special_tokens.size(); ++i)
    added.push_back({{"id", learned.tokens().size() + i},
                     {"content", options.special_tokens[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  Json vocabulary = Json::object();
  for (size_t id = 0; id < learned.tokens().size(); ++id)
    vocabulary[text(static_cast<TokenId>(id))] = id;
  Json merges = Json::array();
  for (const auto& [left, right] : learned.merges())
    merges.push_back(fmt::format("{} {}", text(left), text(right)));
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added)},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers", Json::array({Json{{"type", "Split"},
                                                {"pattern", {{"Regex", options.split_pattern}}},
                                                {"behavior", "Isolated"},
                                                {"invert", false}},
                                           byte_level})}}},
          {"post_processor", byte_level},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", std::move(vocabulary)},
            {"merges", std::move(merges)}}}};
}

Error bad_option(std::string what) {
  return {Code::invalid_argument, "tokenizer training: " + std::move(what)};
}

}  // namespace

struct BpeTrainer::State : PieceSink {
  BpeOptions options;
  PreTokenizer splitter;
  PreTokenizer::Scratch scratch;
  std::unordered_map<std::string, uint64_t> pieces;  // and how often each was found
  uint64_t texts = 0, characters = 0;
  uint64_t weight = 1;  // of the text being added
  std::string nfc_storage;

  void piece(std::string_view text) override {
    while (!text.empty()) {
      const size_t most = std::min(text.size(), kLongestPiece);
      const size_t part = most == text.size()
                              ? most
                              : std::max<size_t>(complete_utf8_prefix(text.substr(0, most)), 1);
      pieces[std::string(text.substr(0, part))] += weight;
      text.remove_prefix(part);
    }
  }

  // What stands between special tokens; the tokenizer looks for them before it normalizes.
  void add_between(std::string_view text) {
    characters += weight * count_characters(text);
    splitter.split(to_nfc(text, nfc_storage), scratch, *this);
  }
};

BpeTrainer::BpeTrainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
BpeTrainer::BpeTrainer(BpeTrainer&&) noexcept = default;
BpeTrainer& BpeTrainer::operator=(BpeTrainer&&) noexcept = default;
BpeTrainer::~BpeTrainer() = default;

Result<BpeTrainer> BpeTrainer::create(BpeOptions options) {
  const size_t least = kBytes + options.special_tokens.size();
  if (options.vocabulary < least || options.vocabulary > static_cast<size_t>(Vocabulary::kMostIds))
    return bad_option(fmt::format("a vocabulary of {} is not possible; ask for {} to {} entries",
                                  options.vocabulary, least, Vocabulary::kMostIds));
  if (options.min_count == 0)
    return bad_option("pairs that occur 0 times cannot be merged; ask for at least 1");
  std::vector<std::string> sorted = options.special_tokens;
  std::ranges::sort(sorted);
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i].empty() || !is_valid_utf8(sorted[i]) || (i > 0 && sorted[i] == sorted[i - 1]))
      return bad_option(
          fmt::format("special token \"{}\" is empty, not UTF-8, or named twice; "
                      "name others",
                      one_line(sorted[i])));
    // One byte, or the character of one, would be in the vocabulary twice.
    if (sorted[i].size() == 1 || bytes_of_alphabet(sorted[i]).value_or("").size() == 1)
      return bad_option(
          fmt::format("special token \"{}\" is also the token of a byte; name a "
                      "longer one",
                      one_line(sorted[i])));
  }
  if (options.split_pattern.empty()) return bad_option("the split pattern is empty; name one");
  auto splitter = PreTokenizer::create({SplitStep{.pattern = options.split_pattern}});
  if (!splitter)
    return Error{Code::invalid_argument, "tokenizer training: " + splitter.error().message};
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  state->splitter = std::move(*splitter);
  return BpeTrainer(std::move(state));
}

void BpeTrainer::add(std::string_view text, uint64_t weight) {
  State& state = *state_;
  state.weight = weight;
  state.texts += weight;
  CleanText clean;
  if (!is_valid_utf8(text)) {
    clean = clean_utf8(text);
    text = clean.text;
  }
  while (!text.empty()) {
    size_t begin = text.size(), length = 0;
    for (const std::string& special : state.options.special_tokens) {
      // Of two that begin at the same place the longer one.
      const size_t at = text.find(special);
      if (at < begin || (at == begin && special.size() > length)) {
        begin = at;
        length = special.size();
      }
    }
    state.add_between(text.substr(0, begin));
    text.remove_prefix(begin + length);
  }
}

Result<BpeSummary> BpeTrainer::write(const std::filesystem::path& file) const {
  const State& state = *state_;
  if (state.pieces.empty())
    return bad_option(
        fmt::format("the {} texts have no characters; name files with texts", state.texts));
  if (state.pieces.size() > std::numeric_limits<uint32_t>::max())
    return Error{Code::unsupported,
                 fmt::format("tokenizer training: {} different pieces of text; use fewer texts",
                             state.pieces.size())};
  std::vector<TokenId> byte_ids(kBytes);
  const std::vector<std::string> bytes = byte_tokens();
  for (size_t id = 0; id < kBytes; ++id)
    byte_ids[static_cast<uint8_t>(bytes[id][0])] = static_cast<TokenId>(id);
  std::vector<Word> words;
  words.reserve(state.pieces.size());
  for (const auto& [piece, count] : state.pieces) {
    Word word{{}, count};
    for (const char byte : piece) word.tokens.push_back(byte_ids[static_cast<uint8_t>(byte)]);
    words.push_back(std::move(word));
  }

  Learner learner(std::move(words), state.options.alone, state.options.min_count);
  learner.run(state.options.vocabulary - state.options.special_tokens.size());
  // Texts hold no special token, but their normalization can make one.
  for (const std::string& special : state.options.special_tokens)
    if (learner.has(special))
      return bad_option(
          fmt::format("special token \"{}\" came out of the texts as well; name "
                      "another",
                      one_line(special)));

  const std::string text =
      describe(state.options, learner).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(text))));
  MSA_TRY(writer.commit());
  return BpeSummary{learner.tokens().size() + state.options.special_tokens.size(),
                    learner.merges().size(), state.texts, state.characters,
                    learner.tokens_in_texts()};
}

}  // namespace msa
