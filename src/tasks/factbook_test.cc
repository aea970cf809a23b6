#include "tasks/factbook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "samples/sample_source.h"
#include "tasks/factbook_extract.h"
#include "tasks/factbook_facts.h"
#include "tasks/factbook_letters.h"
#include "tasks/factbook_phrase.h"
#include "tasks/factbook_records.h"
#include "tasks/testing_phrases.h"

namespace msa::factbook {
namespace {

using ::testing::AllOf;
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
  auto task = make_factbook_task(options);
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

const Records& records() {
  static const std::shared_ptr<const Records> loaded = [] {
    auto result = Records::load(MSA_TESTDATA "/../data");
    if (!result) throw std::runtime_error(result.error().message);
    return std::move(result).value();
  }();
  return *loaded;
}

std::string country_of(const SampleDocument& document) {
  return document.title.substr(0, document.title.find(": "));
}

// Whether `text` has one of the words in a row, as words of their own.
class NameFinder {
 public:
  explicit NameFinder(bool test) {
    for (const Country& country : records().countries())
      if (country.test == test && !country.name.ends_with(" Ocean") && country.name != "World")
        names_[country.name.substr(0, word_end(country.name, 0))].push_back(country.name);
  }
  std::string find(const std::string& text) const {
    for (size_t i = 0; i < text.size();) {
      const size_t end = word_end(text, i);
      if (end > i)
        if (const auto names = names_.find(text.substr(i, end - i)); names != names_.end())
          for (const std::string& name : names->second)
            if (text.compare(i, name.size(), name) == 0 &&
                (i + name.size() == text.size() || letter_at(text, i + name.size()) == 0))
              return name;
      i = std::max(end, i + 1);
    }
    return {};
  }

