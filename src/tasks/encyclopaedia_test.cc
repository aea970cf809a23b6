#include "tasks/encyclopaedia.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "samples/sample.h"
#include "samples/sample_source.h"
#include "tasks/encyclopaedia_facts.h"
#include "tasks/factbook_wording.h"
#include "tasks/task.h"
#include "tasks/testing_phrases.h"

namespace msa::encyclopaedia {
namespace {

using factbook::of_split;
using ::testing::HasSubstr;
using Settings = std::map<std::string, std::string>;

constexpr auto kNone = std::string_view::npos;

std::unique_ptr<Task> make(Split split, Settings settings = {}, uint64_t seed = 1) {
  TaskOptions options;
  options.split = split;
  options.seed = seed;
  options.data = "no-such-folder";  // needs none
  options.settings = std::move(settings);
  auto task = make_task("encyclopaedia", options);
  if (!task) throw std::runtime_error(task.error().message);
  return std::move(task).value();
}

size_t count(std::string_view text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != kNone; at = text.find(part, at + part.size())) ++found;
  return found;
}

TEST(EncyclopaediaFacts, TablesAreWellFormed) {
  std::set<std::string_view> keys;
  for (const Relation& relation : relations()) {
    SCOPED_TRACE(relation.key);
    EXPECT_TRUE(keys.insert(relation.key).second);
    EXPECT_GE(relation.sentences.size(), 3u);
    for (const std::string_view sentence : relation.sentences)
      EXPECT_EQ(count(sentence, "{v}"), 1u) << sentence;
    for (const Split split : {Split::train, Split::test})
      EXPECT_GE(of_split(relation.phrases, split).size(), 2u);
    for (const std::string_view phrase : relation.phrases) {
      EXPECT_EQ(count(phrase, "{c}"), 1u) << phrase;
      EXPECT_EQ(phrase.find("{v}"), kNone) << phrase;
    }
    EXPECT_EQ(relation.value.linked, !relation.descriptions.empty());
    for (const std::string_view description : relation.descriptions) {
      EXPECT_EQ(count(description, "{c}"), 1u) << description;
      EXPECT_FALSE(description.ends_with('?') || description.ends_with('.')) << description;
    }
    for (const auto& phrases : {relation.phrases, relation.descriptions})
      EXPECT_EQ(std::set(phrases.begin(), phrases.end()).size(), phrases.size());
  }
  EXPECT_GE(keys.size(), 90u);
  for (const PairSentence& pair : pair_sentences()) {
    EXPECT_TRUE(keys.contains(pair.first)) << pair.first;
    EXPECT_TRUE(keys.contains(pair.second)) << pair.second;
    EXPECT_EQ(count(pair.sentence, "{v}"), 1u) << pair.sentence;
    EXPECT_EQ(count(pair.sentence, "{w}"), 1u) << pair.sentence;
  }
}

TEST(EncyclopaediaFacts, NoFurtherPhraseSaysWhatAHeldOutOneSays) {
  size_t further = 0;
  for (const auto& part : {more_person_phrases(), more_place_phrases(), more_nature_phrases(),
                           more_work_phrases(), more_institution_phrases(), more_craft_phrases()})
    for (const MorePhrases& more : part) {
      const auto relation = std::ranges::find(relations(), more.relation, &Relation::key);
      ASSERT_NE(relation, relations().end()) << more.relation;
      std::set<std::set<std::string>> held_out;
      for (const auto& phrases : {relation->phrases, relation->descriptions})
        for (const std::string_view phrase : of_split(phrases, Split::test))
          held_out.insert(factbook::content_of(phrase));
      for (const auto& phrases : {more.phrases, more.descriptions})
        for (const std::string_view phrase : phrases) {
          ++further;
          EXPECT_FALSE(phrase.starts_with('~')) << phrase;
          EXPECT_FALSE(held_out.contains(factbook::content_of(phrase))) << phrase;
        }
    }
  EXPECT_GT(further, 1000u);
}

TEST(Encyclopaedia, SamplesDependOnOptionsAndIndexOnly) {
  const auto task = make(Split::train), again = make(Split::train);
  for (uint64_t i = 20; i-- > 0;)
    EXPECT_EQ(write_sample(task->sample(i)), write_sample(again->sample(i))) << i;
  const auto other = make(Split::train, {}, 2), test = make(Split::test);
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(task->distractor(i).text, again->distractor(i).text);
    EXPECT_NE(write_sample(task->sample(i)), write_sample(other->sample(i)));
    EXPECT_NE(write_sample(task->sample(i)), write_sample(test->sample(i)));
    EXPECT_NE(write_sample(task->sample(i)), write_sample(task->sample(i + 1)));
  }
  EXPECT_TRUE(task->collection().empty());
}

