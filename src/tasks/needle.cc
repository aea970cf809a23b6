// The maker "needle": RULER's eight needle tasks, their haystack cut into documents.
#include "tasks/needle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tasks/factbook_names.h"
#include "tasks/factbook_settings.h"
#include "tasks/needle_haystack.h"
#include "tasks/needle_keys.h"

namespace msa::needle {
namespace {
using factbook::bad_setting;
using factbook::mix;
using factbook::read_count;

constexpr std::string_view kName = "needle";

enum class Kind { sk1, sk2, sk3, mk1, mk2, mk3, mv, mq };
constexpr std::array<std::string_view, 8> kKinds = {"sk1", "sk2", "sk3", "mk1",
                                                    "mk2", "mk3", "mv",  "mq"};

bool has_needle_haystack(Kind kind) {
  return kind == Kind::mk2 || kind == Kind::mk3;
}
bool has_uuid_keys(Kind kind) {
  return kind == Kind::mk3;
}
bool has_uuid_values(Kind kind) {
  return kind == Kind::sk3 || kind == Kind::mk3;
}

struct Settings {
  std::optional<Kind> kind;  // none: all in turn
  size_t documents = 24, questions = 6;
  size_t lookalikes = 0;
  bool pairs = false;
};

// RULER's numbers of values per key (mv), of keys per question (mq), and of needles beside the one
// that is asked for (mk1).
constexpr size_t kValues = 4, kKeysAsked = 4, kLookalikes = 3;
// With more documents, pairs would not give enough lookalikes for needles that hide among needles.
constexpr size_t kMinDocuments = 8, kMaxDocuments = 2048;
// Haystack words of a document; its last sentence goes beyond.
constexpr uint64_t kMinWords = 40, kMaxWords = 78;
// Needles of a document whose haystack is needles; UUIDs are so long that it has the least.
constexpr uint64_t kMinNeedles = 2, kMaxNeedles = 3;

uint64_t needles_of_document(Kind kind, Random& draw) {
  return has_uuid_keys(kind) ? kMinNeedles : draw.between(kMinNeedles, kMaxNeedles);
}

// At most three quarters of the documents hold needles, so that there is a haystack.
size_t room(const Settings& settings) {
  return settings.documents * 3 / 4;
}

// Keys that questions ask for, in a sample.
size_t asked_keys(Kind kind, const Settings& settings) {
  switch (kind) {
    case Kind::mk1: return std::min(settings.questions, room(settings) / 2);
    case Kind::mv: return std::min(settings.questions, room(settings) / kValues);
    // Each question brings four documents, as in mv.
    case Kind::mq:
      return std::min(settings.questions, room(settings) / kKeysAsked) + kKeysAsked - 1;
    case Kind::sk1:
    case Kind::sk2:
    case Kind::sk3:
    case Kind::mk2:
    case Kind::mk3: break;
  }
  return std::min(settings.questions, room(settings));
}

std::string needle_sentence(Kind kind, std::string_view key, std::string_view value) {
  return fmt::format("One of the special magic {} for {} is: {}.",
                     has_uuid_values(kind) ? "uuids" : "numbers", key, value);
}

std::string join(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) {
    if (!text.empty()) text += ' ';
    text += sentence;
  }
  return text;
}

class NeedleTask final : public Task {
 public:
  NeedleTask(const TaskOptions& options, const Settings& settings)
      : settings_(settings),
        seed_(mix(options.seed, options.split == Split::test ? 6 : 5)),
        keys_(settings.pairs, options.split, seed_),
        grammar_(essay_phrases(), essay_patterns()) {
    for (size_t k = 0; k < kKinds.size(); ++k)
      if (const auto kind = static_cast<Kind>(k); !settings.kind || settings.kind == kind)
        keys_per_sample_ = std::max(keys_per_sample_, asked_keys(kind, settings_));
  }

  std::string_view name() const override { return kName; }
  const std::vector<SampleDocument>& collection() const override { return nothing_; }
  Sample sample(uint64_t index) const override;
  SampleDocument distractor(uint64_t index) const override;

 private:
  class Builder;

