#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "samples/batch.h"
#include "samples/sequence.h"
#include "text/prompt.h"

namespace msa {
namespace {

constexpr double kMostNumberDigits = 9;       // fits 32 bits
constexpr double kMostTokens = 1 << 26;       // of a batch; keeps its offsets in 32 bits
constexpr double kFewestDocumentTokens = 32;  // the longest number twice, and some text
constexpr double kMostWeight = 1e6;
// Sequences that are repeated have at least so many tokens.
constexpr size_t kFewestRepeated = 8;
constexpr uint64_t kFewestDistinct = 2;  // of them
// Of the sources that a batcher reads, which may have its seed: keeps the random numbers apart.
constexpr uint64_t kSeedOfBatches = 0x6261746368657321;
constexpr uint64_t kSeedOfReading = 0x72656164696e6721;

Result<void> check(const BatchOptions& options) {
  if (options.documents == 0)
    return Error{Code::invalid_argument, "batch.documents: is 0; choose at least 1"};
  if (options.max_sequence_tokens > 0 && options.max_sequence_tokens < kFewestDocumentTokens)
    return Error{Code::invalid_argument,
                 fmt::format("batch: the model has room for sequences of {} tokens beside the "
                             "documents it attends to, and a sequence needs {}; choose a smaller "
                             "top_k or a model with more positions",
                             options.max_sequence_tokens, kFewestDocumentTokens)};
  struct Range {
    std::string_view name;
    double value, least, most;
  };
  const Range ranges[] = {
      {"tokens", static_cast<double>(options.tokens), 64, kMostTokens},
      {"max_document_tokens", static_cast<double>(options.max_document_tokens),
       kFewestDocumentTokens, kMostTokens},
      {"max_number_digits", static_cast<double>(options.max_number_digits), 1, kMostNumberDigits},
      {"number_weight", options.number_weight, 0, kMostWeight},
      {"answer_weight", options.answer_weight, 0, kMostWeight},
      {"text_weight", options.text_weight, 0, kMostWeight},
      {"document_weight", options.document_weight, 0, kMostWeight},
      {"repeat_share", options.repeat_share, 0, 0.99},
      {"reading_share", options.reading_share, 0, 1},
      {"reading_documents", static_cast<double>(options.reading_documents), 1, kMostTokens},
      {"detour_share", options.detour_share, 0, 1},
      {"sequences_per_question", static_cast<double>(options.sequences_per_question), 0,
       kMostTokens},
      {"repeat_tokens", static_cast<double>(options.repeat_tokens), kFewestRepeated,
       // two halves of one sequence must leave room for others
       options.repeat_share > 0
           ? std::max<double>(kFewestRepeated, static_cast<double>(options.tokens) / 4)
           : kMostTokens},
      {"repeat_vocabulary", static_cast<double>(options.repeat_vocabulary),
       options.repeat_vocabulary > 0 ? double{kFewestDistinct} : 0, kMostTokens},
  };
  for (const Range& range : ranges)
    if (!(range.value >= range.least && range.value <= range.most))  // NaN too
      return Error{Code::invalid_argument,
                   fmt::format("batch.{}: {} is out of range; choose a number from {} to {}",
                               range.name, range.value, range.least, range.most)};
  return {};
}

// Tokens that stand for some bytes of ordinary text.
std::vector<TokenId> ordinary_tokens(const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens;
  const auto size = static_cast<TokenId>(tokenizer.vocabulary_size());
  for (TokenId token = 0; token < size; ++token)
    if (!tokenizer.is_special(token) && !tokenizer.token_bytes(token).empty())
      tokens.push_back(token);
  return tokens;
}

uint64_t subject_of(const SampleDocument& document) {
  constexpr size_t kFirstWords = 40;  // bytes
  const std::string_view subject = document.title.empty()
                                       ? std::string_view(document.text).substr(0, kFirstWords)
                                       : std::string_view(document.title);
  return hash64(subject) & ((uint64_t{1} << 48) - 1);
}

// A step under construction.
class Step {
 public:
  // All that is referred to must outlive the step.
  Step(const Tokenizer& tokenizer, std::span<const TokenId> ordinary, const BatchOptions& options,
       const Random& random)
      : tokenizer_(tokenizer),
        ordinary_(ordinary),
        options_(options),
        random_(random),
        prefix_(prefix_tokens(tokenizer)) {}

