#include "engine/number_constraint.h"

#include <algorithm>

namespace msa {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

NumberConstraint::NumberConstraint(const Tokenizer& tokenizer, std::span<const uint32_t> numbers)
    : tokenizer_(tokenizer) {
  numbers_.reserve(numbers.size());
  for (const uint32_t number : numbers) numbers_.push_back(std::to_string(number));
  std::sort(numbers_.begin(), numbers_.end());
  numbers_.erase(std::unique(numbers_.begin(), numbers_.end()), numbers_.end());

  const size_t vocabulary = tokenizer_.vocabulary_size();
  inside_mask_.assign(vocabulary, 0);
  for (size_t i = 0; i < vocabulary; ++i) {
    const TokenId token = static_cast<TokenId>(i);
    const std::string_view bytes = tokenizer_.token_bytes(token);
    if (bytes.empty()) continue;
    if (is_digit(bytes.front()) || bytes.front() == ']') continuations_.push_back(token);
    if (bytes.find('[') == std::string_view::npos || can_follow(State{}, token)) continue;
    if (outside_mask_.empty()) outside_mask_.assign(vocabulary, 1);
    outside_mask_[i] = 0;
  }
}

// Advances over one byte; false if it may not stand here. The state follows the text either way.
bool NumberConstraint::step(State& state, char byte) const {
  if (!state.open) {
    if (byte != '[') return true;
    state.open = true;
    state.digits.clear();
    return !numbers_.empty();
  }
  if (is_digit(byte)) {
    state.digits.push_back(byte);
    return is_prefix(state.digits);
  }
  state.open = byte == '[';
  const bool complete =
      byte == ']' && std::binary_search(numbers_.begin(), numbers_.end(), state.digits);
  state.digits.clear();
  return complete;
}

bool NumberConstraint::can_follow(const State& state, TokenId token) const {
  State after = state;
  for (const char byte : tokenizer_.token_bytes(token))
    if (!step(after, byte)) return false;
  return true;
}

bool NumberConstraint::is_prefix(std::string_view digits) const {
  const auto first = std::lower_bound(numbers_.begin(), numbers_.end(), digits);
  return first != numbers_.end() && first->starts_with(digits);
}

void NumberConstraint::push(std::string_view text) {
  for (const char byte : text) step(state_, byte);
}

std::span<const uint8_t> NumberConstraint::allowed() {
  if (!state_.open) return outside_mask_;
  for (const TokenId token : inside_allowed_) inside_mask_[static_cast<size_t>(token)] = 0;
  inside_allowed_.clear();
  for (const TokenId token : continuations_) {
    if (!can_follow(state_, token)) continue;
    inside_mask_[static_cast<size_t>(token)] = 1;
    inside_allowed_.push_back(token);
  }
  // Text that was not generated under this constraint can lead to where nothing fits.
  return inside_allowed_.empty() ? std::span<const uint8_t>() : inside_mask_;
}

}  // namespace msa
