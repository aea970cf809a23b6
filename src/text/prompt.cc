#include "text/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace msa {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\r\f\v";

void append(std::vector<TokenId>& tokens, const std::vector<TokenId>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhiteSpace) + 1 - begin);
}

}  // namespace

std::string document_text(std::string_view title, std::string_view text) {
  if (title.empty()) return std::string(text);
  return fmt::format("{}\n{}", title, text);
}

std::vector<TokenId> document_tokens(const Tokenizer& tokenizer, uint32_t number,
                                     std::string_view text) {
  return tokenizer.encode(fmt::format("{}[{}]. {}[{}]{}", kImStart, number, text, number, kImEnd));
}

std::vector<TokenId> prefix_tokens(const Tokenizer& tokenizer) {
  return tokenizer.encode(fmt::format("{}user\n", kImStart));
}

QuestionTokens question_tokens(const Tokenizer& tokenizer, std::string_view question) {
  const std::string block = fmt::format(
      "\nPlease answer the question based on the above historical document information\n\n"
      "{}\nPlease return all documents related to the question\n",
      question);
  QuestionTokens made;
  made.tokens = tokenizer.encode(block);
  made.routing = made.tokens.size();
  const std::vector<TokenId> later =
      tokenizer.encode(std::string_view(block).substr(0, block.size() - 1));
  const auto differ =
      std::mismatch(made.tokens.begin(), made.tokens.end(), later.begin(), later.end());
  made.routing_later = static_cast<size_t>(differ.first - made.tokens.begin());
  append(made.tokens, tokenizer.encode(fmt::format("{}\n", kImEnd)));
  append(made.tokens, tokenizer.encode(kImStart));
  return made;
}

InjectedTokens injected_tokens(const Tokenizer& tokenizer,
                               std::span<const InjectedDocument> documents) {
  std::string text;
  for (const InjectedDocument& document : documents)
    text += fmt::format("[{}]. {}\n", document.number, document.text);
  InjectedTokens made;
  made.tokens = tokenizer.encode(text);
  made.routing = made.tokens.size();
  append(made.tokens, tokenizer.encode(kRoundEnd));
  return made;
}

std::vector<TokenId> answer_request_tokens(const Tokenizer& tokenizer, std::string_view question) {
  return tokenizer.encode(
      fmt::format("{}The user's question is: {}\n{}", kImStart, question, kRoundEnd));
}

Result<void> check_prompt_tokens(const Tokenizer& tokenizer) {
  for (const std::string_view token : {kImStart, kImEnd, kRoundEnd}) {
    const std::vector<TokenId> tokens = tokenizer.encode(token);
    if (tokens.size() != 1 || tokens[0] != tokenizer.find(token))
      return Error{Code::mismatch,
                   fmt::format("tokenizer: reads \"{}\" as {} tokens, prompts need it to be one; "
                               "use the tokenizer.json that came with the model",
                               token, tokens.size())};
  }
  return {};
}

std::vector<uint32_t> cited_numbers(std::string_view text) {
  std::vector<uint32_t> numbers;
  for (size_t open = text.find('['); open != std::string_view::npos;
       open = text.find('[', open + 1)) {
    const char* begin = text.data() + open + 1;
    const char* end = text.data() + text.size();
    uint32_t number = 0;
    const auto [stop, problem] = std::from_chars(begin, end, number);
    if (problem == std::errc() && stop != end && *stop == ']') numbers.push_back(number);
  }
  return numbers;
}

std::string answer_of(std::string_view text) {
  if (const size_t lead = text.find(kAnswerLead); lead != std::string_view::npos)
    text.remove_prefix(lead + kAnswerLead.size());
  return std::string(trimmed(text.substr(0, text.find(kImEnd))));
}

}  // namespace msa