  // Adds the sample, as a reading exercise if `reading`, where its tokens fit; otherwise the batch
  // stays as it was.
  bool add(const Sample& sample, bool reading) {
    if (reading) return add_reading(sample);
    // Documents are told apart by their text: across samples where they form one memory, else
    // within the sample.
    if (!options_.share_documents) known_.clear();
    std::vector<Document> fresh;
    std::unordered_map<std::string_view, size_t> fresh_at;
    std::vector<size_t> index;  // of each of the sample's documents among all
    size_t tokens = 0;
    for (const SampleDocument& from : sample.documents) {
      auto text = std::make_unique<const std::string>(document_text(from.title, from.text));
      if (const auto known = known_.find(*text); known != known_.end()) {
        index.push_back(known->second);
      } else if (const auto twice = fresh_at.find(*text); twice != fresh_at.end()) {
        index.push_back(twice->second);
      } else {
        index.push_back(documents_.size() + fresh.size());
        fresh_at.emplace(*text, index.back());
        Document& document = fresh.emplace_back();
        document.number = new_number();
        document.group = group();
        document.subject = subject_of(from);
        document.tokens = document_tokens(tokenizer_, document.number, *text);
        document.handed_over = *text;
        cut(document.tokens, document.number, document.handed_over);
        document.text = std::move(text);
        tokens += document.tokens.size();
      }
    }
    const auto document_at = [&](size_t at) -> const Document& {
      return at < documents_.size() ? documents_[at] : fresh[at - documents_.size()];
    };
    std::vector<Query> queries;
    for (const SampleQuestion& question : sample.questions) {
      for (Query& query : queries_of(question, index, document_at)) {
        if (query.sequence.tokens.size() > longest_query()) return false;
        tokens += query.sequence.tokens.size();
        queries.push_back(std::move(query));
      }
    }
    if (tokens > budget() - tokens_) return false;
    tokens_ += tokens;
    ++samples_;
    for (Document& document : fresh) {
      known_.emplace(*document.text, documents_.size());
      documents_.push_back(std::move(document));
    }
    std::move(queries.begin(), queries.end(), std::back_inserter(queries_));
    return true;
  }

  bool empty() const { return samples_ == 0; }
  bool full() const {
    return documents_.size() >= options_.documents && 10 * tokens_ >= 9 * budget();
  }

  Batch finish() {
    add_repeats();
    Batch batch;
    batch.samples = samples_;
    batch.prefix = prefix_;
    std::vector<size_t> order(documents_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    random_.shuffle(order);
    // Documents of one memory lie together.
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return documents_[a].group < documents_[b].group; });
    std::vector<int32_t> place(order.size());
    batch.doc_starts.push_back(0);
    for (size_t i = 0; i < order.size(); ++i) {
      const Document& document = documents_[order[i]];
      place[order[i]] = static_cast<int32_t>(i);
      batch.doc_tokens.insert(batch.doc_tokens.end(), document.tokens.begin(),
                              document.tokens.end());
      batch.doc_starts.push_back(static_cast<int32_t>(batch.doc_tokens.size()));
      batch.doc_group.push_back(document.group);
      batch.doc_number.push_back(document.number);
      batch.doc_subject.push_back(document.subject);
      if (options_.document_weight > 0) {
        batch.doc_label_weights.resize(batch.doc_tokens.size(), options_.document_weight);
        batch.doc_label_weights.back() = 0;  // nothing follows the last token
      }
    }
    batch.query_starts.push_back(0);
    batch.relevant_starts.push_back(0);
    batch.handed_over_starts.push_back(0);
    for (const Query& query : queries_) append(query, place, batch);
    return batch;
  }

