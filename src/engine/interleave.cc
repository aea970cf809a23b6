#include "engine/interleave.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <utility>

#include "engine/number_constraint.h"
#include "text/utf8.h"

namespace msa {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n\f\v";

// Passes on the answer within the text a model writes, piece by piece: without the lead and the
// white space around it, and nothing from kImEnd on. Holds back what may still turn out to be one
// of these.
class AnswerStream {
 public:
  // The part of the answer that has become certain.
  std::string push(std::string_view piece) {
    if (ended_) return {};
    held_ += piece;
    if (phase_ != Phase::answer) drop_leading_space();
    if (phase_ == Phase::lead) {
      if (held_.size() < kAnswerLead.size() && kAnswerLead.starts_with(held_)) return {};
      if (held_.starts_with(kAnswerLead)) held_.erase(0, kAnswerLead.size());
      drop_leading_space();
      phase_ = Phase::space;
    }
    if (held_.empty()) return {};
    phase_ = Phase::answer;
    if (const size_t end = held_.find(kImEnd); end != std::string::npos) {
      ended_ = true;
      held_.resize(end);
      return finish();
    }
    const size_t certain = without_trailing_space(held_.size() - length_of_begun_end());
    std::string out = held_.substr(0, certain);
    held_.erase(0, certain);
    return out;
  }
  // The rest, when the text is complete.
  std::string finish() {
    if (phase_ != Phase::answer) drop_leading_space();
    held_.resize(without_trailing_space(held_.size()));
    return std::exchange(held_, {});
  }
  bool ended() const { return ended_; }  // kImEnd was in the text

 private:
  enum class Phase { lead, space, answer };

  void drop_leading_space() { held_.erase(0, held_.find_first_not_of(kWhiteSpace)); }
  // The length of the first `size` bytes of held_ without the white space they end in.
  size_t without_trailing_space(size_t size) const {
    return std::string_view(held_).substr(0, size).find_last_not_of(kWhiteSpace) + 1;
  }
  // Bytes at the end of held_ that kImEnd may have begun with.
  size_t length_of_begun_end() const {
    for (size_t n = std::min(held_.size(), kImEnd.size() - 1); n > 0; --n)
      if (held_.ends_with(kImEnd.substr(0, n))) return n;
    return 0;
  }

  std::string held_;
  Phase phase_ = Phase::lead;
  bool ended_ = false;
};

class Interleave {
 public:
  Interleave(InterleaveModel& model, std::string_view question, const AskOptions& options,
             const TokenCallback& on_token, std::stop_token stop,
             const std::function<void()>& now_generated)
      : model_(model),
        question_(question),
        options_(options),
        on_token_(on_token),
        stop_(std::move(stop)),
        now_generated_(now_generated),
        round_end_(model.tokenizer().find(kRoundEnd)) {}

  Result<InterleaveResult> run() {
    assert(options_.max_rounds > 0 && options_.max_tokens > 0);
    QuestionTokens question = question_tokens(model_.tokenizer(), question_);
    question_routing_ = question.routing;
    question_routing_later_ = question.routing_later;
    prompt_ = std::move(question.tokens);
    if (options_.retrieval == Retrieval::router)
      MSA_TRY(retrieve_by_router());
    else
      MSA_TRY(retrieve_by_numbers());
    if (!finished()) MSA_TRY(answer());
    result_.completion_tokens = generated_;
    result_.prompt_tokens = prompt_.size() - generated_;
    return std::move(result_);
  }

 private:
  enum class RoundEnd { closed, end_of_retrieve, characters, unfinished };

  bool finished() const { return !result_.finish.empty(); }
  void finish(const char* why) {
    if (!finished()) result_.finish = why;
  }
  bool cancelled() {
    if (stop_.stop_requested()) finish("cancelled");
    return result_.finish == "cancelled";
  }

  void emit(TokenEvent::Kind kind, std::string_view text, std::span<const uint32_t> numbers = {}) {
    if (!on_token_ || cancelled() || (text.empty() && numbers.empty())) return;
    if (!on_token_({kind, text, numbers})) finish("cancelled");
  }

