#include "text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/nfc.h"
#include "text/pretokenize.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace msa {

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  Bpe bpe;  // looks into vocabulary
  PreTokenizer pre_tokenizer;
  AddedTokenFinder added_raw, added_normalized;  // looked for before, after normalization
  std::vector<bool> special;                     // by id
  bool nfc = false;
  uint64_t fingerprint = 0;

  // One call of encode(): what it works in, and the tokens so far.
  struct Encoding final : PieceSink {
    explicit Encoding(const Bpe& merger) : bpe(merger) {}
    void piece(std::string_view text) override { bpe.encode(text, bpe_scratch, tokens); }

    const Bpe& bpe;
    PreTokenizer::Scratch split_scratch;
    Bpe::Scratch bpe_scratch;
    std::string nfc_storage;
    std::vector<TokenId> tokens;
  };

  // Calls `ordinary` for each stretch of `text` that holds no token of `finder`, and appends the
  // tokens between them.
  template <class Ordinary>
  static void divide(const AddedTokenFinder& finder, std::string_view text, Encoding& encoding,
                     const Ordinary& ordinary) {
    size_t done = 0;
    while (const auto match = finder.next(text, done, done)) {
      ordinary(text.substr(done, match->begin - done));
      encoding.tokens.push_back(match->id);
      done = match->end;
    }
    ordinary(text.substr(done));
  }

  void encode_ordinary(std::string_view text, bool added_tokens, Encoding& encoding) const {
    if (nfc) text = to_nfc(text, encoding.nfc_storage);
    const auto split = [&](std::string_view stretch) {
      pre_tokenizer.split(stretch, encoding.split_scratch, encoding);
    };
    if (added_tokens)
      divide(added_normalized, text, encoding, split);
    else
      split(text);
  }
};

Tokenizer::Tokenizer() : impl_(std::make_unique<Impl>()) {}
Tokenizer::~Tokenizer() = default;

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(const std::filesystem::path& file) try {
  MSA_ASSIGN(const std::string text, read_file(file, kMostTokenizerBytes));
  MSA_ASSIGN(TokenizerDescription description, read_tokenizer_json(text, file));

  const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer());
  Impl& impl = *tokenizer->impl_;
  impl.fingerprint = hash64(text);
  impl.nfc = description.nfc;
  MSA_ASSIGN(impl.pre_tokenizer, PreTokenizer::create(description.steps));
  impl.vocabulary = std::move(description.vocabulary);
  impl.bpe = Bpe(impl.vocabulary, description.model_ids, description.byte_tokens,
                 description.merges, description.ignore_merges);

  std::vector<AddedToken> raw, normalized;
  std::string storage;
  for (AddedToken& token : description.added_tokens) {
    impl.vocabulary.set(token.id, token.content);
    impl.special.resize(impl.vocabulary.size());
    impl.special[static_cast<size_t>(token.id)] = token.special;
    if (token.normalized && impl.nfc) token.content = std::string(to_nfc(token.content, storage));
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  impl.special.resize(impl.vocabulary.size());
  impl.added_raw = AddedTokenFinder(std::move(raw));
  impl.added_normalized = AddedTokenFinder(std::move(normalized));
  return std::shared_ptr<const Tokenizer>(tokenizer);
} catch (const std::bad_alloc&) {
  return Error{Code::no_space,
               fmt::format("{}: does not fit the memory; free some memory", file.string())};
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, bool added_tokens) const {
  CleanText clean;
  if (!is_valid_utf8(text)) {
    clean = clean_utf8(text);
    text = clean.text;
  }
  Impl::Encoding encoding(impl_->bpe);
  const auto ordinary = [&](std::string_view stretch) {
    impl_->encode_ordinary(stretch, added_tokens, encoding);
  };
  if (added_tokens)
    Impl::divide(impl_->added_raw, text, encoding, ordinary);
  else
    ordinary(text);
  return std::move(encoding.tokens);
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, bool special) const {
  std::string bytes;
  for (const TokenId token : tokens)
    if (special || !is_special(token)) bytes += token_bytes(token);
  return is_valid_utf8(bytes) ? bytes : clean_utf8(bytes).text;
}

std::string_view Tokenizer::token_bytes(TokenId token) const {
  return impl_->vocabulary.bytes(token);
}

std::optional<TokenId> Tokenizer::find(std::string_view bytes) const {
  if (const auto id = impl_->added_raw.find(bytes)) return id;
  if (const auto id = impl_->added_normalized.find(bytes)) return id;
  return impl_->vocabulary.find(bytes);
}

bool Tokenizer::is_special(TokenId token) const {
  return token >= 0 && static_cast<size_t>(token) < impl_->special.size() &&
         impl_->special[static_cast<size_t>(token)];
}

size_t Tokenizer::vocabulary_size() const {
  return impl_->vocabulary.size();
}

uint64_t Tokenizer::fingerprint() const {
  return impl_->fingerprint;
}

std::string StreamDecoder::push(TokenId token) {
  if (!special_ && tokenizer_->is_special(token)) return {};
  pending_ += tokenizer_->token_bytes(token);
  const size_t complete = complete_utf8_prefix(pending_);
  std::string text = clean_utf8(std::string_view(pending_).substr(0, complete)).text;
  pending_.erase(0, complete);
  return text;
}

std::string StreamDecoder::finish() {
  return clean_utf8(std::exchange(pending_, {})).text;
}

}  // namespace msa