 private:
  struct Document {
    uint32_t number = 0;
    int32_t group = 0;
    uint64_t subject = 0;
    std::unique_ptr<const std::string> text;  // stays where it is: known_ looks at it
    std::string handed_over;                  // what of the text stands in the tokens
    std::vector<TokenId> tokens;
  };
  struct Query {
    QuerySequence sequence;
    int32_t group = 0;
    std::vector<size_t> relevant, handed_over;
    std::optional<size_t> named;  // as in the batch
    bool repeats = false;         // random tokens that come twice
  };
  // One retrieval step of a question.
  struct Retrieval {
    std::vector<size_t> brought;
    std::vector<size_t> relevant;  // and those that might have been brought instead
    bool is_detour = false;
  };

  // What documents and questions may take.
  size_t budget() const {
    return options_.tokens -
           static_cast<size_t>(options_.repeat_share * static_cast<double>(options_.tokens));
  }

  // Most tokens of one query, which stands behind the prefix.
  size_t longest_query() const {
    if (options_.max_sequence_tokens == 0) return options_.tokens;
    return options_.max_sequence_tokens - std::min(prefix_.size(), options_.max_sequence_tokens);
  }
  size_t longest_document() const {
    if (options_.max_sequence_tokens == 0) return options_.max_document_tokens;
    return std::min(options_.max_document_tokens, options_.max_sequence_tokens);
  }

  // A question's sequences. `index`: of each of the sample's documents among all; `document_at`
  // gives these.
  template <class DocumentAt>
  std::vector<Query> queries_of(const SampleQuestion& question, const std::vector<size_t>& index,
                                const DocumentAt& document_at) {
    const std::vector<Retrieval> steps = retrievals(question, index, document_at);
    std::vector<std::vector<NumberedDocument>> documents(steps.size());
    std::vector<size_t> read;  // in the order in which they are handed over
    for (size_t s = 0; s < steps.size(); ++s) {
      for (const size_t at : steps[s].brought)
        documents[s].push_back({document_at(at).number, document_at(at).handed_over});
      std::vector<size_t> brought = steps[s].brought;
      std::ranges::sort(brought, {}, [&](size_t at) { return document_at(at).number; });
      read.insert(read.end(), brought.begin(), brought.end());
    }
    const std::string answer = answer_after(question, [&](uint32_t d) {
      return static_cast<size_t>(std::ranges::find(read, index[d]) - read.begin());
    });
    auto sequences = question_sequences(tokenizer_, question.question, answer, documents);
    std::vector<Query> queries;
    std::vector<size_t> handed_over;
    for (size_t s = 0; s < sequences.size(); ++s) {
      if (s == steps.size() || !steps[s].is_detour) {
        Query& query = queries.emplace_back();
        query.sequence = std::move(sequences[s]);
        query.group = group();
        query.handed_over = handed_over;
        if (s < steps.size()) {
          query.relevant = steps[s].relevant;
          if (query.relevant.size() > steps[s].brought.size())
            query.named = steps[s].brought.front();
        }
      }
      if (s < steps.size())
        handed_over.insert(handed_over.end(), steps[s].brought.begin(), steps[s].brought.end());
    }
    const size_t most = options_.sequences_per_question;
    while (most > 0 && queries.size() > most)
      queries.erase(queries.begin() + static_cast<ptrdiff_t>(random_.below(queries.size())));
    return queries;
  }

  template <class DocumentAt>
  std::vector<Retrieval> retrievals(const SampleQuestion& question,
                                    const std::vector<size_t>& index,
                                    const DocumentAt& document_at) {
    std::vector<Retrieval> steps;
    // A document is handed over once, even if the sample has it several times.
    std::set<size_t> wanted;
    for (const std::vector<uint32_t>& from : question.steps) {
      std::vector<size_t> step;
      for (const uint32_t d : from)
        if (wanted.insert(index[d]).second) step.push_back(index[d]);
      if (step.empty()) continue;
      if (!options_.one_document_per_step) {
        steps.push_back({step, step});
        continue;
      }
      random_.shuffle(step);
      for (size_t i = 0; i < step.size(); ++i)
        steps.push_back({{step[i]}, {step.begin() + static_cast<ptrdiff_t>(i), step.end()}});
    }
    if (options_.detour_share > 0 && random_.chance(options_.detour_share)) {
      const auto before = static_cast<size_t>(random_.below(steps.size()));
      const auto detour = lookalike(document_at(steps[before].brought.front()), question, index,
                                    wanted, document_at);
      if (detour)
        steps.insert(steps.begin() + static_cast<ptrdiff_t>(before), {{*detour}, {}, true});
    }
    return steps;
  }

