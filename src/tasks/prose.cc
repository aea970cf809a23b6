// The maker "prose": questions about passages of real text.
#include "tasks/prose.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tasks/factbook_extract.h"
#include "tasks/factbook_letters.h"
#include "tasks/factbook_names.h"
#include "tasks/factbook_settings.h"
#include "tasks/factbook_wording.h"
#include "tasks/prose_facts.h"
#include "tasks/prose_passages.h"

namespace msa::prose {
namespace {
using factbook::capitalize;
using factbook::first_words;
using factbook::Hops;
using factbook::is_capitalized;
using factbook::is_digit;
using factbook::letter_at;
using factbook::mix;
using factbook::number_end;
using factbook::put;
using factbook::word_end;
using factbook::Wordings;

constexpr std::string_view kName = "prose";
constexpr size_t kNone = std::string_view::npos;

struct Settings {
  size_t documents = 24, questions = 14, max_words = 110;
  Hops hops = Hops::mixed;
  double rename = 0.3;
  std::vector<std::filesystem::path> files;
};

// Of renamed passages, those whose dates and rare names change as well.
constexpr double kDeepShare = 0.7;
// Of all passages, those of further files where there are some.
constexpr double kFurtherShare = 0.4;
// Kinds of questions where hops are mixed, of a hundred; the rest asks for facts.
constexpr uint64_t kGapShare = 25, kTitleShare = 18;
constexpr size_t kMinSentenceWords = 7, kMaxSentenceWords = 36, kMaxGapWords = 5;

// {s} is a sentence with a gap in it, {c} what it is about.
constexpr std::array<std::string_view, 10> kGapPhrases = {
    "Fill in the blank: {s}",
    "What is missing here? {s}",
    "Complete this sentence about {c}: {s}",
    "Which words belong in the gap? {s}",
    "In the text on {c}, what stands at the gap? {s}",
    "Find the missing part: {s}",
    "{s} What goes into the gap?",
    "About {c}, what is left out here? {s}",
    "~What belongs in the blank? {s}",
    "~In this sentence about {c}, which words are missing? {s}",
};
// {s} is a sentence that does not name what it is about.
constexpr std::array<std::string_view, 8> kTitlePhrases = {
    "Which article says this: {s}",       "Find the article with this sentence: {s}",
    "Which text tells us: {s}",           "Name the article in which this stands: {s}",
    "Who or what is this about? {s}",     "What is the title of the text with these words: {s}",
    "~Which text has this sentence: {s}", "~What is the article called that says: {s}",
};
// {s} is "an American film producer who …".
constexpr std::array<std::string_view, 8> kAboutPhrases = {
    "Which article is about {s}?",
    "Who or what is {s}?",
    "I am looking for the article on {s}.",
    "What is the title of the text about {s}?",
    "Find the name of {s}.",
    "Tell me the title of the article about {s}.",
    "~Which text is about {s}?",
    "~What is the name of {s}?",
};

size_t word_count(std::string_view text) {
  return text.empty() ? 0 : 1 + static_cast<size_t>(std::ranges::count(text, ' '));
}

// A passage in a sample, as it is or renamed.
struct Entry {
  uint32_t passage = 0;
  std::string name;
  bool renamed = false;
};

class ProseTask final : public Task {
 public:
  ProseTask(std::shared_ptr<const Passages> passages, const TaskOptions& options,
            const Settings& settings)
      : passages_(std::move(passages)),
        split_(options.split),
        seed_(mix(options.seed, split_ == Split::test ? 4 : 3)),
        settings_(settings),
        renamer_(passages_, split_),
        gap_phrases_(factbook::of_split(kGapPhrases, split_)),
        title_phrases_(factbook::of_split(kTitlePhrases, split_)),
        about_phrases_(factbook::of_split(kAboutPhrases, split_)) {
    for (const RelationPhrases& relation : relation_phrases()) {
      wordings_.emplace_back(relation.phrases, split_);
      descriptions_.push_back(factbook::of_split(relation.descriptions, split_));
    }
    const std::vector<Passage>& all = passages_->all();
    for (uint32_t i = 0; i < all.size(); ++i) {
      if (!all[i].test && all[i].shipped) bases_.push_back(i);
      if (all[i].test != (split_ == Split::test)) continue;
      (all[i].shipped ? asked_ : further_).push_back(i);
      if (!all[i].shipped) continue;
      for (const PassageFact& fact : find_facts(all[i].document.text)) {
        if (phrases_of(fact.relation).descriptions.empty()) continue;
        const std::optional<uint32_t> to = passages_->find(fact.value);
        if (to && *to != i && all[*to].test == all[i].test) links_.push_back({i, *to});
      }
    }
  }

