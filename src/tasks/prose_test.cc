#include "tasks/prose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/test_folder.h"
#include "samples/sample_source.h"
#include "tasks/factbook_wording.h"
#include "tasks/prose_facts.h"
#include "tasks/prose_passages.h"

namespace msa::prose {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kNone = std::string::npos;

TaskOptions options(Split split, std::map<std::string, std::string> settings = {}) {
  TaskOptions options;
  options.split = split;
  options.data = MSA_TESTDATA "/../data";
  options.settings = std::move(settings);
  return options;
}

std::unique_ptr<Task> make_new(const TaskOptions& options) {
  auto task = make_prose_task(options);
  if (!task) throw std::runtime_error(task.error().message);
  return std::move(task).value();
}

// Made once for all tests: reading the data takes a while.
const Task* make(Split split, const std::map<std::string, std::string>& settings = {}) {
  static std::map<std::pair<Split, std::map<std::string, std::string>>, std::unique_ptr<Task>> all;
  std::unique_ptr<Task>& task = all[{split, settings}];
  if (!task) task = make_new(options(split, settings));
  return task.get();
}

std::shared_ptr<const Passages> passages() {
  static const std::shared_ptr<const Passages> loaded = [] {
    auto result = Passages::load(MSA_TESTDATA "/../data", {});
    if (!result) throw std::runtime_error(result.error().message);
    return std::move(result).value();
  }();
  return loaded;
}

std::string fact(Relation relation, std::string_view text) {
  for (const PassageFact& found : find_facts(text))
    if (found.relation == relation) return std::string(found.value);
  return "(none)";
}

TEST(ProseFacts, LivesOfPeople) {
  const std::string_view odd =
      "Helmut Weiss( January 25, 1907 – January 13, 1969) was a German actor, screenwriter and "
      "film director.";
  EXPECT_EQ(fact(Relation::born, odd), "January 25, 1907");
  EXPECT_EQ(fact(Relation::died, odd), "January 13, 1969");
  EXPECT_EQ(fact(Relation::description, odd), "German actor");
  EXPECT_EQ(fact(Relation::nationality, odd), "German");
  EXPECT_EQ(fact(Relation::profession, odd), "actor");

  const std::string_view alive =
      "Debbie Lindley( born 4 June 1973 in Mirfield, West Yorkshire) is an English television "
      "presenter. She grew up "
      "in Leeds.";
  EXPECT_EQ(fact(Relation::born, alive), "4 June 1973");
  EXPECT_EQ(fact(Relation::died, alive), "(none)");
  EXPECT_EQ(fact(Relation::birthplace, alive), "Mirfield, West Yorkshire");
  EXPECT_EQ(fact(Relation::profession, alive), "television presenter");
  EXPECT_EQ(fact(Relation::grew_up, alive), "Leeds");

  EXPECT_EQ(
      fact(Relation::born,
           "Geoffroy II of Thouars,( 990- 1055), was the son of Savary III and the viscount."),
      "990");
  EXPECT_EQ(
      fact(Relation::died,
           "Geoffroy II of Thouars,( 990- 1055), was the son of Savary III and the viscount."),
      "1055");
  EXPECT_EQ(
      fact(Relation::parent,
           "Geoffroy II of Thouars,( 990- 1055), was the son of Savary III and the viscount."),
      "Savary III");
  EXPECT_EQ(fact(Relation::spouse, "Ann Baring was the wife of Alexander Baring, Lord Ashburton."),
            "Alexander Baring");
  EXPECT_EQ(fact(Relation::spouse, "Anna was the wife of the German chancellor."), "(none)");
  EXPECT_EQ(
      fact(Relation::spouse,
           "Ramabai was an Indian. She was married to Madhavrao Peshwa I. Her life was short."),
      "Madhavrao Peshwa I");
  EXPECT_EQ(
      fact(Relation::parent,
           "Sir Alexander( 1881 – 1972) was the husband of Patricia, daughter of Prince Arthur."),
      "(none)");
}

TEST(ProseFacts, WorksAndPlaces) {
  const std::string_view film =
      "The Cavalier is a 1917 British silent film directed by A. V. Bramble and Eliot Stannard and "
      "starring Mercy "
      "Hatton, Edward O'Neill and George Bellamy.";
  EXPECT_EQ(fact(Relation::year, film), "1917");
  EXPECT_EQ(fact(Relation::director, film), "A. V. Bramble and Eliot Stannard");
  EXPECT_EQ(fact(Relation::cast, film), "Mercy Hatton, Edward O'Neill and George Bellamy");
  EXPECT_EQ(fact(Relation::nationality, film), "(none)");
  EXPECT_EQ(fact(Relation::director, "Beasts of Prey is a 1985 film directed by Kim Ki- young."),
            "Kim Ki- young");
  EXPECT_EQ(fact(Relation::performer,
                 "Live is an album by the British glam rock band Sweet, released in 1999."),
            "Sweet");
  EXPECT_EQ(fact(Relation::release,
                 "Live is an album by the British glam rock band Sweet, released in 1999."),
            "1999");
  const std::string_view village =
      "Alkino is a rural locality in Chishminsky District, Bashkortostan, Russia. The population "
      "was 432 as of 2010.";
  EXPECT_EQ(fact(Relation::location, village), "Chishminsky District, Bashkortostan, Russia");
  EXPECT_EQ(fact(Relation::population, village), "432");
  EXPECT_TRUE(find_facts("Daughter of Destiny may refer to:").empty());
  EXPECT_TRUE(find_facts("").empty());
  EXPECT_TRUE(find_facts("(((( born").empty());
}

TEST(ProseFacts, FactsOfOthersAreLeftAlone) {
  // Only sentences about the subject count.
  EXPECT_EQ(fact(Relation::born, "The Bridge is a novel. Its author was born on 3 May 1950."),
            "(none)");
}

TEST(ProseFacts, ValuesArePartsOfTheText) {
  for (const Passage& passage : passages()->all())
    for (const PassageFact& found : find_facts(passage.document.text)) {
      const std::string& text = passage.document.text;
      EXPECT_GE(found.value.data(), text.data());
      EXPECT_LE(found.value.data() + found.value.size(), text.data() + text.size());
      EXPECT_FALSE(found.value.empty());
    }
}

TEST(ProseFacts, SentencesEndWhereTheyEnd) {
  EXPECT_THAT(sentences("It is by A. V. Bramble. He lived in St. Petersburg. No!"),
              ElementsAre("It is by A. V. Bramble.", "He lived in St. Petersburg.", "No!"));
  EXPECT_THAT(sentences("One\n\nTwo"), ElementsAre("One", "Two"));
  EXPECT_TRUE(sentences("").empty());
  EXPECT_TRUE(sentences("   ").empty());
}

TEST(ProseFacts, EveryRelationHasPhrases) {
  std::set<Relation> relations;
  for (const RelationPhrases& relation : relation_phrases()) {
    EXPECT_TRUE(relations.insert(relation.relation).second);
    EXPECT_GE(relation.phrases.size(), 6u);
    EXPECT_GE(factbook::of_split(relation.phrases, Split::test).size(), 2u);
    if (!relation.descriptions.empty()) {
      EXPECT_GE(factbook::of_split(relation.descriptions, Split::test).size(), 1u);
    }
    for (const std::string_view phrase : relation.phrases)
      EXPECT_NE(phrase.find("{c}"), kNone) << phrase;
    EXPECT_EQ(&phrases_of(relation.relation), &relation);
  }
  EXPECT_TRUE(relations.contains(Relation::capital_of));
  EXPECT_EQ(relations.size(), static_cast<size_t>(Relation::capital_of) + 1);
}

TEST(Prose, SamplesDependOnOptionsAndIndexOnly) {
  const auto one = make_new(options(Split::train)), two = make_new(options(Split::train));
  (void)two->sample(9);
  for (const uint64_t index : {0ull, 3ull, 1ull << 40}) {
    EXPECT_EQ(write_sample(one->sample(index)), write_sample(two->sample(index)));
    EXPECT_EQ(one->distractor(index).text, two->distractor(index).text);
  }
  EXPECT_NE(write_sample(one->sample(1)), write_sample(one->sample(2)));
}

void check_questions(const Task& task, Split split) {
  std::map<std::string, size_t> kinds;
  size_t renamed = 0, documents = 0;
  std::unordered_map<std::string, const SampleDocument*> by_id;
  for (const SampleDocument& document : task.collection()) by_id[document.id] = &document;
  std::unordered_set<std::string> held_out;
  for (const Passage& passage : passages()->all())
    if (passage.test) held_out.insert(passage.document.id);
  for (uint64_t i = 0; i < 400; ++i) {
    const Sample sample = task.sample(i);
    EXPECT_TRUE(parse_sample(write_sample(sample), "here").ok());
    ASSERT_LE(sample.documents.size(), 24u);
    for (const SampleDocument& document : sample.documents) {
      ++documents;
      renamed += document.id.empty() ? 1 : 0;
      if (split == Split::test) {
        const auto found = by_id.find(document.id);
        ASSERT_NE(found, by_id.end());
        EXPECT_EQ(document.text, found->second->text);
        EXPECT_EQ(document.title, found->second->title);
        EXPECT_TRUE(held_out.contains(document.id)) << document.title;
      } else {
        EXPECT_FALSE(held_out.contains(document.id)) << document.title;
        EXPECT_LE(std::ranges::count(document.text, ' '), 110);
      }
    }
    std::set<std::string> asked;
    for (const SampleQuestion& question : sample.questions) {
      ++kinds[question.kind];
      EXPECT_TRUE(asked.insert(question.question).second) << question.question;
      EXPECT_EQ(question.question.find('{'), kNone) << question.question;
      for (const auto& step : question.steps) {
        ASSERT_EQ(step.size(), 1u);
        ASSERT_LT(step[0], sample.documents.size());
      }
      const SampleDocument& last = sample.documents[question.steps.back()[0]];
      const std::string whole = last.title + "\n" + last.text;
      EXPECT_NE(whole.find(question.answer), kNone) << question.answer << " in " << last.title;
      EXPECT_EQ(question.question.find(question.answer), kNone) << question.question;
      if (question.kind == "two-hop") {
        ASSERT_EQ(question.steps.size(), 2u);
        EXPECT_NE(question.steps[0][0], question.steps[1][0]);
        EXPECT_EQ(question.question.find(last.title), kNone) << question.question;
      } else {
        EXPECT_EQ(question.steps.size(), 1u);
      }
      if (question.kind == "gap") {
        // With the gap filled, the sentence stands in the passage.
        std::string filled = question.question;
        const size_t gap = filled.find("___");
        ASSERT_NE(gap, kNone);
        filled.replace(gap, 3, question.answer);
        ASSERT_GE(gap, 2u);
        EXPECT_NE(last.text.find(filled.substr(gap - 2, 2 + question.answer.size())), kNone)
            << filled;
      }
      if (question.kind == "title") {
        EXPECT_TRUE(last.title.starts_with(question.answer) || question.answer == last.title);
      }
    }
  }
  EXPECT_GT(kinds["fact"], 2000u);
  EXPECT_GT(kinds["gap"], 500u);
  EXPECT_GT(kinds["title"], 200u);
  EXPECT_GT(kinds["two-hop"], 200u);
  if (split == Split::test) {
    EXPECT_EQ(renamed, 0u);
  } else {
    EXPECT_GT(renamed, documents / 5);
    EXPECT_LT(renamed, documents / 2);
  }
}

TEST(Prose, AnswersStandInTheDocumentsOfTheLastStep) {
  check_questions(*make(Split::train), Split::train);
  check_questions(*make(Split::test), Split::test);
}

TEST(Prose, CollectionIsAllPassages) {
  const Task* const task = make(Split::test);
  EXPECT_EQ(task->collection().size(), 6119u);
  size_t test = 0;
  for (const Passage& passage : passages()->all()) test += passage.test ? 1 : 0;
  EXPECT_GT(test, 6119u * 12 / 100);
  EXPECT_LT(test, 6119u * 18 / 100);
}

TEST(Prose, RenamingChangesTheNameThroughout) {
  const Renamer renamer(passages(), Split::train);
  const auto at = passages()->find("Rob Margolies");
  ASSERT_TRUE(at);
  const auto renamed = renamer.rename(*at, 5, /*deep=*/false);
  ASSERT_TRUE(renamed);
  EXPECT_EQ(renamed->document.text.find("Margolies"), kNone);
  EXPECT_EQ(renamed->document.title.find("Rob"), kNone);
  EXPECT_THAT(renamed->document.text, HasSubstr(renamed->name));
  EXPECT_THAT(renamed->document.text, HasSubstr("February 28, 1983"));
  const auto deep = renamer.rename(*at, 5, /*deep=*/true);
  ASSERT_TRUE(deep);
  EXPECT_EQ(deep->document.text.find("February 28, 1983"), kNone);
  EXPECT_EQ(deep->document.text, renamer.rename(*at, 5, true)->document.text);
  EXPECT_NE(deep->document.text, renamer.rename(*at, 6, true)->document.text);
}

TEST(Prose, DistractorsAreNobodys) {
  for (const Split split : {Split::train, Split::test}) {
    const Task* const task = make(split);
    std::unordered_set<std::string> titles;
    for (const SampleDocument& document : task->collection()) titles.insert(document.title);
    std::set<std::string> ids;
    for (uint64_t i = 0; i < 2000; ++i) {
      const SampleDocument document = task->distractor(i < 1990 ? i : (uint64_t{1} << 40) - i);
      EXPECT_FALSE(titles.contains(document.title)) << document.title;
      EXPECT_FALSE(document.text.empty());
      EXPECT_TRUE(ids.insert(document.id).second);
    }
  }
}

TEST(Prose, FurtherFilesAreForTrainingOnly) {
  const TestFolder folder;
  const std::filesystem::path file = folder.path() / "manual.jsonl";
  {
    std::ofstream stream(file);
    for (int i = 0; i < 500; ++i)
      stream
          << R"({"id": "m)" << i << R"(", "title": "Chapter )" << i
          << R"(", "text": "The Frobnicator of Vessel )" << i
          << R"( opens the Great Valve in the year 1987 for all the crew. It closes again when Captain Smith says so."})"
          << "\n";
  }
  const Task* const train = make(Split::train, {{"files", file.string()}});
  const Task* const test = make(Split::test, {{"files", file.string()}});
  EXPECT_EQ(train->collection().size(), 6119u);
  size_t of_file = 0;
  for (uint64_t i = 0; i < 50; ++i) {
    const Sample sample = train->sample(i);
    for (const SampleQuestion& question : sample.questions)
      of_file += sample.documents[question.steps.back()[0]].id.starts_with("m") ? 1 : 0;
    for (const Sample other = test->sample(i); const SampleDocument& document : other.documents)
      EXPECT_FALSE(document.id.starts_with("m"));
  }
  EXPECT_GT(of_file, 10u);
}