  // Routes and reads the whole prompt; a new entry in result_.rounds. Does nothing when finished.
  Result<void> begin_round() {
    if (finished() || cancelled()) return {};
    const bool first = result_.rounds.empty();
    std::vector<uint8_t> routes(prompt_.size(), 0);
    std::fill_n(routes.begin(), first ? question_routing_ : question_routing_later_, uint8_t{1});
    std::fill_n(routes.begin() + static_cast<std::ptrdiff_t>(handed_over_at_), handed_over_routing_,
                uint8_t{1});
    const std::vector<uint32_t> handed_over(named_.begin(), named_.end());
    MSA_TRY(model_.prefill(prompt_, routes, handed_over));
    read_ = prompt_.size();
    MSA_ASSIGN(Routing routing, model_.routing());
    result_.rounds.emplace_back().routing = std::move(routing);
    return {};
  }

  // Gives the model what it has not read of the prompt, without routing.
  Result<void> catch_up() {
    if (read_ < prompt_.size()) MSA_TRY(model_.append(std::span(prompt_).subspan(read_)));
    read_ = prompt_.size();
    return {};
  }

  Result<TokenId> generate(std::span<const uint8_t> allowed) {
    const TokenId token = model_.sample(allowed);
    if (token < 0)
      return Error{Code::internal,
                   "the model: its output is not a number for any token; check the checkpoint, or "
                   "compute in float32"};
    prompt_.push_back(token);
    ++generated_;
    if (now_generated_) now_generated_();
    return token;
  }

  Result<void> retrieve_by_numbers() {
    for (size_t round = 0; round < options_.max_rounds; ++round) {
      MSA_TRY(begin_round());
      if (finished()) return {};
      std::optional<NumberConstraint> constraint;
      if (options_.constrain_numbers) {
        const std::vector<uint32_t> wanted = routed_and_new();
        if (wanted.empty()) return {};
        constraint.emplace(model_.tokenizer(), wanted);
      }
      MSA_ASSIGN(const RoundEnd end, generate_round(constraint ? &*constraint : nullptr));
      if (end == RoundEnd::unfinished) return {};
      // A number after the marker is not part of the retrieval.
      const std::string_view text = result_.rounds.back().generated;
      MSA_TRY(hand_over(cited_numbers(text.substr(0, text.find(kEndOfRetrieve)))));
      const bool last = end != RoundEnd::closed || result_.rounds.back().numbers.empty() ||
                        !options_.original_text;
      if (finished() || last) return {};
    }
    return {};
  }

  Result<void> retrieve_by_router() {
    MSA_TRY(begin_round());
    if (finished()) return {};
    std::vector<uint32_t> best;
    for (const RoutedDocument& routed : result_.rounds.back().routing.ranking) {
      if (best.size() == options_.router_documents) break;
      best.push_back(routed.number);
    }
    return hand_over(std::move(best));
  }

  // Documents that this round routed to and whose text is not in the prompt.
  std::vector<uint32_t> routed_and_new() const {
    std::set<uint32_t> numbers;
    for (const LayerRouting& layer : result_.rounds.back().routing.layers)
      for (const RoutedDocument& routed : layer.documents)
        if (!named_.contains(routed.number)) numbers.insert(routed.number);
    return {numbers.begin(), numbers.end()};
  }

  // Generates one round's text into result_.rounds.back(). The token that ends it is part of the
  // prompt, but not read by the model yet.
  Result<RoundEnd> generate_round(NumberConstraint* constraint) {
    StreamDecoder decoder(model_.tokenizer());
    std::string& text = result_.rounds.back().generated;
    size_t characters = 0;
    const auto take = [&](const std::string& piece) {
      text += piece;
      characters += count_characters(piece);
      emit(TokenEvent::Kind::retrieval, piece);
    };
    while (!cancelled()) {
      MSA_ASSIGN(const TokenId token,
                 generate(constraint ? constraint->allowed() : std::span<const uint8_t>()));
      const bool closes = token == round_end_ || model_.is_end(token);
      const size_t before = text.size();
      take(closes ? decoder.finish() : decoder.push(token));
      if (generated_ >= options_.max_tokens) finish("length");
      if (finished()) break;
      if (closes) return RoundEnd::closed;
      const size_t overlap = std::min(before, kEndOfRetrieve.size() - 1);
      if (text.find(kEndOfRetrieve, before - overlap) != std::string::npos)
        return RoundEnd::end_of_retrieve;
      if (characters >= options_.max_retrieval_characters) return RoundEnd::characters;
      if (constraint) constraint->push(model_.tokenizer().token_bytes(token));
      MSA_TRY(catch_up());
    }
    return RoundEnd::unfinished;
  }