  Kind kind_of(uint64_t index) const {
    return settings_.kind.value_or(static_cast<Kind>(index % kKinds.size()));
  }
  std::string value(Kind kind, Random& draw) const {
    return has_uuid_values(kind) ? random_uuid(draw) : random_number(draw);
  }
  std::vector<std::string> haystack(Kind kind, Random& draw) const {
    const uint64_t words = draw.between(kMinWords, kMaxWords);
    return kind == Kind::sk1 ? noise(words, draw) : essay(grammar_, words, draw);
  }

  Settings settings_;
  uint64_t seed_;
  WordKeys keys_;
  Grammar grammar_;
  size_t keys_per_sample_ = 0;
  std::vector<SampleDocument> nothing_;
};

// Puts one sample together.
class NeedleTask::Builder {
 public:
  Builder(const NeedleTask& task, uint64_t index)
      : task_(task), index_(index), kind_(task.kind_of(index)), draw_(mix(task.seed_, 1), index) {
    sample_.where = fmt::format("needle:{}", index);
  }

  Sample build() {
    draw_asked();
    if (has_needle_haystack(kind_)) {
      hide_among_needles();
    } else {
      hide_in_text();
    }
    for (size_t d = 0; d < documents_.size(); ++d)
      sample_.documents.push_back(
          {"", join(documents_[d]), fmt::format("needle/{}/{}/{}", kind_name(), index_, d)});
    ask();
    return std::move(sample_);
  }

 private:
  // A key that is asked for, its values, and the documents these stand in.
  struct Asked {
    std::string key;
    uint64_t word_key = 0;  // unless keys are UUIDs
    std::vector<std::string> values;
    std::vector<uint32_t> documents;
  };

  std::string_view kind_name() const { return kKinds[static_cast<size_t>(kind_)]; }

  std::string new_value() {
    for (;;)
      if (std::string value = task_.value(kind_, draw_); values_.insert(value).second) return value;
  }

  void draw_asked() {
    const size_t count = asked_keys(kind_, task_.settings_);
    for (size_t k = 0; k < count; ++k) {
      Asked asked;
      if (has_uuid_keys(kind_)) {
        asked.key = random_uuid(draw_);
      } else {
        asked.word_key = task_.keys_.key(Use::asked, index_ * task_.keys_per_sample_ + k);
        asked.key = task_.keys_.text(asked.word_key);
      }
      for (size_t v = 0; v < (kind_ == Kind::mv ? kValues : 1); ++v)
        asked.values.push_back(new_value());
      asked_.push_back(std::move(asked));
    }
  }

  // A needle that no question asks for, its key like the one of `asked` if that is given.
  std::string other_needle(const Asked* like) {
    // A few words are shared by few keys: one that is used up is replaced by any.
    for (size_t attempt = 0;; ++attempt) {
      std::string key;
      if (has_uuid_keys(kind_)) {
        key = like ? lookalike_uuid(like->key, draw_) : random_uuid(draw_);
      } else if (like && attempt < 20) {
        key = task_.keys_.text(task_.keys_.lookalike(like->word_key, draw_));
      } else {
        const uint64_t number = draw_.below(task_.keys_.size(Use::lookalike));
        key = task_.keys_.text(task_.keys_.key(Use::lookalike, number));
      }
      if (other_keys_.insert(key).second) return needle_sentence(kind_, key, new_value());
    }
  }