  // One of the sample's documents that shares many words with `of`, is not wanted, and does not
  // hold the answer.
  template <class DocumentAt>
  std::optional<size_t> lookalike(const Document& of, const SampleQuestion& question,
                                  const std::vector<size_t>& index, const std::set<size_t>& wanted,
                                  const DocumentAt& document_at) {
    constexpr size_t kLikest = 6;
    const std::vector<TokenId> opening = opening_of(of);
    std::vector<std::pair<size_t, size_t>> shared;  // tokens, document
    for (const size_t at : std::set<size_t>(index.begin(), index.end())) {
      if (wanted.contains(at)) continue;
      const Document& document = document_at(at);
      if (document.handed_over.find(question.answer) != std::string::npos) continue;
      std::vector<TokenId> both;
      std::ranges::set_intersection(opening, opening_of(document), std::back_inserter(both));
      shared.emplace_back(both.size(), at);
    }
    if (shared.empty()) return std::nullopt;
    std::ranges::sort(shared, std::greater());
    return shared[random_.below(std::min(shared.size(), kLikest))].second;
  }

  // Different tokens that a document begins with, ascending: its title, and what it is about.
  static std::vector<TokenId> opening_of(const Document& document) {
    constexpr size_t kTokens = 40;
    std::vector<TokenId> tokens(document.tokens.begin(),
                                document.tokens.begin() + static_cast<ptrdiff_t>(std::min(
                                                              kTokens, document.tokens.size())));
    std::ranges::sort(tokens);
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    return tokens;
  }

  // The answer of a model that reads the documents d of the only step in the order of place(d).
  template <class Place>
  static std::string answer_after(const SampleQuestion& question, const Place& place) {
    if (!question.values_in_reading_order) return question.answer;
    std::vector<std::pair<size_t, size_t>> order;  // where its document is read, value
    for (size_t v = 0; v < question.values.size(); ++v)
      order.emplace_back(place(question.steps.front()[v]), v);
    std::ranges::sort(order);
    std::string answer;
    for (const auto& [at, v] : order) answer += (answer.empty() ? "" : ", ") + question.values[v];
    return answer;
  }

  // Of the sample that is being added.
  int32_t group() const { return options_.share_documents ? 0 : static_cast<int32_t>(samples_); }

  // Adds the sample's questions as reading exercises, if their tokens fit.
  bool add_reading(const Sample& sample) {
    std::vector<NumberedDocument> documents;
    for (const SampleDocument& from : sample.documents) {
      NumberedDocument& document = documents.emplace_back();
      document.number = new_number();
      document.text = document_text(from.title, from.text);
      std::vector<TokenId> encoded = document_tokens(tokenizer_, document.number, document.text);
      cut(encoded, document.number, document.text);
    }
    // Of each question, the documents that answer it.
    std::vector<std::set<uint32_t>> needed;
    for (const SampleQuestion& question : sample.questions) {
      std::set<uint32_t>& all = needed.emplace_back();
      for (const std::vector<uint32_t>& step : question.steps) all.insert(step.begin(), step.end());
    }
    std::vector<size_t> left(sample.questions.size());
    for (size_t i = 0; i < left.size(); ++i) left[i] = i;
    std::vector<Query> queries;
    size_t tokens = 0;
    while (!left.empty()) {
      // Documents of the first question that is left, and of others while there is room for them.
      const size_t most = random_.between(1, options_.reading_documents);
      std::set<uint32_t> read = needed[left.front()];
      for (const size_t i : left) {
        std::set<uint32_t> both = read;
        both.insert(needed[i].begin(), needed[i].end());
        if (both.size() <= most) read = std::move(both);
      }
      std::vector<ReadingQuestion> questions;
      std::erase_if(left, [&](size_t i) {
        if (!std::includes(read.begin(), read.end(), needed[i].begin(), needed[i].end()))
          return false;
        const SampleQuestion& question = sample.questions[i];
        questions.push_back({question.question, answer_after(question, [&](uint32_t d) {
                               return static_cast<size_t>(documents[d].number);
                             })});
        return true;
      });
      random_.shuffle(questions);
      std::vector<NumberedDocument> handed_over;
      for (const uint32_t d : read) handed_over.push_back(documents[d]);
      Query& query = queries.emplace_back();
      query.sequence = reading_sequence(tokenizer_, handed_over, questions);
      query.group = -1;
      if (query.sequence.tokens.size() > longest_query()) return false;
      tokens += query.sequence.tokens.size();
    }
    if (tokens > budget() - tokens_) return false;
    tokens_ += tokens;
    ++samples_;
    std::move(queries.begin(), queries.end(), std::back_inserter(queries_));
    return true;
  }