  // Cites those of `numbers` that exist and are new, and adds their texts to the prompt.
  Result<void> hand_over(std::vector<uint32_t> numbers) {
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    std::vector<InjectedDocument> documents;
    Round& round = result_.rounds.back();
    for (const uint32_t number : numbers) {
      if (named_.contains(number)) continue;
      MSA_ASSIGN(std::optional<Citation> citation, model_.document(number));
      if (!citation) continue;
      documents.push_back({number, document_text(citation->title, citation->text)});
      named_.insert(number);
      round.numbers.push_back(number);
      result_.citations.push_back(std::move(*citation));
    }
    if (documents.empty() || !options_.original_text) return {};
    const InjectedTokens injected = injected_tokens(model_.tokenizer(), documents);
    handed_over_at_ = prompt_.size();
    handed_over_routing_ = injected.routing;
    prompt_.insert(prompt_.end(), injected.tokens.begin(), injected.tokens.end());
    emit(TokenEvent::Kind::documents, {}, round.numbers);
    return {};
  }

  Result<void> answer() {
    const std::vector<TokenId> request = answer_request_tokens(model_.tokenizer(), question_);
    prompt_.insert(prompt_.end(), request.begin(), request.end());
    // The request does not route, so it can be read together with what does.
    if (options_.retrieval == Retrieval::router && handed_over_routing_ > 0 &&
        result_.rounds.size() < options_.max_rounds)
      MSA_TRY(begin_round());
    else
      MSA_TRY(catch_up());

    StreamDecoder decoder(model_.tokenizer(), /*special=*/false);
    AnswerStream stream;
    std::string text;
    const auto take = [&](const std::string& piece) {
      text += piece;
      emit(TokenEvent::Kind::answer, stream.push(piece));
    };
    while (!finished() && !cancelled()) {
      MSA_ASSIGN(const TokenId token, generate({}));
      if (!model_.is_end(token)) take(decoder.push(token));
      if (model_.is_end(token) || stream.ended()) finish("stop");
      if (generated_ >= options_.max_tokens) finish("length");
      if (!finished()) MSA_TRY(catch_up());
    }
    take(decoder.finish());
    emit(TokenEvent::Kind::answer, stream.finish());
    result_.answer = answer_of(text);
    return {};
  }

  InterleaveModel& model_;
  std::string_view question_;
  const AskOptions& options_;
  const TokenCallback& on_token_;
  std::stop_token stop_;
  const std::function<void()>& now_generated_;
  std::optional<TokenId> round_end_;

  // Everything so far, question, generated tokens and texts, as the model reads it; the model has
  // read the first read_ tokens.
  std::vector<TokenId> prompt_;
  size_t read_ = 0;
  size_t question_routing_ = 0, question_routing_later_ = 0;
  size_t handed_over_at_ = 0, handed_over_routing_ = 0;  // where the last texts are in prompt_
  std::set<uint32_t> named_;                             // documents cited already
  size_t generated_ = 0;
  InterleaveResult result_;
};

}  // namespace

Result<InterleaveResult> run_interleave(InterleaveModel& model, std::string_view question,
                                        const AskOptions& options, const TokenCallback& on_token,
                                        std::stop_token stop,
                                        const std::function<void()>& now_generated) {
  return Interleave(model, question, options, on_token, std::move(stop), now_generated).run();
}

}  // namespace msa
