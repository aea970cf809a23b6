#include "tasks/words.h"

#include <fmt/format.h>

#include <array>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tasks/factbook_names.h"
#include "tasks/factbook_settings.h"
#include "tasks/words_list.h"

namespace msa::words {
namespace {
using factbook::mix;
using factbook::read_count;
using factbook::read_share;

constexpr std::string_view kName = "words";
constexpr size_t kMinWords = 3, kMaxWords = 200;
// One word of so many is of the test split.
constexpr size_t kTestShare = 8;

constexpr std::array<std::string_view, 6> kTrainQuestions = {
    "Which word follows \"{} {}\"?",
    "What comes after {} {}?",
    "{} {} and then?",
    "Find {} {}. What is the next word?",
    "Where is {} {}? Name the word behind.",
    "The word behind {} {}?"};
constexpr std::array<std::string_view, 2> kTestQuestions = {
    "What is the word that comes behind {} {}?", "After {} {}, which word?"};

// These say nothing of the text that is meant.
constexpr std::array<std::string_view, 4> kBlindQuestions = {
    "Which text is it? Give its first word.", "What is the first word?", "How does it begin?",
    "The text begins with which word?"};

struct Settings {
  size_t documents = 16, questions = 10, min_words = 3, max_words = 5;
  double blind = 0;
};

class WordsTask final : public Task {
 public:
  WordsTask(const TaskOptions& options, const Settings& settings)
      : settings_(settings),
        seed_(mix(options.seed, options.split == Split::test ? 12 : 11)),
        questions_(options.split == Split::test ? std::span<const std::string_view>(kTestQuestions)
                                                : kTrainQuestions) {
    size_t place = 0;
    for (const std::string_view word : common_words())
      if ((place++ % kTestShare == 0) == (options.split == Split::test)) words_.push_back(word);
  }

  std::string_view name() const override { return kName; }
  const std::vector<SampleDocument>& collection() const override { return nothing_; }

  Sample sample(uint64_t index) const override {
    Random draw(mix(seed_, 1), index);
    Sample sample;
    sample.where = fmt::format("words:{}", index);
    std::set<std::pair<std::string_view, std::string_view>> pairs;
    std::vector<std::vector<std::string_view>> texts;
    for (size_t d = 0; d < settings_.documents; ++d) {
      std::vector<std::string_view> text = {draw.pick(words_)};
      const uint64_t length = draw.between(settings_.min_words, settings_.max_words);
      while (text.size() < length)
        if (const std::string_view word = draw.pick(words_);
            pairs.emplace(text.back(), word).second)
          text.push_back(word);
      sample.documents.push_back(
          {"", fmt::format("{}", fmt::join(text, " ")), fmt::format("words/{}/{}", index, d)});
      texts.push_back(std::move(text));
    }
    std::vector<uint32_t> order(texts.size());
    for (size_t d = 0; d < order.size(); ++d) order[d] = static_cast<uint32_t>(d);
    draw.shuffle(order);
    order.resize(std::min(order.size(), settings_.questions));
    for (const uint32_t d : order) {
      const std::vector<std::string_view>& text = texts[d];
      SampleQuestion question;
      question.steps = {{d}};
      if (draw.chance(settings_.blind)) {
        question.question = draw.pick(kBlindQuestions);
        question.answer = text.front();
      } else {
        const auto at = static_cast<size_t>(draw.below(text.size() - 2));
        question.question =
            fmt::format(fmt::runtime(draw.pick(questions_)), text[at], text[at + 1]);
        question.answer = text[at + 2];
      }
      question.kind = kName;
      sample.questions.push_back(std::move(question));
    }
    return sample;
  }

  SampleDocument distractor(uint64_t index) const override {
    Random draw(mix(seed_, 2), index);
    std::vector<std::string_view> text;
    const uint64_t length = draw.between(settings_.min_words, settings_.max_words);
    while (text.size() < length) text.push_back(draw.pick(words_));
    return {"", fmt::format("{}", fmt::join(text, " ")), fmt::format("words-distractor/{}", index)};
  }

 private:
  Settings settings_;
  uint64_t seed_;
  std::span<const std::string_view> questions_;
  std::vector<std::string_view> words_;
  std::vector<SampleDocument> nothing_;
};

Result<Settings> read_settings(const TaskOptions& options) {
  Settings settings;
  for (const auto& [name, value] : options.settings) {
    if (name == "documents") {
      MSA_TRY(read_count(kName, name, value, 1, 1024, settings.documents));
    } else if (name == "questions") {
      MSA_TRY(read_count(kName, name, value, 1, 1024, settings.questions));
    } else if (name == "min_words") {
      MSA_TRY(read_count(kName, name, value, kMinWords, kMaxWords, settings.min_words));
    } else if (name == "max_words") {
      MSA_TRY(read_count(kName, name, value, kMinWords, kMaxWords, settings.max_words));
    } else if (name == "blind") {
      MSA_TRY(read_share(kName, name, value, settings.blind));
    } else {
      return Error{Code::invalid_argument,
                   fmt::format("task words: no setting '{}'; known are documents, questions, "
                               "min_words, max_words and blind",
                               name)};
    }
  }
  if (settings.min_words > settings.max_words)
    return Error{Code::invalid_argument,
                 fmt::format("task words: min_words {} is more than max_words {}; swap them",
                             settings.min_words, settings.max_words)};
  return settings;
}

}  // namespace
}  // namespace msa::words

namespace msa {

TaskDescription describe_words_task() {
  return {std::string(words::kName),
          "the words behind two others in short texts of random words: an exercise that starts "
          "routing, numbers and copying",
          {{"documents", "texts per sample (16)"},
           {"questions", "per sample, fewer if it has fewer texts (10)"},
           {"min_words", "of a text, at least 3 (3)"},
           {"max_words", "of a text (5)"},
           {"blind", "share of questions that do not say which text is meant (0)"}}};
}

Result<std::unique_ptr<Task>> make_words_task(const TaskOptions& options) {
  MSA_ASSIGN(const words::Settings settings, words::read_settings(options));
  return std::make_unique<words::WordsTask>(options, settings);
}

}  // namespace msa
