#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

namespace msa {
namespace {

bool continues_character(char byte) {
  return (static_cast<uint8_t>(byte) & 0xc0) == 0x80;
}

utf8proc_int32_t first_character(std::string_view text) {
  utf8proc_int32_t character = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &character);
  return character;
}

// The last character of a text and what stands before it, which is its new end.
utf8proc_int32_t pop_character(std::string_view& text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && continues_character(text[begin])) --begin;
  const utf8proc_int32_t character = first_character(text.substr(begin));
  text = text.substr(0, begin);
  return character;
}

// Unicode's White_Space.
bool is_space(utf8proc_int32_t c) {
  return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

// A word character as Unicode's regular expressions define it (UTS 18, annex C): alphabetic, mark,
// decimal digit, connector punctuation, join control.
bool is_word(utf8proc_int32_t c) {
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
  }
  // Letters in circles and squares are symbols by category, and alphabetic all the same.
  return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
         (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
         (c >= 0x1f170 && c <= 0x1f189);
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word(pop_character(text));
}

bool begins_with_word(std::string_view text) {
  return !text.empty() && is_word(first_character(text));
}

size_t without_trailing_space(std::string_view text) {
  size_t end = text.size();
  while (!text.empty() && is_space(pop_character(text))) end = text.size();
  return end;
}

size_t leading_space(std::string_view text) {
  size_t length = 0;
  while (length < text.size() && is_space(first_character(text.substr(length)))) {
    do ++length;
    while (length < text.size() && continues_character(text[length]));
  }
  return length;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const auto& a, const auto& b) { return a.content < b.content; });
  for (const AddedToken& token : tokens_) begins_[static_cast<uint8_t>(token.content[0])] = true;
}

std::optional<AddedTokenFinder::Match> AddedTokenFinder::next(std::string_view text, size_t from,
                                                              size_t taken) const {
  if (tokens_.empty()) return std::nullopt;
  for (size_t at = from; at < text.size();) {
    const AddedToken* token =
        begins_[static_cast<uint8_t>(text[at])] ? longest_at(text.substr(at)) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    Match match{at, at + token->content.size(), token->id};
    if (token->single_word &&
        (ends_with_word(text.substr(0, match.begin)) || begins_with_word(text.substr(match.end)))) {
      at = match.end;
      continue;
    }
    if (token->lstrip)
      match.begin = taken + without_trailing_space(text.substr(taken, match.begin - taken));
    if (token->rstrip) match.end += leading_space(text.substr(match.end));
    return match;
  }
  return std::nullopt;
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text) const {
  // Narrows the tokens that agree with the text down, byte by byte.
  const AddedToken* longest = nullptr;
  auto begin = tokens_.begin(), end = tokens_.end();
  for (size_t length = 0; length < text.size() && begin != end; ++length) {
    const auto byte_of = [&](const AddedToken& token) {  // -1: the token is over
      return length < token.content.size() ? int{static_cast<uint8_t>(token.content[length])} : -1;
    };
    const int byte = static_cast<uint8_t>(text[length]);
    begin = std::partition_point(begin, end, [&](const auto& t) { return byte_of(t) < byte; });
    end = std::partition_point(begin, end, [&](const auto& t) { return byte_of(t) <= byte; });
    if (begin != end && begin->content.size() == length + 1) longest = &*begin;
  }
  return longest;
}

std::optional<TokenId> AddedTokenFinder::find(std::string_view content) const {
  const auto at =
      std::partition_point(tokens_.begin(), tokens_.end(),
                           [&](const AddedToken& token) { return token.content < content; });
  if (at == tokens_.end() || at->content != content) return std::nullopt;
  return at->id;
}

}  // namespace msa