  std::string_view name() const override { return kName; }
  const std::vector<SampleDocument>& collection() const override { return passages_->collection(); }
  Sample sample(uint64_t index) const override;
  SampleDocument distractor(uint64_t index) const override;

 private:
  class Builder;

  static size_t index_of(Relation relation) {
    return static_cast<size_t>(&phrases_of(relation) - relation_phrases().data());
  }

  std::shared_ptr<const Passages> passages_;
  Split split_;
  uint64_t seed_;
  Settings settings_;
  Renamer renamer_;
  std::vector<Wordings> wordings_;                           // per relation
  std::vector<std::vector<std::string_view>> descriptions_;  // per relation
  std::vector<std::string_view> gap_phrases_, title_phrases_, about_phrases_;
  std::vector<uint32_t> bases_;    // passages that distractors are made of
  std::vector<uint32_t> asked_;    // passages of this split, those of the collection
  std::vector<uint32_t> further_;  // passages of further files
  std::vector<Link> links_;        // both ends in this split
};

class ProseTask::Builder {
 public:
  Builder(const ProseTask& task, uint64_t index) : task_(task), draw_(task.seed_, index) {
    sample_.where = fmt::format("prose:{}", index);
  }

  Sample build() {
    choose_passages();
    const Hops hops = task_.settings_.hops;
    if (hops != Hops::one)
      for (const Link& link : chosen_links_)
        if (sample_.questions.size() < task_.settings_.questions) ask_two_hops(link);
    for (size_t attempt = 0;
         hops != Hops::two && sample_.questions.size() < task_.settings_.questions && attempt < 300;
         ++attempt) {
      const auto at = static_cast<uint32_t>(draw_.below(asked_entries_));
      const uint64_t share = draw_.below(100);
      if (share < kGapShare) {
        ask_gap(at);
      } else if (share < kGapShare + kTitleShare) {
        ask_title(at);
      } else {
        ask_fact(at);
      }
    }
    shuffle_documents();
    return std::move(sample_);
  }

 private:
  const Passage& passage(uint32_t at) const { return task_.passages_->all()[entries_[at].passage]; }
  const std::string& text(uint32_t at) const { return sample_.documents[at].text; }
  bool is_full() const { return sample_.documents.size() >= task_.settings_.documents; }

  // Documents go in as they are in tests; else cut, and some renamed.
  void add(uint32_t index, bool may_rename) {
    if (is_full() || !used_.insert(index).second) return;
    const Passage& passage = task_.passages_->all()[index];
    Entry entry{index, passage.name, false};
    SampleDocument document = passage.document;
    if (may_rename && passage.shipped && task_.split_ == Split::train &&
        draw_.chance(task_.settings_.rename)) {
      const uint64_t seed = draw_.bits();
      if (auto renamed = task_.renamer_.rename(index, seed, draw_.chance(kDeepShare))) {
        document = std::move(renamed->document);
        entry.name = std::move(renamed->name);
        entry.renamed = true;
      }
    }
    if (task_.split_ == Split::train)
      document.text.resize(first_words(document.text, task_.settings_.max_words).size());
    sample_.documents.push_back(std::move(document));
    entries_.push_back(std::move(entry));
  }

