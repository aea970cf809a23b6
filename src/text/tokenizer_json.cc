#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "text/byte_alphabet.h"
#include "text/one_line.h"

namespace msa {
namespace {

using nlohmann::json;

// The pattern of the ByteLevel step, unless it is switched off.
constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// More than any tokenizer.json needs. Every level costs the parser memory.
constexpr int kMostDepth = 16;

// Whether lists and objects of a JSON text stand inside one another more than `most` deep.
bool nests_deeper(std::string_view text, int most) {
  int depth = 0;
  bool in_text = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_text) {
      if (c == '\\') ++at;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > most) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

std::string_view kind_of(const json& value) {
  switch (value.type()) {
    case json::value_t::null: return "null";
    case json::value_t::boolean: return "a boolean";
    case json::value_t::string: return "a text";
    case json::value_t::array: return "a list";
    case json::value_t::object: return "an object";
    default: return "a number";
  }
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file) {}

  Result<TokenizerDescription> read(const json& root) {
    if (!root.is_object())
      return corrupt("whole file", fmt::format("is {}, not an object", kind_of(root)));
    MSA_TRY(read_normalizer(member(root, "normalizer"), "normalizer"));
    MSA_TRY(read_pre_tokenizer(member(root, "pre_tokenizer"), "pre_tokenizer"));
    if (!byte_level_)
      return unsupported("pre_tokenizer",
                         "holds no ByteLevel step; only byte-level tokenizers "
                         "are supported");
    MSA_TRY(read_decoder(member(root, "decoder")));
    const json& model = member(root, "model");
    if (!model.is_object()) return wrong_type("model", model, "an object");
    MSA_TRY(read_model(model));
    MSA_TRY(read_added_tokens(member(root, "added_tokens"), model.at("vocab")));
    return std::move(made_);
  }

 private:
  // ---- errors

  Error corrupt(std::string_view key, std::string_view what) const {
    return {Code::corrupt,
            fmt::format("{}: {}: {}; use the tokenizer.json that came with the model",
                        file_.string(), key, what)};
  }
  Error unsupported(std::string_view key, std::string_view what) const {
    return {Code::unsupported, fmt::format("{}: {}: {}; use a model whose tokenizer is byte-level "
                                           "BPE, as those of Qwen, GPT-2 and Llama 3",
                                           file_.string(), key, what)};
  }
  Error wrong_type(std::string_view key, const json& value, std::string_view wanted) const {
    if (value.is_null()) return corrupt(key, fmt::format("is missing, {} is needed", wanted));
    return corrupt(key, fmt::format("is {}, not {}", kind_of(value), wanted));
  }

  // ---- values

  // The member, or null if there is none.
  static const json& member(const json& object, const char* name) {
    static const json kNull;
    const auto found = object.find(name);
    return found == object.end() ? kNull : *found;
  }

  Result<bool> read_flag(const json& object, const char* name, std::string_view where,
                         bool otherwise) const {
    const json& value = member(object, name);
    if (value.is_null()) return otherwise;
    if (!value.is_boolean())
      return wrong_type(fmt::format("{}.{}", where, name), value, "true or false");
    return value.get<bool>();
  }

  Result<std::string> read_text(const json& object, const char* name,
                                std::string_view where) const {
    const json& value = member(object, name);
    if (!value.is_string()) return wrong_type(fmt::format("{}.{}", where, name), value, "a text");
    return value.get<std::string>();
  }

  Result<TokenId> read_id(const json& value, std::string_view key) const {
    if (!value.is_number_integer()) return wrong_type(key, value, "a whole number");
    const bool too_large = value.is_number_unsigned() &&
                           value.get<uint64_t>() >= static_cast<uint64_t>(Vocabulary::kMostIds);
    if (too_large || value.get<int64_t>() < 0)
      return corrupt(key, fmt::format("is {}, ids lie between 0 and {}",
                                      too_large ? fmt::to_string(value.get<uint64_t>())
                                                : fmt::to_string(value.get<int64_t>()),
                                      Vocabulary::kMostIds - 1));
    return static_cast<TokenId>(value.get<int64_t>());
  }