  // A number that no other document of the step has. Where the lengths asked for have not enough
  // numbers, longer ones are taken too.
  uint32_t new_number() {
    size_t most_digits = options_.max_number_digits;
    while (numbers_.size() >= power_of_ten(most_digits) / 2) ++most_digits;
    for (;;) {
      const size_t digits = static_cast<size_t>(random_.between(1, most_digits));
      const uint64_t low = digits == 1 ? 0 : power_of_ten(digits - 1);
      const auto number = static_cast<uint32_t>(random_.between(low, power_of_ten(digits) - 1));
      if (numbers_.insert(number).second) return number;
    }
  }
  static uint64_t power_of_ten(size_t exponent) {
    uint64_t power = 1;
    while (exponent-- > 0) power *= 10;
    return power;
  }

  // Shortens a document that is too long, its closing number kept, and its text to the whole
  // characters that are left of it.
  void cut(std::vector<TokenId>& tokens, uint32_t number, std::string& text) const {
    const size_t most = longest_document();
    if (tokens.size() <= most) return;
    const std::vector<TokenId> end = tokenizer_.encode(fmt::format("[{}]{}", number, kImEnd));
    tokens.resize(most - std::min(end.size(), most));
    StreamDecoder decoder(tokenizer_);
    std::string left;
    for (const TokenId token : tokens) left += decoder.push(token);
    const std::string opening = fmt::format("{}[{}]. ", kImStart, number);
    text = left.substr(std::min(opening.size(), left.size()));
    tokens.insert(tokens.end(), end.begin(), end.end());
  }

  std::vector<TokenId> random_tokens(size_t count) {
    std::vector<TokenId> few, tokens;
    if (options_.repeat_vocabulary > 0)
      for (uint64_t i = random_.between(kFewestDistinct, options_.repeat_vocabulary); i > 0; --i)
        few.push_back(random_.pick(ordinary_));
    const std::span<const TokenId> from = few.empty() ? ordinary_ : few;
    for (size_t i = 0; i < count; ++i) tokens.push_back(random_.pick(from));
    return tokens;
  }

  // Of tokens whose second half is the first again: the place from which on that is sure, because
  // the second half up to it occurs nowhere else. Their number, if there is none.
  static size_t first_known(const std::vector<TokenId>& tokens) {
    const auto middle = tokens.begin() + static_cast<ptrdiff_t>(tokens.size() / 2);
    for (auto seen = middle; seen != tokens.end(); ++seen)
      if (std::search(tokens.begin() + 1, seen + 1, middle, seen + 1) == middle)
        return static_cast<size_t>(seen - tokens.begin());
    return tokens.size();
  }