  void choose_passages() {
    const size_t links = task_.settings_.hops == Hops::one   ? 0
                         : task_.settings_.hops == Hops::two ? task_.settings_.documents / 2
                                                             : draw_.below(4);
    for (size_t i = 0; i < links && !task_.links_.empty(); ++i) {
      const Link& link = task_.links_[draw_.below(task_.links_.size())];
      if (used_.contains(link.from) || used_.contains(link.to) ||
          sample_.documents.size() + 2 > task_.settings_.documents)
        continue;
      add(link.from, false);
      add(link.to, false);
      chosen_links_.push_back(link);
    }
    // Several of a kind: films beside films, princes beside princes.
    const size_t wanted = task_.settings_.documents - task_.settings_.documents / 8;
    for (size_t attempt = 0; sample_.documents.size() < wanted && attempt < 40; ++attempt) {
      const uint32_t anchor = some_passage();
      add(anchor, true);
      const std::vector<uint32_t>& alike = task_.passages_->alike(anchor);
      for (size_t i = 0; i < 4 && sample_.documents.size() < wanted; ++i) {
        const uint32_t other = alike[draw_.below(alike.size())];
        if (task_.passages_->all()[other].test == (task_.split_ == Split::test)) add(other, true);
      }
    }
    asked_entries_ = sample_.documents.size();
    // Twins: what passages of the sample say, about another and with other values.
    for (size_t attempt = 0; task_.split_ == Split::train && !is_full() && attempt < 20;
         ++attempt) {
      const size_t of = draw_.below(asked_entries_);
      if (!passage(static_cast<uint32_t>(of)).shipped) continue;
      if (auto twin = task_.renamer_.rename(entries_[of].passage, draw_.bits(), true)) {
        twin->document.text.resize(
            first_words(twin->document.text, task_.settings_.max_words).size());
        sample_.documents.push_back(std::move(twin->document));
        entries_.push_back({entries_[of].passage, std::move(twin->name), true});
      }
    }
    for (size_t attempt = 0; !is_full() && attempt < 100; ++attempt) add(some_passage(), true);
  }

  uint32_t some_passage() {
    const bool further = !task_.further_.empty() && draw_.chance(kFurtherShare);
    const std::vector<uint32_t>& from = further ? task_.further_ : task_.asked_;
    return from[draw_.below(from.size())];
  }

  // The part of a document that is sure to be encoded as one passage.
  std::string_view first_part(uint32_t at) const {
    return first_words(text(at), task_.settings_.max_words);
  }

  // What stands for a passage in questions: its name, at times with its kind.
  std::string subject(uint32_t at) {
    constexpr std::array<std::string_view, 8> kWorks = {"film",   "song",    "album", "novel",
                                                        "series", "village", "book",  "magazine"};
    const std::string& kind = passage(at).kind;
    const bool work = std::ranges::find(kWorks, kind) != kWorks.end();
    const bool bracket = entries_[at].name.find('(') != kNone;  // "… (1920 film)" says it
    if (work && !bracket && passage(at).shipped && draw_.chance(0.5))
      return "the " + kind + " " + entries_[at].name;
    return entries_[at].name;
  }

  // `key` is the same for other wordings of the same question.
  void add_question(SampleQuestion question, const std::string& key) {
    // Whoever knows the question must not know the answer.
    if (question.question.find(question.answer) != kNone) return;
    if (asked_.insert(key).second) sample_.questions.push_back(std::move(question));
  }

  // "Who directed Who's Your Brother??" has one mark too many, "whose film is the film" a word.
  static void finish(std::string& question) {
    put(question, "??", "?");
    if (question.ends_with("..")) question.pop_back();
    for (const std::string_view twice :
         {"film is the film ", "record is the album ", "text is the song "})
      if (const size_t at = question.find(twice); at != kNone)
        question.erase(at + twice.find(" is ") + 4, twice.size() - twice.find(" is ") - 4);
    capitalize(question);
  }

  void ask_fact(uint32_t at) {
    if (!passage(at).shipped) return ask_gap(at);
    const std::vector<PassageFact> facts = find_facts(first_part(at));
    if (facts.empty()) return;
    const PassageFact& fact = facts[draw_.below(facts.size())];
    SampleQuestion question;
    question.question = task_.wordings_[index_of(fact.relation)].pick(false, draw_.bits());
    put(question.question, "{c}",
        fact.relation == Relation::description ? entries_[at].name : subject(at));
    finish(question.question);
    question.steps = {{at}};
    question.answer = fact.value;
    question.kind = "fact";
    add_question(std::move(question),
                 fmt::format("fact {} {}", at, static_cast<int>(fact.relation)));
  }