  static std::string vocab_key(std::string_view token) {
    return fmt::format("model.vocab[\"{}\"]", one_line(token));
  }

  // ---- sections

  Result<void> read_normalizer(const json& value, const std::string& key) {
    if (value.is_null()) return {};
    if (!value.is_object()) return wrong_type(key, value, "an object");
    MSA_ASSIGN(const std::string type, read_text(value, "type", key));
    if (type == "NFC") {
      made_.nfc = true;
    } else if (type == "Sequence") {
      const json& list = member(value, "normalizers");
      if (!list.is_array()) return wrong_type(key + ".normalizers", list, "a list");
      for (size_t i = 0; i < list.size(); ++i) {
        const std::string place = fmt::format("{}.normalizers[{}]", key, i);
        if (list[i].is_object() && member(list[i], "type") == "Sequence")
          return unsupported(place, "is a Sequence within a Sequence");
        MSA_TRY(read_normalizer(list[i], place));
      }
    } else {
      return unsupported(key, fmt::format("has type \"{}\", NFC is supported", one_line(type)));
    }
    return {};
  }

  Result<void> read_pre_tokenizer(const json& value, const std::string& key) {
    if (!value.is_object())
      return value.is_null() ? Result<void>() : wrong_type(key, value, "an object");
    MSA_ASSIGN(const std::string type, read_text(value, "type", key));
    if (byte_level_)
      return unsupported(key, fmt::format("a step \"{}\" follows ByteLevel", one_line(type)));
    if (type == "Sequence") {
      const json& list = member(value, "pretokenizers");
      if (!list.is_array()) return wrong_type(key + ".pretokenizers", list, "a list");
      for (size_t i = 0; i < list.size(); ++i) {
        const std::string place = fmt::format("{}.pretokenizers[{}]", key, i);
        if (!list[i].is_object()) return wrong_type(place, list[i], "an object");
        if (member(list[i], "type") == "Sequence")
          return unsupported(place, "is a Sequence within a Sequence");
        MSA_TRY(read_pre_tokenizer(list[i], place));
      }
      return {};
    }
    if (type == "Split") return read_split(value, key);
    if (type == "Digits") {
      MSA_ASSIGN(const bool each, read_flag(value, "individual_digits", key, false));
      made_.steps.push_back({.pattern = each ? R"(\p{N})" : R"(\p{N}+)"});
      return {};
    }
    if (type == "ByteLevel") {
      byte_level_ = true;
      MSA_ASSIGN(const bool add_space, read_flag(value, "add_prefix_space", key, true));
      MSA_ASSIGN(const bool use_pattern, read_flag(value, "use_regex", key, true));
      if (add_space || use_pattern)
        made_.steps.push_back(
            {.pattern = use_pattern ? std::string(kByteLevelPattern) : "", .add_space = add_space});
      return {};
    }
    return unsupported(
        key, fmt::format("has type \"{}\", ByteLevel, Split, Digits and Sequence are supported",
                         one_line(type)));
  }

  Result<void> read_split(const json& value, const std::string& key) {
    SplitStep step;
    const json& pattern = member(value, "pattern");
    const std::string pattern_key = key + ".pattern";
    if (!pattern.is_object()) return wrong_type(pattern_key, pattern, "an object");
    step.literal = pattern.contains("String");
    MSA_ASSIGN(step.pattern, read_text(pattern, step.literal ? "String" : "Regex", pattern_key));
    if (step.pattern.empty()) return corrupt(pattern_key, "is empty");
    MSA_ASSIGN(step.invert, read_flag(value, "invert", key, false));
    MSA_ASSIGN(const std::string behavior, read_text(value, "behavior", key));
    step.discard = behavior == "Removed";
    if (!step.discard && behavior != "Isolated")
      return unsupported(key + ".behavior", fmt::format("is \"{}\", Isolated and Removed are "
                                                        "supported",
                                                        one_line(behavior)));
    // Reported here, where the key is known.
    if (auto compiled = PreTokenizer::create({step}); !compiled)
      return Error{compiled.error().code, fmt::format("{}: {}: {}", file_.string(), pattern_key,
                                                      compiled.error().message)};
    made_.steps.push_back(std::move(step));
    return {};
  }