  // Fills what the budget keeps free with sequences of random tokens that come twice.
  void add_repeats() {
    size_t left = options_.tokens - budget();
    while (left >= 2 * kFewestRepeated) {
      const size_t half = std::min<size_t>(
          {static_cast<size_t>(random_.between(kFewestRepeated, options_.repeat_tokens)), left / 2,
           longest_query() / 2});
      Query& query = queries_.emplace_back();
      query.group = -1;
      query.repeats = true;
      QuerySequence& sequence = query.sequence;
      // Few tokens, and fewer that differ, may never tell which part of them is said again.
      constexpr int kDraws = 8;
      size_t known = 2 * half;
      for (int draw = 0; draw < kDraws && known + 1 >= 2 * half; ++draw) {
        sequence.tokens = random_tokens(half);
        for (size_t i = 0; i < half; ++i) sequence.tokens.push_back(sequence.tokens[i]);
        known = first_known(sequence.tokens);
      }
      sequence.routes.assign(2 * half, 0);
      sequence.kinds.assign(2 * half, LabelKind::text);
      sequence.labels.assign(2 * half, -1);
      for (size_t i = known; i + 1 < 2 * half; ++i) sequence.labels[i] = sequence.tokens[i + 1];
      left -= 2 * half;
    }
  }

  void append(const Query& query, const std::vector<int32_t>& place, Batch& batch) const {
    const QuerySequence& sequence = query.sequence;
    for (size_t t = 0; t < sequence.tokens.size(); ++t) {
      TokenId label = sequence.labels[t];
      LabelKind kind = sequence.kinds[t];
      float weight = 0;
      if (label >= 0) {
        weight = query.repeats               ? 1
                 : kind == LabelKind::number ? options_.number_weight
                                             : options_.answer_weight;
      } else if (options_.text_weight > 0 && t + 1 < sequence.tokens.size() && !query.repeats) {
        label = sequence.tokens[t + 1];
        kind = LabelKind::text;
        weight = options_.text_weight;
      }
      batch.labels.push_back(weight > 0 ? label : -1);
      batch.label_weights.push_back(weight);
      batch.label_kinds.push_back(kind);
    }
    batch.query_tokens.insert(batch.query_tokens.end(), sequence.tokens.begin(),
                              sequence.tokens.end());
    batch.routes.insert(batch.routes.end(), sequence.routes.begin(), sequence.routes.end());
    batch.query_starts.push_back(static_cast<int32_t>(batch.query_tokens.size()));
    batch.query_group.push_back(query.group);
    const auto add_places = [&](const std::vector<size_t>& documents, std::vector<int32_t>& all,
                                std::vector<int32_t>& starts) {
      const size_t before = all.size();
      for (const size_t d : documents) all.push_back(place[d]);
      std::sort(all.begin() + static_cast<ptrdiff_t>(before), all.end());
      starts.push_back(static_cast<int32_t>(all.size()));
    };
    add_places(query.relevant, batch.relevant, batch.relevant_starts);
    add_places(query.handed_over, batch.handed_over, batch.handed_over_starts);
    batch.named.push_back(query.named ? place[*query.named] : -1);
  }

  const Tokenizer& tokenizer_;
  std::span<const TokenId> ordinary_;
  const BatchOptions& options_;
  Random random_;
  std::vector<TokenId> prefix_;
  std::vector<Document> documents_;
  std::unordered_map<std::string_view, size_t> known_;  // documents by their text
  std::vector<Query> queries_;
  std::set<uint32_t> numbers_;
  size_t tokens_ = 0, samples_ = 0;
};

class StreamBatcher final : public Batcher {
 public:
  StreamBatcher(std::shared_ptr<const Tokenizer> tokenizer, std::unique_ptr<SampleSource> source,
                const BatchOptions& options, std::vector<TokenId> ordinary, uint64_t seed)
      : tokenizer_(std::move(tokenizer)),
        source_(std::move(source)),
        options_(options),
        ordinary_(std::move(ordinary)),
        seed_(seed ^ kSeedOfBatches) {}