 private:
  std::unordered_map<std::string, std::vector<std::string>> names_;
};

TEST(FactbookFacts, TableIsWellFormed) {
  std::set<std::string_view> keys, fields;
  for (const Fact& fact : facts()) {
    EXPECT_TRUE(keys.insert(fact.key).second) << fact.key;
    fields.insert(fact.field);
    EXPECT_TRUE(records().field(fact.field)) << fact.field;
    EXPECT_GE(fact.phrases.size(), 8u) << fact.key;
    EXPECT_GE(of_split(fact.phrases, Split::test).size(), 2u) << fact.key;
    const bool needs_item =
        fact.rule == Rule::item_share || fact.rule == Rule::border || fact.rule == Rule::city;
    for (const std::string_view phrase : fact.phrases) {
      EXPECT_EQ(phrase.find("{c}") == kNone, fact.rule == Rule::city && phrase.find("{c}") == kNone)
          << phrase;
      EXPECT_EQ(phrase.find("{i}") != kNone, needs_item) << phrase;
      EXPECT_EQ(phrase.find("{y}") != kNone, fact.rule == Rule::in_year) << phrase;
    }
    const std::set<std::string_view> different(fact.phrases.begin(), fact.phrases.end());
    EXPECT_EQ(different.size(), fact.phrases.size()) << fact.key;
  }
  EXPECT_GE(fields.size(), 60u);
  for (const Bridge& bridge : bridges()) {
    EXPECT_TRUE(keys.contains(bridge.fact)) << bridge.fact;
    EXPECT_GE(of_split(bridge.clauses, Split::test).size(), 2u) << bridge.fact;
    for (const std::string_view clause : bridge.clauses)
      EXPECT_NE(clause.find("{v}"), kNone) << clause;
  }
}

TEST(FactbookFacts, HeldOutPhrasesAreSaidInWordsThatTrainingKnows) {
  std::unordered_set<std::string> known;
  const auto words = [](std::string_view text) {
    std::vector<std::string> found;
    for (size_t i = 0; i < text.size();) {
      const size_t end = word_end(text, i);
      if (end > i + 1) found.push_back(lower(text.substr(i, end - i)));
      i = std::max(end, i + 1);
    }
    return found;
  };
  for (const Fact& fact : facts())
    for (const std::string_view phrase : of_split(fact.phrases, Split::train))
      for (std::string& word : words(phrase)) known.insert(std::move(word));
  size_t all = 0, unknown = 0;
  for (const Fact& fact : facts())
    for (const std::string_view phrase : of_split(fact.phrases, Split::test))
      for (const std::string& word : words(phrase)) {
        ++all;
        unknown += known.contains(word) ? 0 : 1;
      }
  EXPECT_LT(unknown * 100, all) << unknown << " of " << all;
}

TEST(FactbookFacts, NoFurtherPhraseSaysWhatAHeldOutOneSays) {
  size_t further = 0;
  for (const auto& part : {more_land_phrases(), more_people_phrases(), more_health_phrases(),
                           more_state_phrases(), more_economy_phrases(), more_energy_phrases()})
    for (const MorePhrases& more : part) {
      const auto fact = std::ranges::find(facts(), more.fact, &Fact::key);
      ASSERT_NE(fact, facts().end()) << more.fact;
      std::set<std::set<std::string>> held_out;
      for (const std::string_view phrase : of_split(fact->phrases, Split::test))
        held_out.insert(content_of(phrase));
      for (const std::string_view phrase : more.phrases) {
        ++further;
        EXPECT_FALSE(phrase.starts_with('~')) << phrase;
        EXPECT_FALSE(held_out.contains(content_of(phrase))) << phrase;
      }
    }
  EXPECT_GT(further, 2000u);
}

std::string value_of(std::string_view key, std::string_view text, uint64_t choice = 0) {
  const auto fact = std::ranges::find(facts(), key, &Fact::key);
  const auto found = extract(*fact, text, choice);
  return found ? std::string(found->value) : "(none)";
}

TEST(FactbookExtract, ReadsValues) {
  EXPECT_EQ(value_of("population", "total: 35,291 (2025 est.). male: 17,035. female: 18,256."),
            "35,291");
  EXPECT_EQ(value_of("population/men", "total: 35,291 (2025 est.). male: 17,035. female: 18,256."),
            "17,035");
  EXPECT_EQ(
      value_of("population/women", "total: 35,291 (2025 est.). male: 17,035. female: 18,256."),
      "18,256");
  EXPECT_EQ(value_of("population", "(2020) approximately 18,195 on the base."), "(none)");
  EXPECT_EQ(value_of("capital", "name: N'Djamena. geographic coordinates: 12 06 N, 15 02 E."),
            "N'Djamena");
  EXPECT_EQ(value_of("capital/coordinates",
                     "name: N'Djamena. geographic coordinates: 12 06 N, 15 02 E. time difference: "
                     "UTC+1 (6 hours ahead)."),
            "12 06 N, 15 02 E");
  EXPECT_EQ(value_of("highest", "highest point: Emi Koussi 3,445 m. lowest point: Djourab 160 m."),
            "Emi Koussi");
  EXPECT_EQ(
      value_of("highest/height", "highest point: Emi Koussi 3,445 m. lowest point: Djourab 160 m."),
      "3,445 m");
  EXPECT_EQ(
      value_of("lowest", "highest point: Mount X (a peak) 1 m. lowest point: Lake Eyre -15 m."),
      "Lake Eyre");
  EXPECT_EQ(
      value_of(
          "currency",
          "Currency: Danish kroner (DKK) per US dollar -. Exchange rates 2024: 6.894 (2024 est.)."),
      "Danish kroner");
  EXPECT_EQ(value_of("currency/code", "Currency: Danish kroner (DKK) per US dollar -."), "DKK");
  EXPECT_EQ(value_of("growth",
                     "Real GDP growth rate 2024: 1.7% (2024 est.). Real GDP growth rate 2023: "
                     "-0.7% (2023 est.)."),
            "1.7%");
  EXPECT_EQ(value_of("main religion", "Catholic 69%, Orthodox 4%, other 27% (2019 est.)."),
            "Catholic");
  EXPECT_EQ(value_of("main religion", "Catholic, Orthodox."), "(none)");
  EXPECT_EQ(value_of("official language",
                     "Languages: Arabic (official), French. major-language sample(s): x."),
            "Arabic");
  EXPECT_EQ(value_of("official language", "English (official), French (official)."), "(none)");
  EXPECT_EQ(value_of("anthem", "title: \"Kimigayo\" (The Emperor's Reign). lyrics/music: unknown."),
            "Kimigayo");
  EXPECT_EQ(value_of("main export", "gold, cocoa beans, rubber (2023)."), "gold");
  EXPECT_EQ(value_of("holiday", "Independence Day, 27 October (1979)."), "Independence Day");
  EXPECT_EQ(value_of("holiday/date", "Independence Day, 27 October (1979)."), "27 October");
  EXPECT_EQ(value_of("independence/from", "3 August 1960 (from France)."), "France");
  EXPECT_EQ(value_of("colors", "green, yellow, red."), "green, yellow, red");
  EXPECT_EQ(value_of("migration", "-0.81 migrant(s)/1,000 population (2025 est.)."), "-0.81");
  EXPECT_EQ(value_of("broadband", "total: (2023 est.) less than 1,000."), "(none)");
  EXPECT_EQ(value_of("troops", "limited available information."), "(none)");
  EXPECT_EQ(value_of("growth", ""), "(none)");
}

TEST(FactbookExtract, AsksForAnItemOrAYear) {
  const auto year = std::ranges::find(facts(), "growth/year", &Fact::key);
  const std::string_view growth = "Rate 2024: 1.7% (2024 est.). Rate 2023: 0.7% (2023 est.).";
  std::set<std::string> seen;
  for (uint64_t choice = 0; choice < 8; ++choice) {
    const auto found = extract(*year, growth, choice);
    ASSERT_TRUE(found);
    seen.insert(std::string(found->year) + "=" + std::string(found->value));
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("2023=0.7%", "2024=1.7%"));

  const auto border = std::ranges::find(facts(), "border with", &Fact::key);
  const auto found =
      extract(*border, "total: 6 km. border countries: Sudan 1,403 km; Niger 1,196 km.", 1);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->item, "Niger");
  EXPECT_EQ(found->value, "1,196 km");
}

TEST(FactbookExtract, CutsAtSentences) {
  EXPECT_EQ(first_words("One two. Three four. Five six.", 4), "One two. Three four.");
  EXPECT_EQ(first_words("One two. Three four.", 4), "One two. Three four.");
  EXPECT_EQ(first_words("One two three four five", 3), "One two three");
  EXPECT_EQ(first_words("", 3), "");
  EXPECT_EQ(without_unit("83 billion cubic meters"), "83 billion");
  EXPECT_EQ(without_unit("12 nm"), "12");
  EXPECT_EQ(without_unit("3 August 1960"), "3 August 1960");
  EXPECT_EQ(without_unit("$1.2"), "$1.2");
}

TEST(FactbookNames, StandInQuestionsAsPeopleSayThem) {
  EXPECT_EQ(name_in_question("Netherlands"), "the Netherlands");
  EXPECT_EQ(name_in_question("The Gambia"), "the Gambia");
  EXPECT_EQ(name_in_question("Cayman Islands"), "the Cayman Islands");
  EXPECT_EQ(name_in_question("Republic of the Congo"), "the Republic of the Congo");
  EXPECT_EQ(name_in_question("Norfolk Island"), "Norfolk Island");
  EXPECT_EQ(name_in_question("Chad"), "Chad");
  std::string text = "What is {c}'s size?";
  put(text, "{c}", "the Netherlands");
  EXPECT_EQ(text, "What is the Netherlands' size?");
  text = "What is {c}'s size?";
  put(text, "{c}", "Laos");
  EXPECT_EQ(text, "What is Laos's size?");
}

TEST(Factbook, SamplesDependOnOptionsAndIndexOnly) {
  const auto one = make_new(options(Split::train)), two = make_new(options(Split::train));
  (void)two->sample(77);
  for (const uint64_t index : {0ull, 1ull, 5ull, 1ull << 40}) {
    EXPECT_EQ(write_sample(one->sample(index)), write_sample(two->sample(index)));
    EXPECT_EQ(one->distractor(index).text, two->distractor(index).text);
  }
  EXPECT_NE(write_sample(one->sample(1)), write_sample(one->sample(2)));
  TaskOptions other = options(Split::train);
  other.seed = 2;
  EXPECT_NE(write_sample((*make_factbook_task(other))->sample(1)), write_sample(one->sample(1)));
}

TEST(Factbook, TrainingKnowsNothingOfHeldOutCountries) {
  const Task* const task = make(Split::train);
  const NameFinder held_out(/*test=*/true);
  std::unordered_set<std::string> held_out_ids;
  for (const Country& country : records().countries())
    if (country.test)
      for (const uint32_t record : country.records)
        held_out_ids.insert(records().documents()[record].id);
  for (uint64_t i = 0; i < 3000; ++i) {
    const Sample sample = task->sample(i);
    for (const SampleDocument& document : sample.documents) {
      ASSERT_FALSE(held_out_ids.contains(document.id)) << document.id;
      ASSERT_EQ(held_out.find(document.title), "") << document.title;
      ASSERT_EQ(held_out.find(document.text), "") << document.title << ": " << document.text;
    }
    for (const SampleQuestion& question : sample.questions) {
      ASSERT_EQ(held_out.find(question.question), "") << question.question;
      ASSERT_EQ(held_out.find(question.answer), "") << question.answer;
    }
  }
}

// The wordings of a split with the country filled in.
std::unordered_set<std::string> wordings(Split split, const std::vector<std::string>& countries) {
  std::unordered_set<std::string> all;
  for (const Fact& fact : facts())
    for (const std::string_view phrase : of_split(fact.phrases, split)) {
      if (phrase.find("{i}") != kNone || phrase.find("{y}") != kNone) continue;
      for (const std::string& country : countries) {
        const bool whole = phrase.ends_with('?') || phrase.ends_with('.');
        std::vector<std::string> texts = {std::string(phrase)};
        if (!whole) {
          texts.clear();
          const bool plural = phrase.starts_with('+');
          for (const std::string_view frame : of_split(noun_frames(), split)) {
            std::string text(frame);
            put(text, "{is}", plural ? "are" : "is");
            put(text, "{n}", phrase.substr(plural ? 1 : 0));
            texts.push_back(std::move(text));
          }
        }
        for (std::string& text : texts) {
          put(text, "{c}", country);
          capitalize(text);
          all.insert(std::move(text));
        }
      }
    }
  return all;
}

TEST(Factbook, PhrasingsOfTheSplitsAreDisjoint) {
  for (const Split split : {Split::train, Split::test}) {
    const Task* const task = make(split, {{"hops", "1"}});
    const Split other = split == Split::train ? Split::test : Split::train;
    size_t own = 0;
    for (uint64_t i = 0; i < 20; ++i) {
      const Sample sample = task->sample(i);
      std::set<std::string> names;
      for (const SampleDocument& document : sample.documents)
        names.insert(name_in_question(country_of(document)));
      const std::vector<std::string> countries(names.begin(), names.end());
      const auto mine = wordings(split, countries), foreign = wordings(other, countries);
      for (const SampleQuestion& question : sample.questions) {
        EXPECT_FALSE(foreign.contains(question.question)) << question.question;
        own += mine.contains(question.question) ? 1 : 0;
      }
    }
    EXPECT_GT(own, 150u);  // the check sees most questions
  }
}

void check_questions(const Task& task, Split split, uint64_t samples) {
  size_t questions = 0, two_hops = 0, invented = 0, documents = 0;
  for (uint64_t i = 0; i < samples; ++i) {
    const Sample sample = task.sample(i);
    documents += sample.documents.size();
    ASSERT_LE(sample.documents.size(), 24u);
    std::set<std::string> titles, asked;
    for (const SampleDocument& document : sample.documents) {
      EXPECT_TRUE(titles.insert(document.title).second) << document.title;
      invented += document.id.empty() ? 1 : 0;
      EXPECT_FALSE(document.text.empty());
    }
    EXPECT_TRUE(parse_sample(write_sample(sample), "here").ok());
    for (const SampleQuestion& question : sample.questions) {
      ++questions;
      EXPECT_TRUE(asked.insert(question.question).second) << question.question;
      EXPECT_EQ(question.question.find('{'), kNone) << question.question;
      EXPECT_FALSE(question.answer.empty());
      ASSERT_FALSE(question.steps.empty());
      for (const auto& step : question.steps) {
        ASSERT_EQ(step.size(), 1u);
        ASSERT_LT(step[0], sample.documents.size());
      }
      const SampleDocument& last = sample.documents[question.steps.back()[0]];
      const std::string country = country_of(last);
      if (question.kind == "country") {
        EXPECT_EQ(question.answer, country);
      } else {
        EXPECT_NE(last.text.find(question.answer), kNone)
            << question.answer << " in " << last.title;
      }
      for (const std::string& accepted : question.accepted) EXPECT_FALSE(accepted.empty());
      if (question.kind == "one-hop") {
        EXPECT_EQ(question.steps.size(), 1u);
        EXPECT_NE(question.question.find(name_in_question(country).substr(4)), kNone)
            << question.question;
      } else {
        // The country must be found by the value, not by its name.
        EXPECT_EQ(question.question.find(country), kNone) << question.question;
      }
      if (question.kind == "two-hop") {
        ++two_hops;
        ASSERT_EQ(question.steps.size(), 2u);
        EXPECT_NE(question.steps[0][0], question.steps[1][0]);
        EXPECT_EQ(country_of(sample.documents[question.steps[0][0]]), country);
      }
    }
  }
  EXPECT_GT(questions, samples * 12);
  EXPECT_GT(two_hops, samples);
  EXPECT_GT(documents, samples * 20);
  if (split == Split::test) {
    EXPECT_EQ(invented, 0u);
  } else {
    EXPECT_GT(invented, documents / 3);
    EXPECT_LT(invented, documents * 9 / 10);
  }
}

TEST(Factbook, AnswersStandInTheDocumentsOfTheLastStep) {
  check_questions(*make(Split::train), Split::train, 400);
  check_questions(*make(Split::test), Split::test, 400);
}

TEST(Factbook, TestsAskAboutHeldOutCountriesOutOfTheCollection) {
  const Task* const task = make(Split::test);
  std::unordered_map<std::string, const SampleDocument*> by_id;
  for (const SampleDocument& document : task->collection()) by_id[document.id] = &document;
  EXPECT_EQ(task->collection().size(), 32687u);
  EXPECT_EQ(by_id.size(), 32687u);
  std::unordered_set<std::string> held_out;
  for (const Country& country : records().countries())
    if (country.test) held_out.insert(country.name);
  EXPECT_EQ(held_out.size(), 57u);
  for (uint64_t i = 0; i < 300; ++i)
    for (const Sample sample = task->sample(i); const SampleDocument& document : sample.documents) {
      const auto found = by_id.find(document.id);
      ASSERT_NE(found, by_id.end()) << document.id;
      EXPECT_EQ(document.title, found->second->title);
      EXPECT_EQ(document.text, found->second->text);
      EXPECT_TRUE(held_out.contains(country_of(document))) << document.title;
    }
}

TEST(Factbook, BridgesBelongToOneCountryOfTheWholeCollection) {
  const Task* const task = make(Split::test, {{"hops", "2"}});
  size_t checked = 0;
  for (uint64_t i = 0; i < 60; ++i) {
    const Sample sample = task->sample(i);
    for (const SampleQuestion& question : sample.questions) {
      const SampleDocument& first = sample.documents[question.steps[0][0]];
      const std::string field = first.title.substr(first.title.find(": ") + 2);
      for (const Bridge& bridge : bridges()) {
        const Fact& fact = *std::ranges::find(facts(), bridge.fact, &Fact::key);
        const auto found = extract(fact, first.text, 0);
        if (fact.field != field || !found || question.question.find(found->value) == kNone)
          continue;
        ++checked;
        size_t holders = 0;
        for (uint32_t c = 0; c < records().countries().size(); ++c)
          if (const auto record = records().record(c, *records().field(field)))
            holders += records().documents()[*record].text.find(found->value) != kNone ? 1 : 0;
        EXPECT_EQ(holders, 1u) << found->value;
        break;
      }
    }
  }
  EXPECT_GT(checked, 500u);
}

TEST(Factbook, InventedRecordsAreNobodys) {
  for (const Split split : {Split::train, Split::test}) {
    const Task* const task = make(split);
    std::unordered_set<std::string> titles;
    for (const SampleDocument& document : task->collection()) titles.insert(document.title);
    const NameFinder held_out(/*test=*/true);
    std::set<std::string> ids;
    for (uint64_t i = 0; i < 3000; ++i) {
      const uint64_t index = i < 2990 ? i : (uint64_t{1} << 40) - i;
      const SampleDocument document = task->distractor(index);
      EXPECT_FALSE(titles.contains(document.title)) << document.title;
      EXPECT_FALSE(document.text.empty());
      EXPECT_TRUE(ids.insert(document.id).second);
      EXPECT_EQ(held_out.find(document.title), "") << document.title;
      EXPECT_EQ(held_out.find(document.text), "") << document.text;
      EXPECT_LE(std::ranges::count(document.text, ' '), 110);
    }
  }
}

TEST(Factbook, InventedNamesOfTheSplitsAreDifferent) {
  const Task *const train = make(Split::train), *const test = make(Split::test);
  std::set<std::string> names;
  for (uint64_t i = 0; i < 300; ++i) names.insert(country_of(train->distractor(i * 64)));
  for (uint64_t i = 0; i < 300; ++i)
    EXPECT_FALSE(names.contains(country_of(test->distractor(i * 64))));
  EXPECT_GT(names.size(), 290u);
}

TEST(Factbook, SettingsShapeTheSamples) {
  const Task* const task = make(Split::train, {{"documents", "8"},
                                               {"questions", "5"},
                                               {"hops", "1"},
                                               {"invented", "0"},
                                               {"renamed", "0"},
                                               {"max_words", "20"}});
  for (uint64_t i = 0; i < 100; ++i) {
    const Sample sample = task->sample(i);
    EXPECT_LE(sample.documents.size(), 8u);
    EXPECT_LE(sample.questions.size(), 5u);
    for (const SampleDocument& document : sample.documents) {
      EXPECT_FALSE(document.id.empty());
      EXPECT_LE(std::ranges::count(document.text, ' '), 20);
    }
    for (const SampleQuestion& question : sample.questions) EXPECT_EQ(question.kind, "one-hop");
  }
}

// One country in many records is what the whole collection has most of, and what a question is
// hardest to route in.
TEST(Factbook, FewCountriesGiveManyFields) {
  const Task* const task = make(Split::train, {{"documents", "80"},
                                               {"questions", "24"},
                                               {"hops", "1"},
                                               {"countries", "2"},
                                               {"max_words", "24"}});
  double fields_asked = 0;
  for (uint64_t i = 0; i < 50; ++i) {
    const Sample sample = task->sample(i);
    std::set<std::string> countries, asked;
    for (const SampleDocument& document : sample.documents)
      countries.insert(document.title.substr(0, document.title.find(": ")));
    EXPECT_EQ(countries.size(), 2u);
    EXPECT_EQ(sample.documents.size(), 80u);
    for (const SampleQuestion& question : sample.questions) {
      const std::string& title = sample.documents[question.steps[0][0]].title;
      asked.insert(title.substr(title.find(": ")));
    }
    fields_asked += static_cast<double>(asked.size()) / 50;
  }
  EXPECT_GT(fields_asked, 8);
}

// Chad and Chile, Dorvan and Dorsk.
TEST(Factbook, LookalikesHaveNamesThatBeginAlike) {
  const auto alike = [](const char* lookalikes) {
    const Task* const task =
        make(Split::train,
             {{"documents", "80"}, {"countries", "8"}, {"hops", "1"}, {"lookalikes", lookalikes}});
    double share = 0;
    for (uint64_t i = 0; i < 100; ++i) {
      std::map<std::string, std::set<std::string>> names;  // by their first two letters
      for (const SampleDocument& document : task->sample(i).documents) {
        const std::string name = document.title.substr(0, document.title.find(": "));
        names[name.substr(0, 2)].insert(name);
      }
      double all = 0, with_others = 0;
      for (const auto& [start, same] : names) {
        all += static_cast<double>(same.size());
        if (same.size() > 1) with_others += static_cast<double>(same.size());
      }
      EXPECT_EQ(all, 8);
      share += with_others / all / 100;
    }
    return share;
  };
  EXPECT_LT(alike("0"), 0.4);
  EXPECT_GT(alike("0.9"), 0.7);  // some real names begin like no other
}

TEST(Factbook, WrongSettingsAndFilesAreErrors) {
  const auto fails = [](const TaskOptions& options, Code code, const auto& message) {
    const auto task = make_factbook_task(options);
    ASSERT_FALSE(task.ok());
    EXPECT_EQ(task.error().code, code) << task.error().message;
    EXPECT_THAT(task.error().message, message);
  };
  fails(options(Split::train, {{"colour", "red"}}), Code::invalid_argument,
        AllOf(HasSubstr("colour"), HasSubstr("max_words")));
  fails(options(Split::train, {{"documents", "3"}}), Code::invalid_argument,
        HasSubstr("from 4 to 4096"));
  fails(options(Split::train, {{"documents", "12x"}}), Code::invalid_argument, HasSubstr("12x"));
  fails(options(Split::train, {{"questions", ""}}), Code::invalid_argument, HasSubstr("questions"));
  fails(options(Split::train, {{"invented", "1.5"}}), Code::invalid_argument, HasSubstr("0 to 1"));
  fails(options(Split::train, {{"invented", "nan"}}), Code::invalid_argument, HasSubstr("0 to 1"));
  fails(options(Split::train, {{"countries", "0"}}), Code::invalid_argument,
        HasSubstr("from 1 to 32"));
  fails(options(Split::train, {{"hops", "3"}}), Code::invalid_argument, HasSubstr("mixed"));
  TaskOptions nowhere = options(Split::train);
  nowhere.data = "no-such-folder";
  fails(nowhere, Code::not_found, HasSubstr("no-such-folder"));
  for (const auto& [name, what] : describe_factbook_task().settings)
    EXPECT_FALSE(what.empty()) << name;
}

}  // namespace
}  // namespace msa::factbook