  Result<void> read_decoder(const json& value) const {
    if (value.is_null()) return {};
    if (!value.is_object()) return wrong_type("decoder", value, "an object");
    MSA_ASSIGN(const std::string type, read_text(value, "type", "decoder"));
    if (type != "ByteLevel")
      return unsupported("decoder",
                         fmt::format("has type \"{}\", ByteLevel is supported", one_line(type)));
    return {};
  }

  Result<void> read_model(const json& model) {
    // Files of early versions do not name the type.
    if (const json& type = member(model, "type"); !type.is_null() && type != "BPE")
      return unsupported("model.type",
                         fmt::format("is \"{}\", BPE is supported",
                                     type.is_string() ? one_line(type.get<std::string>())
                                                      : std::string(kind_of(type))));
    if (const json& dropout = member(model, "dropout"); !dropout.is_null()) {
      if (!dropout.is_number()) return wrong_type("model.dropout", dropout, "a number");
      if (dropout != 0) return unsupported("model.dropout", "makes tokens random");
    }
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const json& affix = member(model, name);
      if (!affix.is_null() && affix != "")
        return unsupported(fmt::format("model.{}", name), "is not empty");
    }
    MSA_ASSIGN(made_.ignore_merges, read_flag(model, "ignore_merges", "model", false));
    MSA_TRY(read_vocabulary(member(model, "vocab")));
    MSA_TRY(read_byte_tokens());
    return read_merges(member(model, "merges"));
  }

  Result<void> read_vocabulary(const json& vocab) {
    if (!vocab.is_object()) return wrong_type("model.vocab", vocab, "an object");
    for (const auto& item : vocab.items()) {
      const std::string& token = item.key();
      if (!item.value().is_number_integer())
        return wrong_type(vocab_key(token), item.value(), "a whole number");
      MSA_ASSIGN(const TokenId id, read_id(item.value(), vocab_key(token)));
      // Text never becomes a token with other characters; its bytes are those characters'.
      const std::optional<std::string> bytes = bytes_of_alphabet(token);
      if (!made_.vocabulary.add(id, bytes ? *bytes : token))
        return corrupt(vocab_key(token), fmt::format("has id {}, and so has another entry", id));
      if (bytes && !bytes->empty()) made_.model_ids.push_back(id);
    }
    made_.vocabulary.make_index(made_.model_ids);
    return {};
  }

