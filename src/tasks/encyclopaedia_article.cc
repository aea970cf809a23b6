#include "tasks/encyclopaedia_article.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "tasks/factbook_wording.h"

namespace msa::encyclopaedia {
namespace {
using factbook::capitalize;
using factbook::put;

constexpr size_t kNone = std::string_view::npos;

size_t word_count(std::string_view text) {
  return text.empty() ? 0 : 1 + static_cast<size_t>(std::ranges::count(text, ' '));
}

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != kNone;
}

// A sentence that says nothing but one verb phrase of {n}.
bool is_plain(std::string_view sentence) {
  return sentence.starts_with("{n} ") && !has(sentence, ",") && !has(sentence, " and ") &&
         word_count(sentence) <= 11;
}

// The verb of such a sentence, with the word behind "is" and "was".
std::string_view verb_of(std::string_view sentence) {
  constexpr size_t kVerb = 4;
  size_t end = sentence.find(' ', kVerb);
  if (sentence.substr(kVerb, end - kVerb) == "was" || sentence.substr(kVerb, end - kVerb) == "is")
    end = sentence.find(' ', end + 1);
  return sentence.substr(kVerb, end - kVerb);
}

class Writer {
 public:
  Writer(Entity& entity, const ArticleSize& size, Random& draw)
      : entity_(entity), size_(size), draw_(draw), in_quotes_(draw.chance(0.5)) {}

  SampleDocument write() {
    rest_.assign(entity_.facts.begin(), entity_.facts.end());
    open();
    while (!rest_.empty()) tell_next();
    fill();
    entity_.facts = std::move(told_);
    SampleDocument document;
    if (draw_.chance(0.85)) document.title = entity_.name;
    for (size_t i = 0; i < sentences_.size(); ++i) {
      if (i > 0) document.text += ' ';
      document.text += finish(sentences_[i], i == 0, i > 0 && sentences_[i - 1].names_rival);
    }
    return document;
  }

 private:
  struct Sentence {
    std::string text;          // {n} and {n's} still open
    bool names_rival = false;  // another entity, so that a pronoun behind it could mean that one
  };

  // A way to tell one or two of the facts that are left.
  struct Choice {
    std::string_view pattern;
    size_t first = 0, second = kNoEntity;  // of rest_
  };

  // At the beginning of a sentence a value gets a capital letter, and then it would not be the one
  // that is the answer.
  static bool can_begin(std::string_view sentence, const Fact& fact) {
    const char first = fact.value.front();
    return !sentence.starts_with("{v}") || first < 'a' || first > 'z';
  }

  const Relation& relation(size_t fact) const { return relations()[rest_[fact].relation]; }

  // Sentences for two of the facts, `only` among them if it is one.
  std::vector<Choice> pairs(bool opening, size_t only) const {
    std::vector<Choice> found;
    for (const PairSentence& pair : pair_sentences()) {
      if (pair.sentence.starts_with('^') != opening) continue;
      Choice choice{pair.sentence, kNoEntity, kNoEntity};
      for (size_t i = 0; i < rest_.size(); ++i) {
        if (relation(i).key == pair.first) choice.first = i;
        if (relation(i).key == pair.second) choice.second = i;
      }
      if (choice.first == kNoEntity || choice.second == kNoEntity) continue;
      if (!can_begin(pair.sentence, rest_[choice.first])) continue;
      if (only == kNoEntity || choice.first == only || choice.second == only)
        found.push_back(choice);
    }
    return found;
  }

  // The same for one fact.
  std::vector<Choice> singles(bool opening, size_t only) const {
    std::vector<Choice> found;
    for (size_t i = 0; i < rest_.size(); ++i)
      if (only == kNoEntity || i == only)
        for (const std::string_view sentence : relation(i).sentences)
          if (sentence.starts_with('^') == opening && can_begin(sentence, rest_[i]))
            found.push_back({sentence, i, kNoEntity});
    return found;
  }

  // The sentence of a choice, {n} still open.
  std::string text_of(const Choice& choice) {
    std::string_view pattern = choice.pattern;
    if (pattern.starts_with('^')) pattern.remove_prefix(1);
    std::string text = choose_alternatives(pattern, draw_);
    put_type(text, entity_.type);
    if (choice.second != kNoEntity) put(text, "{w}", rest_[choice.second].value);
    if (choice.first != kNoEntity) put(text, "{v}", rest_[choice.first].value);
    return text;
  }