  void hide_in_text() {
    const size_t count = task_.settings_.documents;
    // The documents of the needles: the first ones of a random order.
    std::vector<uint32_t> order(count);
    for (uint32_t i = 0; i < count; ++i) order[i] = i;
    draw_.shuffle(order);
    std::vector<std::string> needles(count);
    size_t used = 0;
    for (Asked& asked : asked_) {
      const auto mine = order.begin() + static_cast<ptrdiff_t>(used);
      used += asked.values.size();
      std::sort(mine, order.begin() + static_cast<ptrdiff_t>(used));
      for (size_t v = 0; v < asked.values.size(); ++v) {
        asked.documents.push_back(mine[static_cast<ptrdiff_t>(v)]);
        needles[asked.documents.back()] = needle_sentence(kind_, asked.key, asked.values[v]);
      }
    }
    if (kind_ == Kind::mk1) {
      const size_t others =
          std::min(kLookalikes * asked_.size(), room(task_.settings_) - asked_.size());
      for (size_t i = 0; i < others; ++i)
        needles[order[used++]] = other_needle(&asked_[i % asked_.size()]);
    }
    std::vector<bool> needles_only(count);
    if (kind_ == Kind::mv || kind_ == Kind::mq) {
      for (size_t i = 0; i < task_.settings_.lookalikes && used < count; ++i) {
        const uint32_t d = order[used++];
        needles[d] = other_needle(&asked_[i % asked_.size()]);
        needles_only[d] = i % 2 == 1;
      }
    }
    for (size_t d = 0; d < count; ++d) {
      if (needles_only[d]) {
        // As other kinds' haystacks are.
        std::vector<std::string>& sentences = documents_.emplace_back();
        sentences.push_back(std::move(needles[d]));
        for (uint64_t all = needles_of_document(kind_, draw_); sentences.size() < all;)
          sentences.push_back(other_needle(nullptr));
        draw_.shuffle(sentences);
        continue;
      }
      std::vector<std::string>& sentences = documents_.emplace_back(task_.haystack(kind_, draw_));
      if (needles[d].empty()) continue;
      const auto border = static_cast<ptrdiff_t>(draw_.below(sentences.size() + 1));
      sentences.insert(sentences.begin() + border, std::move(needles[d]));
    }
  }

  void hide_among_needles() {
    const size_t count = task_.settings_.documents;
    std::vector<uint32_t> order(count);
    for (uint32_t i = 0; i < count; ++i) order[i] = i;
    draw_.shuffle(order);
    documents_.resize(count);
    // The asked keys that keys of a document are, or look like: those of one document are
    // unrelated.
    std::vector<std::vector<const Asked*>> related(count);
    for (size_t k = 0; k < asked_.size(); ++k) {
      asked_[k].documents = {order[k]};
      related[order[k]].push_back(&asked_[k]);
      documents_[order[k]].push_back(
          needle_sentence(kind_, asked_[k].key, asked_[k].values.front()));
    }
    // The other places, each named by its document, in random order: first come lookalikes.
    std::vector<uint32_t> places;
    for (uint32_t d = 0; d < count; ++d)
      for (uint64_t i = documents_[d].size(), needles = needles_of_document(kind_, draw_);
           i < needles; ++i)
        places.push_back(d);
    draw_.shuffle(places);
    for (size_t p = 0; p < places.size(); ++p) {
      const Asked* like = p < kLookalikes * asked_.size() ? &asked_[p % asked_.size()] : nullptr;
      std::vector<const Asked*>& here = related[places[p]];
      if (std::ranges::find(here, like) != here.end()) like = nullptr;
      if (like) here.push_back(like);
      documents_[places[p]].push_back(other_needle(like));
    }
    for (std::vector<std::string>& sentences : documents_) draw_.shuffle(sentences);
  }

  void ask() {
    const std::string what = has_uuid_values(kind_) ? "uuid" : "number";
    if (kind_ == Kind::mq) {
      // Each question has its own set of keys: as many as stand in a row, in random order.
      for (size_t first = 0; first + kKeysAsked <= asked_.size(); ++first) {
        std::vector<const Asked*> chosen;
        for (size_t k = 0; k < kKeysAsked; ++k) chosen.push_back(&asked_[first + k]);
        draw_.shuffle(chosen);
        add_question(
            fmt::format("What are all the special magic {}s for {}, {}, {}, and {} "
                        "mentioned in the provided text?",
                        what, chosen[0]->key, chosen[1]->key, chosen[2]->key, chosen[3]->key),
            chosen);
      }
      return;
    }
    for (const Asked& asked : asked_) {
      const bool all = kind_ == Kind::mv;
      add_question(
          fmt::format("What {} the special magic {} for {} mentioned in the provided text?",
                      all ? "are all" : "is", all ? what + "s" : what, asked.key),
          {&asked});
    }
  }

