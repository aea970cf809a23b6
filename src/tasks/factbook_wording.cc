#include "tasks/factbook_wording.h"

#include <array>

#include "tasks/factbook_names.h"

namespace msa::factbook {
namespace {

constexpr std::array<std::string_view, 26> kNounFrames = {
    "What {is} {n}?",
    "Tell me {n}.",
    "Can you tell me {n}?",
    "I would like to know {n}.",
    "~Would you like to tell me {n}?",
    "Please look up {n}.",
    "~Can you look up {n}?",
    "Do you know {n}?",
    "What do the documents give as {n}?",
    "Please find {n}.",
    "Could you find out {n} for me?",
    "~Could you tell me {n}?",
    "Give me {n}, please.",
    "~Please give me {n}.",
    "I need to know {n}.",
    "~I need {n}.",
    "What {is} {n}, please?",
    "Someone asked me for {n}. What should I say?",
    "~Please find out {n} for me.",
    "I forgot {n}; please remind me.",
    "For my notes I still lack {n}.",
    "Would you mind telling me {n}?",
    "I wonder what {n} might be.",
    "May I ask what {n} {is}?",
    "Let me know {n}, please.",
    "I am looking for {n}.",
};

// Whether a long clause can stand at {c}: "the country whose capital is Ndola" must not be followed
// by much more of the sentence.
bool takes_clause(std::string_view phrase) {
  constexpr size_t kMaxBytesAfter = 9;  // " produce?"
  const size_t at = phrase.find("{c}");
  if (at == std::string_view::npos) return false;
  std::string_view after = phrase.substr(at + 3);
  if (after.starts_with(" in {y}")) after.remove_prefix(7);
  return after.size() <= kMaxBytesAfter && !after.starts_with("'s") &&
         after.find('{') == std::string_view::npos;
}

// The same for noun phrases that end in a clause, at {n}.
bool frames_clause(std::string_view frame) {
  const std::string_view after = frame.substr(frame.find("{n}") + 3);
  return after.size() <= 1 || after.front() == ',' || after == " {is}?";
}

}  // namespace

std::span<const std::string_view> noun_frames() {
  return kNounFrames;
}

std::vector<std::string_view> of_split(std::span<const std::string_view> phrases, Split split) {
  std::vector<std::string_view> kept;
  for (const std::string_view phrase : phrases) {
    const bool held_out = phrase.starts_with('~');
    if (held_out == (split == Split::test)) kept.push_back(phrase.substr(held_out ? 1 : 0));
  }
  return kept;
}

void put(std::string& text, std::string_view slot, std::string_view value) {
  for (size_t at = text.find(slot); at != std::string::npos;
       at = text.find(slot, at + value.size())) {
    text.replace(at, slot.size(), value);
    const size_t end = at + value.size();
    if (value.starts_with("the ") && value.ends_with('s') && text.compare(end, 2, "'s") == 0)
      text.erase(end + 1, 1);
  }
}

void capitalize(std::string& text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z')
    text[0] = static_cast<char>(text[0] - 'a' + 'A');
}

Wordings::Wordings(std::span<const std::string_view> phrases, Split split) {
  for (const std::string_view phrase : of_split(phrases, split)) {
    const bool whole = phrase.ends_with('?') || phrase.ends_with('.');
    (whole ? named_.questions : named_.nouns).push_back(phrase);
    if (takes_clause(phrase)) (whole ? described_.questions : described_.nouns).push_back(phrase);
  }
  named_.frames = of_split(noun_frames(), split);
  for (const std::string_view frame : named_.frames)
    if (frames_clause(frame)) described_.frames.push_back(frame);
}

size_t Wordings::count(bool described) const {
  const Phrases& phrases = described ? described_ : named_;
  return phrases.questions.size() + phrases.nouns.size() * phrases.frames.size();
}

std::string Wordings::pick(bool described, uint64_t choice) const {
  const Phrases& phrases = described ? described_ : named_;
  // Questions of their own are used rather more often than frames around a noun phrase.
  const bool framed =
      phrases.questions.empty() || (!phrases.nouns.empty() && mix(choice, 0) % 5 < 2);
  if (!framed) return std::string(phrases.questions[mix(choice, 1) % phrases.questions.size()]);
  std::string_view noun = phrases.nouns[mix(choice, 1) % phrases.nouns.size()];
  const bool plural = noun.starts_with('+');
  if (plural) noun.remove_prefix(1);
  std::string text(phrases.frames[mix(choice, 2) % phrases.frames.size()]);
  put(text, "{is}", plural ? "are" : "is");
  put(text, "{n}", noun);
  return text;
}

}  // namespace msa::factbook