TEST(Prose, WrongSettingsAndFilesAreErrors) {
  const auto fails = [](const TaskOptions& options, Code code, std::string_view message) {
    const auto task = make_prose_task(options);
    ASSERT_FALSE(task.ok());
    EXPECT_EQ(task.error().code, code) << task.error().message;
    EXPECT_THAT(task.error().message, HasSubstr(std::string(message)));
  };
  fails(options(Split::train, {{"colour", "red"}}), Code::invalid_argument, "max_words");
  fails(options(Split::train, {{"rename", "2"}}), Code::invalid_argument, "0 to 1");
  fails(options(Split::train, {{"questions", "0"}}), Code::invalid_argument, "from 1 to 1024");
  fails(options(Split::train, {{"hops", "x"}}), Code::invalid_argument, "mixed");
  fails(options(Split::train, {{"files", "no-such-file.jsonl"}}), Code::not_found,
        "no-such-file.jsonl");
  TaskOptions nowhere = options(Split::train);
  nowhere.data = "no-such-folder";
  fails(nowhere, Code::not_found, "no-such-folder");

  const TestFolder folder;
  const std::filesystem::path untitled = folder.path() / "untitled.jsonl",
                              empty = folder.path() / "empty.jsonl";
  std::ofstream(untitled) << R"({"id": "a", "text": "no title"})"
                          << "\n";
  std::ofstream(empty) << "";
  fails(options(Split::train, {{"files", untitled.string()}}), Code::corrupt, "no title");
  fails(options(Split::train, {{"files", empty.string()}}), Code::corrupt, "no passage");
}

TEST(Prose, SettingsShapeTheSamples) {
  const auto one =
      make(Split::train, {{"hops", "1"}, {"documents", "8"}, {"questions", "4"}, {"rename", "0"}});
  const Task* const two = make(Split::train, {{"hops", "2"}});
  size_t questions = 0;
  for (uint64_t i = 0; i < 50; ++i) {
    const Sample sample = one->sample(i);
    EXPECT_LE(sample.documents.size(), 8u);
    EXPECT_LE(sample.questions.size(), 4u);
    for (const SampleQuestion& question : sample.questions) EXPECT_EQ(question.steps.size(), 1u);
    for (const Sample hops = two->sample(i); const SampleQuestion& question : hops.questions) {
      EXPECT_EQ(question.kind, "two-hop");
      ++questions;
    }
  }
  EXPECT_GT(questions, 200u);
}

}  // namespace
}  // namespace msa::prose