  void add_question(std::string text, const std::vector<const Asked*>& about) {
    SampleQuestion question;
    question.question = std::move(text);
    question.kind = fmt::format("needle-{}", kind_name());
    question.steps.emplace_back();
    for (const Asked* asked : about) {
      question.steps[0].insert(question.steps[0].end(), asked->documents.begin(),
                               asked->documents.end());
      question.values.insert(question.values.end(), asked->values.begin(), asked->values.end());
    }
    question.values_in_reading_order = question.values.size() > 1;
    question.answer = fmt::format("{}", fmt::join(question.values, ", "));
    sample_.questions.push_back(std::move(question));
  }

  const NeedleTask& task_;
  uint64_t index_;
  Kind kind_;
  Random draw_;
  Sample sample_;
  std::vector<Asked> asked_;
  std::vector<std::vector<std::string>> documents_;  // their sentences
  std::unordered_set<std::string> values_, other_keys_;
};

Sample NeedleTask::sample(uint64_t index) const {
  return Builder(*this, index).build();
}

SampleDocument NeedleTask::distractor(uint64_t index) const {
  const Kind kind = kind_of(index);
  Random draw(mix(seed_, 2), index);
  std::vector<std::string> sentences;
  if (has_needle_haystack(kind)) {
    const uint64_t count = needles_of_document(kind, draw);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t number = index * kMaxNeedles + i;
      const std::string key =
          has_uuid_keys(kind) ? random_uuid(draw) : keys_.text(keys_.key(Use::distractor, number));
      sentences.push_back(needle_sentence(kind, key, value(kind, draw)));
    }
  } else {
    sentences = haystack(kind, draw);
  }
  return {"", join(sentences),
          fmt::format("needle-haystack/{}/{}", kKinds[static_cast<size_t>(kind)], index)};
}

Result<Settings> read_settings(const TaskOptions& options) {
  Settings settings;
  for (const auto& [name, value] : options.settings) {
    if (name == "kind") {
      const auto found = std::ranges::find(kKinds, value);
      if (found == kKinds.end() && value != "all")
        return bad_setting(kName, name, value, "sk1, sk2, sk3, mk1, mk2, mk3, mv, mq or all");
      settings.kind.reset();
      if (found != kKinds.end()) settings.kind = static_cast<Kind>(found - kKinds.begin());
    } else if (name == "documents") {
      MSA_TRY(read_count(kName, name, value, kMinDocuments, kMaxDocuments, settings.documents));
    } else if (name == "questions") {
      MSA_TRY(read_count(kName, name, value, 1, 1024, settings.questions));
    } else if (name == "lookalikes") {
      MSA_TRY(read_count(kName, name, value, 0, kMaxDocuments, settings.lookalikes));
    } else if (name == "pairs") {
      if (value != "true" && value != "false")
        return bad_setting(kName, name, value, "true or false");
      settings.pairs = value == "true";
    } else {
      return Error{Code::invalid_argument,
                   fmt::format("task needle: no setting '{}'; known are kind, documents, "
                               "questions, lookalikes and pairs",
                               name)};
    }
  }
  return settings;
}

}  // namespace
}  // namespace msa::needle

namespace msa {

TaskDescription describe_needle_task() {
  return {std::string(needle::kName),
          "RULER's eight needle tasks, their haystack cut into documents; answers are scored by "
          "the values that occur in them",
          {{"kind", "sk1, sk2, sk3, mk1, mk2, mk3, mv, mq, or all: one after the other (all)"},
           {"documents", "per sample, at most three quarters of them with needles asked for (24)"},
           {"questions",
            "per sample, fewer if its documents do not give so many; with 1, the numbers of keys "
            "and values are RULER's (6)"},
           {"lookalikes",
            "mv and mq: so many documents of a sample, as far as there is room, hold needles whose "
            "keys share words with those asked for (0)"},
           {"pairs",
            "true: keys are adjective and noun as in RULER, some 20,000 of them to be asked for; "
            "false: adjective and two nouns, some 7 million (false)"}}};
}

Result<std::unique_ptr<Task>> make_needle_task(const TaskOptions& options) {
  MSA_ASSIGN(const needle::Settings settings, needle::read_settings(options));
  return std::make_unique<needle::NeedleTask>(options, settings);
}

}  // namespace msa