  Result<Batch> next() override {
    Step step(*tokenizer_, ordinary_, options_, Random(seed_, steps_));
    size_t too_long = 0;
    while (!step.full()) {
      if (!waiting_) {
        const uint64_t position = source_->position();
        MSA_ASSIGN(Sample sample, source_->next());
        if (const std::string problem = sample_problem(sample); !problem.empty())
          return Error{Code::invalid_argument, fmt::format("{}: {}", sample.where, problem)};
        // By its position, so that a sample which waits for the next batch, or is drawn again after
        // a restart, stays what it is.
        const double share = sample.reading_share.value_or(options_.reading_share);
        waiting_reads_ = Random(seed_ ^ kSeedOfReading, position).chance(share);
        waiting_ = std::move(sample);
      }
      if (step.add(*waiting_, waiting_reads_)) {
        waiting_.reset();
        continue;
      }
      if (!step.empty()) break;
      ++skipped_;
      const std::string where = std::exchange(waiting_, std::nullopt)->where;
      if (++too_long == kMostSkippedInARow)
        return Error{Code::invalid_argument,
                     fmt::format("{}: the last of {} samples in a row that are longer than a batch "
                                 "of {} tokens{}; raise batch.tokens or lower "
                                 "batch.max_document_tokens",
                                 where, too_long, options_.tokens, model_limit())};
    }
    ++steps_;
    Batch batch = step.finish();
    batch.samples_skipped = too_long;
    return batch;
  }

  std::string state() const override {
    // A sample that waits is drawn again.
    return nlohmann::json{{"position", source_->position() - (waiting_ ? 1 : 0)},
                          {"steps", steps_},
                          {"skipped", skipped_}}
        .dump();
  }

  Result<void> restore(const std::string& state) override {
    const nlohmann::json json = nlohmann::json::parse(state, nullptr, /*allow_exceptions=*/false);
    uint64_t values[3];
    const char* keys[] = {"position", "steps", "skipped"};
    for (size_t i = 0; i < 3; ++i) {
      if (!json.is_object() || !json.contains(keys[i]) || !json[keys[i]].is_number_unsigned())
        return Error{Code::corrupt,
                     fmt::format("batcher state: no whole number \"{}\"; the state was not written "
                                 "by this program",
                                 keys[i])};
      values[i] = json[keys[i]].get<uint64_t>();
    }
    if (values[0] > kMostSamples)
      return Error{Code::corrupt, fmt::format("batcher state: position {} is more samples than any "
                                              "training sees; the state was not written by this "
                                              "program",
                                              values[0])};
    MSA_TRY(source_->skip_to(values[0]));
    waiting_.reset();
    steps_ = values[1];
    skipped_ = values[2];
    return {};
  }

  uint64_t samples_skipped() const override { return skipped_; }

 private:
  static constexpr size_t kMostSkippedInARow = 1000;
  static constexpr uint64_t kMostSamples = 10'000'000'000;

  // What else a sample may be too long for, for messages.
  std::string model_limit() const {
    if (options_.max_sequence_tokens == 0) return {};
    return fmt::format(" or have a sequence of more than the {} that the model takes",
                       options_.max_sequence_tokens);
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<SampleSource> source_;
  BatchOptions options_;
  std::vector<TokenId> ordinary_;  // for repeats
  uint64_t seed_, steps_ = 0, skipped_ = 0;
  std::optional<Sample> waiting_;  // did not fit into the batch before
  bool waiting_reads_ = false;     // whether it is to become a reading exercise
};

}  // namespace

Result<std::unique_ptr<Batcher>> Batcher::create(std::shared_ptr<const Tokenizer> tokenizer,
                                                 std::unique_ptr<SampleSource> source,
                                                 const BatchOptions& options, uint64_t seed) {
  MSA_TRY(check(options));
  MSA_TRY(check_prompt_tokens(*tokenizer));
  std::vector<TokenId> ordinary;
  if (options.repeat_share > 0) {
    ordinary = ordinary_tokens(*tokenizer);
    if (ordinary.empty())
      return Error{Code::mismatch,
                   "tokenizer: has special tokens only, nothing that could be repeated; set "
                   "batch.repeat_share to 0"};
  }
  return std::make_unique<StreamBatcher>(std::move(tokenizer), std::move(source), options,
                                         std::move(ordinary), seed);
}

}  // namespace msa