// The last document of a chain says the answer; each one before it names the title of the next.
TEST(Encyclopaedia, DocumentsAnswerTheirQuestions) {
  for (const Split split : {Split::train, Split::test})
    for (const char* hops : {"1", "2", "3", "mix"}) {
      const auto task = make(split, {{"hops", hops}});
      size_t questions = 0, titled = 0;
      for (uint64_t i = 0; i < 30; ++i) {
        const Sample sample = task->sample(i);
        SCOPED_TRACE(sample.where + " " + hops);
        ASSERT_EQ(sample_problem(sample), "");
        EXPECT_GE(sample.documents.size(), 4u);
        for (const SampleQuestion& question : sample.questions) {
          ++questions;
          if (*hops != 'm') {
            EXPECT_EQ(question.steps.size(), static_cast<size_t>(*hops - '0'));
          }
          for (const auto& step : question.steps) EXPECT_EQ(step.size(), 1u);
          const SampleDocument& last = sample.documents[question.steps.back().front()];
          EXPECT_THAT(last.title + "\n" + last.text, HasSubstr(question.answer));
          for (size_t s = 0; s + 1 < question.steps.size(); ++s) {
            const SampleDocument& here = sample.documents[question.steps[s].front()];
            const SampleDocument& there = sample.documents[question.steps[s + 1].front()];
            if (there.title.empty()) continue;  // its text says what it is about
            ++titled;
            EXPECT_THAT(here.text, HasSubstr(there.title)) << question.question;
            EXPECT_EQ(question.question.find(there.title), kNone) << question.question;
          }
          EXPECT_EQ(question.question.find_first_of("{}[]|~^"), kNone) << question.question;
          EXPECT_TRUE(question.question.ends_with('?') || question.question.ends_with('.'))
              << question.question;
        }
        for (const SampleDocument& document : sample.documents)
          EXPECT_EQ(document.text.find_first_of("{}[]|~^"), kNone) << document.text;
      }
      EXPECT_GT(questions, 100u) << hops;
      if (*hops != '1') {
        EXPECT_GT(titled, 30u) << hops;
      }
    }
}

std::set<std::string> titles(const Task& task, uint64_t samples) {
  std::set<std::string> all;
  for (uint64_t i = 0; i < samples; ++i)
    for (const SampleDocument& document : task.sample(i).documents)
      if (!document.title.empty()) all.insert(document.title);
  return all;
}

// Names belong to one split, and those of distractors to no sample.
TEST(Encyclopaedia, NamesAreOfOneUse) {
  const auto train = make(Split::train), test = make(Split::test);
  const std::set<std::string> ours = titles(*train, 60), theirs = titles(*test, 60);
  std::vector<std::string> both;
  EXPECT_GT(ours.size(), 500u);
  std::ranges::set_intersection(ours, theirs, std::back_inserter(both));
  EXPECT_THAT(both, ::testing::IsEmpty());
  for (uint64_t i = 0; i < 400; ++i) {
    EXPECT_FALSE(ours.contains(train->distractor(i).title));
    EXPECT_FALSE(theirs.contains(test->distractor(i).title));
  }
}

TEST(Encyclopaedia, WrongSettingsAreErrorsWithTheRemedy) {
  const auto message = [](const Settings& settings) {
    TaskOptions options;
    options.settings = settings;
    const auto task = make_task("encyclopaedia", options);
    return task ? std::string() : task.error().message;
  };
  EXPECT_EQ(message({{"documents", "8"}, {"hops", "2"}, {"length", "short"}}), "");
  EXPECT_THAT(message({{"hops", "4"}}), HasSubstr("1, 2, 3 or mix"));
  EXPECT_THAT(message({{"length", "huge"}}), HasSubstr("short, long or mix"));
  EXPECT_THAT(message({{"documents", "3"}}), HasSubstr("documents"));
  EXPECT_THAT(message({{"lookalikes", "2"}}), HasSubstr("lookalikes"));
  EXPECT_THAT(message({{"colour", "red"}}), HasSubstr("known are documents"));
}

}  // namespace
}  // namespace msa::encyclopaedia