  void ask_two_hops(const Link& link) {
    const uint32_t from = entry_of(link.from), to = entry_of(link.to);
    // The relation that leads on, with other relations to the same name passed over.
    std::optional<PassageFact> bridge;
    for (const PassageFact& fact : find_facts(first_part(from)))
      if (!task_.descriptions_[index_of(fact.relation)].empty() &&
          task_.passages_->find(fact.value) == link.to)
        bridge = fact;
    if (!bridge) return;
    const std::vector<PassageFact> facts = find_facts(first_part(to));
    if (facts.empty()) return;
    const PassageFact& fact = facts[draw_.below(facts.size())];
    const Wordings& wordings = task_.wordings_[index_of(fact.relation)];
    // "Who or what is the director of …" asks for a name.
    if (fact.relation == Relation::description || wordings.count(true) == 0) return;
    const std::vector<std::string_view>& descriptions =
        task_.descriptions_[index_of(bridge->relation)];
    std::string described(descriptions[draw_.below(descriptions.size())]);
    put(described, "{c}", subject(from));
    SampleQuestion question;
    question.question = wordings.pick(true, draw_.bits());
    put(question.question, "{c}", described);
    finish(question.question);
    question.steps = {{from}, {to}};
    question.answer = fact.value;
    question.kind = "two-hop";
    add_question(std::move(question),
                 fmt::format("two-hop {} {} {}", from, to, static_cast<int>(fact.relation)));
  }

  uint32_t entry_of(uint32_t passage) const {
    return static_cast<uint32_t>(std::ranges::find(entries_, passage, &Entry::passage) -
                                 entries_.begin());
  }

  // Numbers and runs of capitalized words of a sentence that a gap can stand for.
  std::vector<std::string_view> gaps(std::string_view sentence, std::string_view name) const {
    std::vector<std::string_view> found;
    for (size_t i = 0; i < sentence.size();) {
      size_t end = std::max(word_end(sentence, i), number_end(sentence, i));
      if (end == i) {
        ++i;
        continue;
      }
      const auto is_joint = [&](size_t at) {
        return at < sentence.size() && std::string_view("-_=/.").find(sentence[at]) != kNone &&
               at + 1 < sentence.size() && sentence[at + 1] != ' ';
      };
      // No part of "Saxe- Meiningen", "PyArg_Parse" or "pathlib.Path".
      const bool hyphened = is_joint(end) || (i > 0 && is_joint(i - 1)) ||
                            (end < sentence.size() && sentence[end] == '-') ||
                            (i > 1 && sentence[i - 2] == '-');
      if (hyphened) {
        i = end;
        continue;
      }
      if (is_digit(sentence[i])) {
        // Not "12th", and no day of a month.
        const bool alone = end == sentence.size() || letter_at(sentence, end) == 0;
        if (alone && i > 1 && end - i > 2) found.push_back(sentence.substr(i, end - i));
      } else if (continues_sentence(sentence, i) && is_capitalized(sentence.substr(i, end - i))) {
        for (size_t next = end; next + 1 < sentence.size() && sentence[next] == ' ' &&
                                letter_at(sentence, next + 1) > 0;) {
          const size_t next_end = word_end(sentence, next + 1);
          if (!is_capitalized(sentence.substr(next + 1, next_end - next - 1))) break;
          end = next = next_end;
        }
        const std::string_view run = sentence.substr(i, end - i);
        if (is_joint(end)) {
          i = end;
          continue;
        }
        if (run.size() > 2 && !is_pronoun(sentence.substr(i, word_end(sentence, i) - i)) &&
            !factbook::is_month(run) && word_count(run) <= kMaxGapWords &&
            name.find(run) == kNone && run.find(name) == kNone)
          found.push_back(run);
      }
      i = end;
    }
    return found;
  }