  Result<void> read_byte_tokens() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      const std::optional<TokenId> id = made_.vocabulary.find({&c, 1});
      const bool in_utf8 = byte < 0xc0 || (byte > 0xc1 && byte < 0xf5);
      if (!id && in_utf8)
        return unsupported("model.vocab",
                           fmt::format("has no entry \"{}\" for byte 0x{:02x}, so that text with "
                                       "it would be lost",
                                       alphabet_of_bytes({&c, 1}), byte));
      made_.byte_tokens[byte] = id.value_or(-1);
    }
    return {};
  }

  Result<void> read_merges(const json& list) {
    if (!list.is_array()) return wrong_type("model.merges", list, "a list");
    made_.merges.reserve(list.size());
    for (size_t i = 0; i < list.size(); ++i) {
      const auto key = [i] { return fmt::format("model.merges[{}]", i); };
      const json& value = list[i];
      std::string_view left, right;
      if (value.is_string()) {
        const std::string_view both = value.get_ref<const std::string&>();
        const size_t space = both.find(' ');
        if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos)
          return corrupt(key(), fmt::format("\"{}\" is not two tokens with a space between them",
                                            one_line(both)));
        left = both.substr(0, space);
        right = both.substr(space + 1);
      } else if (value.is_array() && value.size() == 2 && value[0].is_string() &&
                 value[1].is_string()) {
        left = value[0].get_ref<const std::string&>();
        right = value[1].get_ref<const std::string&>();
      } else {
        return corrupt(
            key(), fmt::format("is {}, not a text \"a b\" or a list of two texts", kind_of(value)));
      }
      Merge merge{};
      MSA_ASSIGN(merge.left, token_of_merge(left, key));
      MSA_ASSIGN(merge.right, token_of_merge(right, key));
      MSA_ASSIGN(merge.result, token_of_merge(std::string(left).append(right), key));
      made_.merges.push_back(merge);
    }
    return {};
  }

  template <class Key>
  Result<TokenId> token_of_merge(std::string_view token, const Key& key) const {
    const std::optional<std::string> bytes = bytes_of_alphabet(token);
    const std::optional<TokenId> id = bytes ? made_.vocabulary.find(*bytes) : std::nullopt;
    if (!id)
      return corrupt(key(),
                     fmt::format("needs \"{}\", which model.vocab does not have", one_line(token)));
    return *id;
  }

  Result<void> read_added_tokens(const json& list, const json& vocab) {
    if (list.is_null()) return {};
    if (!list.is_array()) return wrong_type("added_tokens", list, "a list");
    std::set<std::string, std::less<>> contents;
    std::set<TokenId> ids;
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string key = fmt::format("added_tokens[{}]", i);
      const json& value = list[i];
      if (!value.is_object()) return wrong_type(key, value, "an object");
      AddedToken token;
      MSA_ASSIGN(token.id, read_id(member(value, "id"), key + ".id"));
      MSA_ASSIGN(token.content, read_text(value, "content", key));
      MSA_ASSIGN(token.special, read_flag(value, "special", key, false));
      MSA_ASSIGN(token.single_word, read_flag(value, "single_word", key, false));
      MSA_ASSIGN(token.lstrip, read_flag(value, "lstrip", key, false));
      MSA_ASSIGN(token.rstrip, read_flag(value, "rstrip", key, false));
      MSA_ASSIGN(token.normalized, read_flag(value, "normalized", key, !token.special));
      const std::string shown = one_line(token.content);
      if (token.content.empty()) return corrupt(key + ".content", "is empty");
      if (token.content.size() > kLongestAddedToken)
        return corrupt(key + ".content", fmt::format("has {} bytes, at most {} are read",
                                                     token.content.size(), kLongestAddedToken));
      if (!contents.insert(token.content).second)
        return corrupt(key + ".content", fmt::format("\"{}\" is there twice", shown));
      const bool new_id = ids.insert(token.id).second;
      const auto in_vocab = vocab.find(token.content);
      const bool same_as_vocab = in_vocab != vocab.end() && in_vocab->get<int64_t>() == token.id;
      if (in_vocab != vocab.end() && !same_as_vocab)
        return corrupt(key + ".id", fmt::format("\"{}\" has id {} here, {} in model.vocab", shown,
                                                token.id, in_vocab->get<int64_t>()));
      if (!new_id || (!same_as_vocab && made_.vocabulary.contains(token.id)))
        return corrupt(key + ".id",
                       fmt::format("\"{}\" has id {}, and so has another token", shown, token.id));
      made_.added_tokens.push_back(std::move(token));
    }
    return {};
  }

  const std::filesystem::path& file_;
  TokenizerDescription made_;
  bool byte_level_ = false;  // a ByteLevel step has been read
};

}  // namespace

Result<TokenizerDescription> read_tokenizer_json(std::string_view text,
                                                 const std::filesystem::path& file) {
  if (text.size() > kMostTokenizerBytes)
    return Error{
        Code::unsupported,
        fmt::format("{}: has {} bytes, a tokenizer.json of at most {} is read; use the one "
                    "that came with the model",
                    file.string(), text.size(), kMostTokenizerBytes)};
  try {
    if (nests_deeper(text, kMostDepth))
      return Error{Code::corrupt, fmt::format("{}: nests deeper than {} levels; download it again",
                                              file.string(), kMostDepth)};
    return Reader(file).read(json::parse(text));
  } catch (const json::parse_error& error) {
    return Error{Code::corrupt, fmt::format("{}: is not valid JSON at byte {}; download it again",
                                            file.string(), error.byte)};
  } catch (const json::exception& error) {  // a number that no type can hold, for example
    return Error{Code::corrupt, fmt::format("{}: {}; download it again", file.string(),
                                            one_line(error.what(), 200))};
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space,
                 fmt::format("{}: memory is out after {} bytes of JSON; free some memory",
                             file.string(), text.size())};
  }
}

}  // namespace msa
