#include "engine/ingest.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <unordered_set>
#include <utility>

#include "corpus/passages.h"
#include "text/prompt.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kProgressEvery = 256;  // documents that need no encoding

class Ingest {
 public:
  Ingest(const Tokenizer& tokenizer, const EncodeBatch& encode, const IngestLimits& limits,
         BankWriter& bank, DocumentSource& source, const EncodeOptions& options,
         const std::function<void(const EncodeProgress&)>& progress)
      : tokenizer_(tokenizer),
        encode_(encode),
        limits_(limits),
        bank_(bank),
        source_(source),
        options_(options),
        progress_(progress) {}

  Result<EncodeReport> run(std::stop_token stop) {
    for (uint64_t index = 0; !stop.stop_requested(); ++index) {
      MSA_ASSIGN(auto document, source_.next());
      if (!document) {
        MSA_TRY(encode_waiting());
        break;
      }
      if (index % limits_.shards != limits_.shard) continue;
      MSA_TRY(take(std::move(*document)));
    }
    report_.stopped = stop.stop_requested();
    // A text whose predecessor is to be removed may still wait.
    if (options_.replace) MSA_TRY(encode_waiting());
    MSA_TRY(bank_.commit());
    update_progress();
    return report_;
  }

 private:
  void problem(const std::string& where, const std::string& what) {
    ++report_.rejected;
    if (options_.on_problem) options_.on_problem({where, what});
  }

  // Splits the document where need be and queues its passages.
  Result<void> take(Document document) {
    // A token stands for at least one byte, so a short text needs no counting.
    std::vector<Passage> passages;
    if (document.text.size() > options_.passage_tokens)
      passages = split_passages(document.text, options_.passage_tokens, [&](std::string_view text) {
        return tokenizer_.encode(text).size();
      });
    const std::string id = document.id;
    std::vector<Document> parts;
    if (passages.size() <= 1)
      parts.push_back(std::move(document));
    else
      for (size_t i = 0; i < passages.size(); ++i) {
        const Passage& passage = passages[i];
        Document& part = parts.emplace_back();
        part.id = fmt::format("{}#{}", id, i + 1);
        part.title = document.title;
        part.source = document.source;
        part.text = document.text.substr(passage.begin, passage.end - passage.begin);
        part.char_begin = document.char_begin + passage.char_begin;
        part.char_end = document.char_begin + passage.char_end;
      }
    if (options_.replace)
      MSA_TRY(replace(id, std::move(parts)));
    else
      for (Document& part : parts) MSA_TRY(queue(std::move(part)));
    ++report_.documents;
    return {};
  }

  // Takes away what is there under `id` and is not among `parts`, and queues these. Both happen in
  // the same commit, which is why none is made before all of them are in the bank's hands.
  Result<void> replace(const std::string& id, std::vector<Document> parts) {
    // Another version of it came before: its commit is made first, as a whole.
    if (is_new(id) || is_new(id + "#1")) MSA_TRY(commit());
    MSA_ASSIGN(const std::vector<std::string> old, names_under(bank_, id));
    std::set<std::string> gone(old.begin(), old.end());
    std::set<std::string> kept;
    for (const Document& part : parts) {
      MSA_ASSIGN(const auto presence, bank_.presence(part.id, part.title, part.text));
      if (presence == BankWriter::Presence::same) {
        gone.erase(part.id);
        kept.insert(part.id);
        continue;
      }
      if (presence == BankWriter::Presence::different) gone.insert(part.id);
      // With the longest of numbers, so that none is refused once others have been removed for it.
      const size_t tokens =
          document_tokens(tokenizer_, UINT32_MAX - 1, document_text(part.title, part.text)).size();
      if (tokens > limits_.max_positions) {
        too_long(part.id, tokens);
        return {};
      }
    }
    // The bank commits a pending name before it takes it away: whole texts only, here too.
    if (std::any_of(gone.begin(), gone.end(), [&](const auto& name) { return is_new(name); }))
      MSA_TRY(commit());
    for (const std::string& name : gone) {
      MSA_ASSIGN(const BankWriter::Removed removed, bank_.remove(name));
      report_.replaced += removed != BankWriter::Removed::nothing;
    }
    for (Document& part : parts) {
      if (!kept.contains(part.id)) new_ids_.insert(part.id);
      MSA_TRY(queue(std::move(part)));
    }
    if (bank_.pending_bytes() >= options_.segment_bytes) MSA_TRY(commit());
    return {};
  }

  Result<void> commit() {
    MSA_TRY(encode_waiting());
    MSA_TRY(bank_.commit());
    new_ids_.clear();
    return {};
  }

  bool is_new(const std::string& id) const { return new_ids_.contains(id); }

  void too_long(const std::string& id, size_t tokens) {
    problem(id, fmt::format("{} tokens with its title, but the model has {} positions; shorten the "
                            "title or use a smaller passage length",
                            tokens, limits_.max_positions));
  }