  // Whether the word at `i` follows others, so that a capital letter makes it a name.
  static bool continues_sentence(std::string_view sentence, size_t i) {
    const size_t before = i == 0 ? kNone : sentence.find_last_not_of(" \"'", i - 1);
    return before != kNone && (sentence[before] == ',' || is_digit(sentence[before]) ||
                               (static_cast<unsigned char>(sentence[before]) | 0x20) >= 'a');
  }

  static bool is_pronoun(std::string_view word) {
    constexpr std::array<std::string_view, 12> kWords = {
        "He", "She", "It", "His", "Her", "They", "The", "This", "These", "In", "Its", "Their"};
    return std::ranges::find(kWords, word) != kWords.end();
  }

  static bool is_usable(std::string_view sentence) {
    const size_t words = word_count(sentence);
    return words >= kMinSentenceWords && words <= kMaxSentenceWords &&
           sentence.find('\n') == kNone && sentence.find('{') == kNone;
  }

  void ask_gap(uint32_t at) {
    const std::vector<std::string_view> all = sentences(first_part(at));
    const std::string_view sentence =
        all.empty() ? std::string_view() : all[draw_.below(all.size())];
    if (!is_usable(sentence)) return;
    const std::string& name = entries_[at].name;
    const std::vector<std::string_view> found = gaps(sentence, name);
    if (found.empty()) return;
    const std::string_view gap = found[draw_.below(found.size())];
    if (sentence.find(gap) != sentence.rfind(gap)) return;
    std::string open(sentence);
    open.replace(static_cast<size_t>(gap.data() - sentence.data()), gap.size(), "___");
    SampleQuestion question;
    for (int attempt = 0;; ++attempt) {
      if (attempt == 20) return;
      const std::string_view phrase = task_.gap_phrases_[draw_.below(task_.gap_phrases_.size())];
      // The question must say which passage is meant.
      if (phrase.find("{c}") == kNone && open.find(name) == kNone) continue;
      question.question = phrase;
      break;
    }
    put(question.question, "{c}", name);
    put(question.question, "{s}", open);
    question.steps = {{at}};
    question.answer = gap;
    question.kind = "gap";
    add_question(std::move(question), fmt::format("gap {} {}", at, open));
  }

  // Names and numbers in a sentence that point to its passage.
  size_t marks(std::string_view sentence) const {
    size_t count = 0;
    for (size_t i = 0; i < sentence.size();) {
      const size_t end = std::max({word_end(sentence, i), number_end(sentence, i), i + 1});
      if (is_digit(sentence[i]) || task_.renamer_.is_rare(sentence.substr(i, end - i))) ++count;
      i = end;
    }
    return count;
  }

  // Whether a sentence tells whose it is.
  bool names_subject(std::string_view sentence, uint32_t at) const {
    const std::string_view name = entries_[at].name;
    for (size_t i = 0; i < name.size();) {
      const size_t end = word_end(name, i);
      if (end - i > 2 && is_capitalized(name.substr(i, end - i)) &&
          sentence.find(name.substr(i, end - i)) != kNone)
        return true;
      i = std::max(end, i + 1);
    }
    return false;
  }

  void ask_title(uint32_t at) {
    const std::vector<std::string_view> all = sentences(first_part(at));
    if (all.empty()) return;
    const size_t chosen = draw_.below(all.size());
    std::string_view sentence = all[chosen];
    bool about = false;
    // The first sentence says what its subject is.
    if (chosen == 0)
      for (const std::string_view copula : {" is a ", " was a ", " is an ", " was an "})
        if (const size_t found = sentence.find(copula); found != kNone && !about) {
          sentence.remove_prefix(found + copula.find(" a") + 1);
          if (sentence.ends_with('.')) sentence.remove_suffix(1);
          about = true;
        }
    if (!is_usable(sentence) || marks(sentence) < 2 || names_subject(sentence, at)) return;
    SampleQuestion question;
    const std::vector<std::string_view>& phrases =
        about ? task_.about_phrases_ : task_.title_phrases_;
    question.question = phrases[draw_.below(phrases.size())];
    put(question.question, "{s}", sentence);
    question.steps = {{at}};
    question.answer = entries_[at].name;
    if (sample_.documents[at].title != question.answer)
      question.accepted.push_back(sample_.documents[at].title);
    question.kind = "title";
    add_question(std::move(question), fmt::format("title {} {}", at, sentence));
  }