  // Takes the facts of a choice as told.
  void tell(const Choice& choice) {
    std::vector<size_t> gone = {choice.first, choice.second};
    std::ranges::sort(gone);
    for (const size_t at : {choice.first, choice.second})
      if (at != kNoEntity) told_.push_back(rest_[at]);
    for (const size_t at : {gone[1], gone[0]})
      if (at != kNoEntity) rest_.erase(rest_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  void open() {
    const std::vector<Choice> two = pairs(true, kNoEntity), one = singles(true, kNoEntity);
    const std::vector<std::string_view>& plain = texts_of(entity_.kind).openings;
    Choice choice;
    if (!two.empty() && draw_.chance(0.35)) {
      choice = draw_.pick(two);
    } else if (!one.empty() && draw_.chance(0.6)) {
      choice = draw_.pick(one);
    } else {
      choice.first = kNoEntity;
      choice.pattern = draw_.pick(plain);
    }
    std::string text = text_of(choice);
    const bool names_other = names(choice);
    tell(choice);
    // The type is told by most openings, as a person's occupation.
    if (entity_.kind == Kind::person && has(choice.pattern, "{t}")) {
      const auto occupation = std::ranges::find_if(
          rest_, [](const Fact& f) { return relations()[f.relation].key == "person/occupation"; });
      if (occupation != rest_.end()) {
        told_.push_back(*occupation);
        rest_.erase(occupation);
      }
    }
    add(std::move(text), names_other);
  }

  // Whether the facts name another entity to which "she" or "it" might be taken to refer.
  bool names(const Choice& choice) const {
    const auto is_rival = [&](size_t at) {
      if (at == kNoEntity) return false;
      const Value& value = relation(at).value;
      return value.is == Value::Is::entity &&
             (value.target == Kind::person) == (entity_.kind == Kind::person);
    };
    return is_rival(choice.first) || is_rival(choice.second);
  }

  // Tells the first fact that is left, perhaps another one with it; drops it if there is no room.
  void tell_next() {
    const std::vector<Choice> two = pairs(false, 0), one = singles(false, 0);
    Choice choice;
    if (!two.empty() && (one.empty() || draw_.chance(0.6))) {
      choice = draw_.pick(two);
    } else if (!one.empty()) {
      choice = draw_.pick(one);
    } else {
      // Told in openings only, and there is another opening already.
      rest_.erase(rest_.begin());
      return;
    }
    std::string text = text_of(choice);
    const bool names_other = names(choice);
    if (words_ + longest(text) > size_.most_words) {
      rest_.erase(rest_.begin());
      return;
    }
    tell(choice);
    // "{n} was born in Velmar and studied at …"
    std::string& last = sentences_.back().text;
    const bool can_join = !joined_ && is_plain(last) && is_plain(text) &&
                          verb_of(last) != verb_of(text) && draw_.chance(0.4);
    if (can_join) {
      words_ += word_count(text);
      last.replace(last.size() - 1, 1, " and " + text.substr(4));
      sentences_.back().names_rival = names_other;
    } else {
      add(std::move(text), names_other);
    }
    joined_ = can_join;
  }

  // Sentences without facts, here and there, while the article is too short.
  void fill() {
    std::vector<std::string_view> fillers = texts_of(entity_.kind).fillers;
    draw_.shuffle(fillers);
    while (words_ < size_.fewest_words && !fillers.empty()) {
      std::string text = choose_alternatives(fillers.back(), draw_);
      fillers.pop_back();
      put_type(text, entity_.type);
      if (words_ + longest(text) > size_.most_words) continue;
      add(std::move(text), false);
      const size_t at = 1 + draw_.below(sentences_.size() - 1);
      std::rotate(sentences_.begin() + static_cast<std::ptrdiff_t>(at), sentences_.end() - 1,
                  sentences_.end());
    }
  }

  std::string full_name() const {
    if (entity_.kind == Kind::work && in_quotes_) return "\"" + entity_.name + "\"";
    return entity_.name_in_text();
  }

  // What later sentences say for the name.
  std::string short_name() const {
    if (entity_.kind == Kind::person) return entity_.last;
    if (entity_.kind == Kind::country && entity_.type.word == "island state") return "the country";
    std::string_view noun = entity_.type.word;
    if (entity_.kind == Kind::city || entity_.kind == Kind::club) {
      const size_t space = noun.rfind(' ');
      if (space != kNone) noun.remove_prefix(space + 1);
    }
    return "the " + std::string(noun);
  }

  void add(std::string text, bool names_rival) {
    words_ += longest(text);
    sentences_.push_back({std::move(text), names_rival});
  }

  // Puts names and pronouns in the place of {n} and {n's} of a sentence.
  std::string finish(const Sentence& sentence, bool is_first_sentence, bool after_rival) {
    std::string text = sentence.text;
    const bool is_person = entity_.kind == Kind::person;
    const std::string_view subject = is_person ? (entity_.female ? "she" : "he") : "it";
    const std::string_view possessive = is_person ? (entity_.female ? "her" : "his") : "its";
    bool is_first = true;
    for (size_t at = text.find("{n"); at != kNone; at = text.find("{n", at)) {
      const bool owns = text.compare(at, 5, "{n's}") == 0;
      std::string mention;
      if (is_first_sentence && is_first) {
        mention = full_name();
        if (owns) mention += "'s";
      } else if (!is_first || (at == 0 && !after_rival && draw_.chance(0.6))) {
        mention = owns ? possessive : subject;
      } else {
        const bool full = draw_.chance(0.15) && !(entity_.kind == Kind::work && owns);
        mention = full ? full_name() : short_name();
        if (owns) mention += "'s";
      }
      text.replace(at, owns ? 5 : 3, mention);
      at += mention.size();
      is_first = false;
    }
    put(text, "{him}", entity_.female ? "her" : "him");
    put(text, "{woman}", entity_.female ? "woman" : "man");
    correct_articles(text);
    capitalize(text);
    return text;
  }

  // The most words that the sentence can have when its slots are filled: one of them with a name.
  size_t longest(std::string_view text) const {
    return word_count(text) - 1 + std::max(word_count(full_name()), word_count(short_name()));
  }

  Entity& entity_;
  const ArticleSize& size_;
  Random& draw_;
  bool in_quotes_;
  std::vector<Fact> rest_, told_;  // facts to tell, and facts told
  std::vector<Sentence> sentences_;
  size_t words_ = 0;
  bool joined_ = false;  // whether the last sentence is two joined ones
};

}  // namespace

std::string choose_alternatives(std::string_view pattern, Random& draw) {
  std::string text;
  for (size_t at = 0; at < pattern.size();) {
    const size_t begin = pattern.find('[', at);
    if (begin == kNone) return text.append(pattern.substr(at));
    const size_t end = pattern.find(']', begin);
    const std::string_view inner = pattern.substr(begin + 1, end - begin - 1);
    size_t skip = draw.below(1 + static_cast<uint64_t>(std::ranges::count(inner, '|')));
    size_t from = 0;
    for (; skip > 0; --skip) from = inner.find('|', from) + 1;
    text.append(pattern.substr(at, begin - at));
    text.append(inner.substr(from, inner.find('|', from) - from));
    at = end + 1;
  }
  return text;
}

void put_type(std::string& text, const Type& type) {
  put(text, "{t}", type.word);
  put(text, "{made}", type.made);
  put(text, "{written}", type.written);
  put(text, "{maker}", type.maker);
}

void correct_articles(std::string& text) {
  constexpr std::string_view kVowels = "aeiou";
  for (size_t at = 0; at + 2 < text.size(); ++at) {
    const bool is_word = (at == 0 || text[at - 1] == ' ') && text[at + 1] == ' ';
    if (!is_word || (text[at] != 'a' && text[at] != 'A')) continue;
    const std::string_view next = std::string_view(text).substr(at + 2);
    if (kVowels.find(next.front()) != kNone && !next.starts_with("uni") && !next.starts_with("one"))
      text.insert(at + 1, "n");
  }
}

SampleDocument write_article(Entity& entity, const ArticleSize& size, Random& draw) {
  return Writer(entity, size, draw).write();
}

}  // namespace msa::encyclopaedia