  // Queues one passage unless it is known, and encodes the queue when a batch is full.
  Result<void> queue(Document document) {
    const std::string conflict =
        "the bank has another text under this id; give the document another id";
    const uint64_t hash = document_hash(document.title, document.text);
    if (waiting_ids_.contains(document.id) || waiting_hashes_.contains(hash))
      MSA_TRY(encode_waiting());
    MSA_ASSIGN(const auto presence, bank_.presence(document.id, document.title, document.text));
    if (presence == BankWriter::Presence::same) {
      if (++report_.already_there % kProgressEvery == 0) update_progress();
      return {};
    }
    if (presence == BankWriter::Presence::different) {
      problem(document.id, conflict);
      return {};
    }
    MSA_ASSIGN(const auto twin, bank_.find_text(document.title, document.text));
    if (twin) {
      MSA_TRY(bank_.add_alias(as_new(std::move(document), 0), *twin));
      if (++report_.duplicates % kProgressEvery == 0) update_progress();
      return commit_if_full();
    }
    const uint64_t number = bank_.next_number() + uint64_t{waiting_.size()} * limits_.shards;
    if (number >= UINT32_MAX)
      return Error{Code::unsupported,
                   "the bank has given out all 4,294,967,295 document numbers; start a new one"};
    auto tokens = document_tokens(tokenizer_, static_cast<uint32_t>(number),
                                  document_text(document.title, document.text));
    if (tokens.size() > limits_.max_positions) {
      too_long(document.id, tokens.size());
      return {};
    }
    waiting_tokens_ += tokens.size();
    waiting_ids_.insert(document.id);
    waiting_hashes_.insert(hash);
    waiting_.push_back(as_new(std::move(document), tokens.size()));
    token_lists_.push_back(std::move(tokens));
    return waiting_tokens_ >= options_.batch_tokens ? encode_waiting() : Result<void>();
  }

  static NewDocument as_new(Document document, size_t tokens) {
    return {std::move(document.id),
            std::move(document.title),
            std::move(document.source),
            std::move(document.text),
            document.char_begin,
            document.char_end,
            tokens};
  }

  Result<void> encode_waiting() {
    if (waiting_.empty()) return {};
    const std::vector<std::span<const TokenId>> views(token_lists_.begin(), token_lists_.end());
    MSA_ASSIGN(EncodedBatch batch, encode_(views));
    report_.passages += waiting_.size();
    report_.chunks += batch.total_chunks;
    report_.tokens += waiting_tokens_;
    MSA_TRY(bank_.add(std::exchange(waiting_, {}), std::move(batch)));
    token_lists_.clear();
    waiting_ids_.clear();
    waiting_hashes_.clear();
    waiting_tokens_ = 0;
    MSA_TRY(commit_if_full());
    update_progress();
    return {};
  }

  // Commits what the bank has if that is a segment. What waits to be encoded keeps the numbers it
  // was given. Where texts are replaced, replace() commits, whole texts only.
  Result<void> commit_if_full() {
    if (options_.replace || bank_.pending_bytes() < options_.segment_bytes) return {};
    return bank_.commit();
  }

  void update_progress() {
    report_.input = source_.counts();
    report_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    if (report_.seconds > 0)
      report_.tokens_per_second = static_cast<double>(report_.tokens) / report_.seconds;
    const auto& in = report_.input;
    report_.seconds_left.reset();
    if (in.bytes_total > 0 && in.bytes_read > 0 && in.bytes_read <= in.bytes_total)
      report_.seconds_left = report_.seconds * static_cast<double>(in.bytes_total - in.bytes_read) /
                             static_cast<double>(in.bytes_read);
    if (progress_) progress_(report_);
  }

  const Tokenizer& tokenizer_;
  const EncodeBatch& encode_;
  IngestLimits limits_;
  BankWriter& bank_;
  DocumentSource& source_;
  const EncodeOptions& options_;
  const std::function<void(const EncodeProgress&)>& progress_;
  Clock::time_point start_ = Clock::now();
  EncodeReport report_;
  std::vector<NewDocument> waiting_;  // the next batch, numbered from bank_.next_number()
  std::vector<std::vector<TokenId>> token_lists_;  // of waiting_
  std::unordered_set<std::string> waiting_ids_;    // of it
  std::unordered_set<uint64_t> waiting_hashes_;    // of its titles and texts
  size_t waiting_tokens_ = 0;
  std::unordered_set<std::string> new_ids_;  // since the last commit; only where texts are replaced
};

}  // namespace

Result<EncodeReport> ingest(const Tokenizer& tokenizer, const EncodeBatch& encode,
                            const IngestLimits& limits, BankWriter& bank, DocumentSource& source,
                            const EncodeOptions& options,
                            const std::function<void(const EncodeProgress&)>& progress,
                            std::stop_token stop) {
  if (options.passage_tokens == 0 || options.batch_tokens == 0)
    return Error{
        Code::invalid_argument,
        "passage and batch length must be at least 1 token; the defaults are 512 and 2048"};
  return Ingest(tokenizer, encode, limits, bank, source, options, progress).run(std::move(stop));
}

}  // namespace msa