  void shuffle_documents() {
    std::vector<uint32_t> order(sample_.documents.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    draw_.shuffle(order);
    std::vector<SampleDocument> documents(order.size());
    for (uint32_t i = 0; i < order.size(); ++i)
      documents[order[i]] = std::move(sample_.documents[i]);
    sample_.documents = std::move(documents);
    for (SampleQuestion& question : sample_.questions)
      for (std::vector<uint32_t>& step : question.steps)
        for (uint32_t& at : step) at = order[at];
  }

  const ProseTask& task_;
  Random draw_;
  Sample sample_;
  std::vector<Entry> entries_;  // as the documents, before they are shuffled
  size_t asked_entries_ = 0;    // the first ones, which questions are about
  std::vector<Link> chosen_links_;
  std::unordered_set<uint32_t> used_;
  std::unordered_set<std::string> asked_;
};

Sample ProseTask::sample(uint64_t index) const {
  return Builder(*this, index).build();
}

SampleDocument ProseTask::distractor(uint64_t index) const {
  for (uint64_t attempt = 0;; ++attempt) {
    const uint64_t seed = mix(mix(seed_, 17), mix(index, attempt));
    auto renamed = renamer_.rename(bases_[seed % bases_.size()], mix(seed, 1), true);
    if (!renamed) continue;
    SampleDocument document = std::move(renamed->document);
    document.text.resize(first_words(document.text, settings_.max_words).size());
    document.id = fmt::format("invented-prose/{}", index);
    return document;
  }
}

Result<Settings> read_settings(const TaskOptions& options) {
  Settings settings;
  for (const auto& [name, value] : options.settings) {
    if (name == "documents") {
      MSA_TRY(factbook::read_count(kName, name, value, 4, 4096, settings.documents));
    } else if (name == "questions") {
      MSA_TRY(factbook::read_count(kName, name, value, 1, 1024, settings.questions));
    } else if (name == "max_words") {
      MSA_TRY(factbook::read_count(kName, name, value, 10, 1000, settings.max_words));
    } else if (name == "rename") {
      MSA_TRY(factbook::read_share(kName, name, value, settings.rename));
    } else if (name == "hops") {
      MSA_TRY(factbook::read_hops(kName, name, value, settings.hops));
    } else if (name == "files") {
      for (size_t begin = 0; begin <= value.size();) {
        const size_t end = std::min(value.find(',', begin), value.size());
        if (end > begin) settings.files.emplace_back(value.substr(begin, end - begin));
        begin = end + 1;
      }
    } else {
      return Error{
          Code::invalid_argument,
          fmt::format("task prose: no setting '{}'; known are documents, questions, hops, rename, "
                      "max_words and files",
                      name)};
    }
  }
  // Further files are for training only.
  if (options.split == Split::test) settings.files.clear();
  return settings;
}

}  // namespace

}  // namespace msa::prose

namespace msa {

TaskDescription describe_prose_task() {
  return {
      std::string(prose::kName),
      "questions about passages of Wikipedia: facts, gaps, titles; held-out passages in tests",
      {{"documents", "passages per sample (24)"},
       {"questions", "questions per sample, fewer if its passages do not give so many (14)"},
       {"hops",
        "1, 2 or mixed: whether a second passage must be found by what the first says (mixed)"},
       {"rename", "share of passages whose subject gets an invented name (0.3; in tests 0)"},
       {"max_words", "passages are cut after so many words, and answers stand before (110)"},
       {"files",
        "further .jsonl or .jsonl.zst files of passages to train on, separated by commas (none)"}}};
}

Result<std::unique_ptr<Task>> make_prose_task(const TaskOptions& options) {
  MSA_ASSIGN(const prose::Settings settings, prose::read_settings(options));
  MSA_ASSIGN(std::shared_ptr<const prose::Passages> passages,
             prose::Passages::load(options.data, settings.files));
  return std::make_unique<prose::ProseTask>(std::move(passages), options, settings);
}

}  // namespace msa
