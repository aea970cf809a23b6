#include "samples/sequence.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/prompt.h"

namespace msa {
namespace {

void append(std::vector<TokenId>& tokens, const std::vector<TokenId>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

// A sequence that ends in `target`, which is what the model is to write after `context`.
void append_target(QuerySequence& query, const std::vector<TokenId>& target, LabelKind kind) {
  query.labels.resize(query.tokens.size(), -1);
  query.kinds.resize(query.tokens.size(), kind);
  for (const TokenId token : target) {
    query.labels.back() = token;
    query.kinds.back() = kind;
    query.tokens.push_back(token);
    query.routes.push_back(0);
    query.labels.push_back(-1);
    query.kinds.push_back(kind);
  }
}

// What a round writes and gets for some documents, which are put into the order of their numbers.
struct Round {
  std::vector<TokenId> target;
  InjectedTokens texts;
};
Round retrieval_round(const Tokenizer& tokenizer, const std::vector<NumberedDocument>& brought) {
  std::vector<const NumberedDocument*> documents;
  for (const NumberedDocument& document : brought) documents.push_back(&document);
  std::sort(documents.begin(), documents.end(),
            [](const auto* a, const auto* b) { return a->number < b->number; });
  std::string numbers;
  std::vector<InjectedDocument> injected;
  for (const NumberedDocument* document : documents) {
    numbers += fmt::format("[{}]", document->number);
    injected.push_back({document->number, document->text});
  }
  Round round{tokenizer.encode(numbers), injected_tokens(tokenizer, injected)};
  append(round.target, tokenizer.encode(kRoundEnd));
  return round;
}

// The request to answer a question, and the answer.
void append_answer(const Tokenizer& tokenizer, QuerySequence& query, const std::string& question,
                   const std::string& answer) {
  append(query.tokens, answer_request_tokens(tokenizer, question));
  query.routes.resize(query.tokens.size(), 0);
  append_target(query, tokenizer.encode(fmt::format("{} {}{}", kAnswerLead, answer, kImEnd)),
                LabelKind::answer);
}

}  // namespace

std::vector<QuerySequence> question_sequences(
    const Tokenizer& tokenizer, const std::string& question, const std::string& answer,
    const std::vector<std::vector<NumberedDocument>>& steps) {
  const QuestionTokens start = question_tokens(tokenizer, question);

  std::vector<QuerySequence> queries;
  std::vector<TokenId> prompt = start.tokens;
  size_t handed_over_at = 0, handed_over_routing = 0;
  const auto begin = [&](bool first) {
    QuerySequence& query = queries.emplace_back();
    query.tokens = prompt;
    query.routes.assign(prompt.size(), 0);
    std::fill_n(query.routes.begin(), first ? start.routing : start.routing_later, uint8_t{1});
    std::fill_n(query.routes.begin() + static_cast<std::ptrdiff_t>(handed_over_at),
                handed_over_routing, uint8_t{1});
    return queries.size() - 1;
  };

  for (size_t s = 0; s < steps.size(); ++s) {
    const Round round = retrieval_round(tokenizer, steps[s]);
    append_target(queries[begin(s == 0)], round.target, LabelKind::number);
    append(prompt, round.target);
    handed_over_at = prompt.size();
    handed_over_routing = round.texts.routing;
    append(prompt, round.texts.tokens);
  }

  QuerySequence& query = queries[begin(steps.empty())];
  append_target(query, tokenizer.encode(kEndOfRetrieve), LabelKind::answer);
  append_answer(tokenizer, query, question, answer);
  return queries;
}

QuerySequence reading_sequence(const Tokenizer& tokenizer,
                               const std::vector<NumberedDocument>& documents,
                               const std::vector<ReadingQuestion>& questions) {
  const Round round = retrieval_round(tokenizer, documents);
  QuerySequence query;
  query.tokens = question_tokens(tokenizer, questions.front().question).tokens;
  append(query.tokens, round.target);
  append(query.tokens, round.texts.tokens);
  query.routes.resize(query.tokens.size(), 0);
  append_target(query, tokenizer.encode(kEndOfRetrieve), LabelKind::answer);
  for (const ReadingQuestion& one : questions)
    append_answer(tokenizer, query, one.question, one.answer);
  return query;
}

}  // namespace msa
