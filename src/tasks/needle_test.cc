#include "tasks/needle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "samples/sample_source.h"
#include "tasks/needle_haystack.h"
#include "tasks/needle_keys.h"
#include "tasks/needle_words.h"

namespace msa::needle {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Settings = std::map<std::string, std::string>;

constexpr std::string_view kKinds[] = {"sk1", "sk2", "sk3", "mk1", "mk2", "mk3", "mv", "mq"};

std::unique_ptr<Task> make(Split split, Settings settings = {}, uint64_t seed = 1) {
  TaskOptions options;
  options.split = split;
  options.seed = seed;
  options.data = "no-such-folder";  // needs none
  options.settings = std::move(settings);
  auto task = make_task("needle", options);
  if (!task) throw std::runtime_error(task.error().message);
  return std::move(task).value();
}

struct Needle {
  std::string key, value;
};

// All needles of a text, in their order.
std::vector<Needle> needles_of(const std::string& text) {
  constexpr std::string_view kBegin = "One of the special magic ";
  std::vector<Needle> needles;
  for (size_t at = text.find(kBegin); at != std::string::npos; at = text.find(kBegin, at + 1)) {
    const size_t key = text.find(" for ", at) + 5;
    const size_t value = text.find(" is: ", key) + 5;
    needles.push_back(
        {text.substr(key, value - 5 - key), text.substr(value, text.find('.', value) - value)});
  }
  return needles;
}

// The keys that a question asks for.
std::vector<std::string> keys_of(const std::string& question) {
  const size_t begin = question.find(" for ") + 5;
  std::string list = question.substr(begin, question.find(" mentioned ") - begin);
  std::vector<std::string> keys;
  for (size_t comma; (comma = list.find(", ")) != std::string::npos;
       list.erase(0, comma + (list.compare(comma, 6, ", and ") == 0 ? 6 : 2)))
    keys.push_back(list.substr(0, comma));
  keys.push_back(list);
  return keys;
}

std::set<std::string> asked_keys(const Sample& sample) {
  std::set<std::string> keys;
  for (const SampleQuestion& question : sample.questions)
    for (const std::string& key : keys_of(question.question)) keys.insert(key);
  return keys;
}

TEST(Needle, SamplesDependOnOptionsAndIndexOnly) {
  const auto task = make(Split::train), again = make(Split::train);
  for (uint64_t i = 30; i-- > 0;)
    EXPECT_EQ(write_sample(task->sample(i)), write_sample(again->sample(i))) << i;
  const auto other = make(Split::train, {}, 2), test = make(Split::test);
  for (uint64_t i = 0; i < 30; ++i) {
    EXPECT_EQ(task->distractor(i).text, again->distractor(i).text);
    EXPECT_NE(write_sample(task->sample(i)), write_sample(other->sample(i)));
    EXPECT_NE(write_sample(task->sample(i)), write_sample(test->sample(i)));
    EXPECT_NE(write_sample(task->sample(i)), write_sample(task->sample(i + 8)));
  }
  EXPECT_TRUE(task->collection().empty());
  EXPECT_EQ(task->name(), "needle");
}

// What makes a sample right, whatever its kind.
void check(const Sample& sample, std::string_view kind, size_t documents) {
  SCOPED_TRACE(sample.where + " " + std::string(kind));
  ASSERT_EQ(sample_problem(sample), "");
  ASSERT_THAT(sample.documents, SizeIs(documents));
  const bool needles_only = kind == "mk2" || kind == "mk3";
  // Where each key stands; in mv it stands four times.
  std::map<std::string, std::vector<std::pair<uint32_t, std::string>>> stands;
  std::set<std::string> values;
  for (uint32_t d = 0; d < sample.documents.size(); ++d) {
    const SampleDocument& document = sample.documents[d];
    EXPECT_EQ(document.title, "");
    const std::vector<Needle> needles = needles_of(document.text);
    if (needles_only) {
      EXPECT_GE(needles.size(), 2u);
      EXPECT_LE(needles.size(), 3u);
    } else {
      EXPECT_LE(needles.size(), 1u);
      EXPECT_GE(count_words(document.text), 40u);
      EXPECT_LE(count_words(document.text), 125u);
    }
    for (const Needle& needle : needles) {
      stands[needle.key].emplace_back(d, needle.value);
      EXPECT_TRUE(values.insert(needle.value).second) << needle.value;
    }
  }
  std::set<std::string> questions, asked;
  for (const SampleQuestion& question : sample.questions) {
    EXPECT_TRUE(questions.insert(question.question).second);
    EXPECT_EQ(question.kind, "needle-" + std::string(kind));
    ASSERT_THAT(question.steps, SizeIs(1));
    const std::vector<std::string> keys = keys_of(question.question);
    EXPECT_THAT(keys, SizeIs(kind == "mq" ? 4 : 1));
    std::vector<uint32_t> relevant;
    std::vector<std::string> expected;
    for (const std::string& key : keys) {
      asked.insert(key);
      EXPECT_THAT(stands[key], SizeIs(kind == "mv" ? 4 : 1)) << key;
      for (const auto& [document, value] : stands[key]) {
        relevant.push_back(document);
        expected.push_back(value);
        EXPECT_THAT(sample.documents[document].text, HasSubstr(value));
      }
    }
    EXPECT_THAT(question.steps[0], ElementsAreArray(relevant));
    EXPECT_THAT(question.values, ElementsAreArray(expected));
    std::string answer;
    for (const std::string& value : expected) answer += (answer.empty() ? "" : ", ") + value;
    EXPECT_EQ(question.answer, answer);
  }
  if (!needles_only && kind != "mk1") {
    EXPECT_EQ(stands.size(), asked.size());
    return;
  }
  // Lookalikes of what is asked: in other documents, with a word or a group of digits in common.
  bool found = false;
  for (const std::string& key : asked)
    for (const auto& [other, at] : stands) {
      if (found) break;
      const bool same_place = at[0].first == stands[key][0].first;
      if (other == key || asked.contains(other) || same_place) continue;
      const bool same_first = other.substr(0, other.find('-')) == key.substr(0, key.find('-'));
      const bool same_last = other.substr(other.rfind('-')) == key.substr(key.rfind('-'));
      found = same_first || same_last;
    }
  EXPECT_TRUE(found);
}

TEST(Needle, AllEightKindsAreRight) {
  for (const Split split : {Split::train, Split::test})
    for (const std::string pairs : {"true", "false"}) {
      const auto all = make(split, {{"pairs", pairs}, {"kind", "all"}});
      for (uint64_t i = 0; i < 160; ++i) check(all->sample(i), kKinds[i % 8], 24);
      for (const std::string_view kind : kKinds) {
        const auto one = make(split, {{"kind", std::string(kind)}, {"pairs", pairs}});
        for (uint64_t i = 0; i < 20; ++i) check(one->sample(i), kind, 24);
        check(one->sample(UINT64_MAX), kind, 24);
      }
    }
}

TEST(Needle, KeepsToItsSizes) {
  // 18 documents may hold needles, and a question of these needs four.
  const std::map<std::string, size_t> questions_of_6 = {{"mv", 4}, {"mq", 4}};
  const std::map<std::string, size_t> needles_of_1 = {{"mk1", 4}, {"mv", 4}, {"mq", 4}};
  for (const std::string_view name : kKinds) {
    const std::string kind(name);
    const Sample usual = make(Split::train, {{"kind", kind}})->sample(3);
    EXPECT_THAT(usual.questions,
                SizeIs(questions_of_6.contains(kind) ? questions_of_6.at(kind) : 6));

    // RULER's sizes.
    const Sample single =
        make(Split::train, {{"kind", kind}, {"questions", "1"}, {"documents", "50"}})->sample(3);
    check(single, kind, 50);
    EXPECT_THAT(single.questions, SizeIs(1));
    size_t needles = 0;
    for (const SampleDocument& document : single.documents)
      needles += needles_of(document.text).size();
    if (kind != "mk2" && kind != "mk3") {
      EXPECT_EQ(needles, needles_of_1.contains(kind) ? needles_of_1.at(kind) : 1) << kind;
    }

    // More questions than there is room for; the least and the most documents.
    for (const std::string documents : {"8", "2048"})
      for (const std::string pairs : {"true", "false"}) {
        const auto task = make(
            Split::test,
            {{"kind", kind}, {"documents", documents}, {"questions", "1024"}, {"pairs", pairs}});
        check(task->sample(1), kind, std::stoul(documents));
      }
  }
}

// Whether two keys of three words have one in the same place.
bool share_a_word(const std::string& a, const std::string& b) {
  const auto words = [](const std::string& key) {
    const size_t first = key.find('-'), last = key.rfind('-');
    return std::array{key.substr(0, first), key.substr(first, last - first), key.substr(last)};
  };
  const auto of_a = words(a), of_b = words(b);
  return of_a[0] == of_b[0] || of_a[1] == of_b[1] || of_a[2] == of_b[2];
}

TEST(Needle, LookalikesStandBesideManyValuesAndKeys) {
  constexpr size_t kLookalikes = 10;
  for (const std::string kind : {"mv", "mq"}) {
    const auto task = make(Split::train, {{"kind", kind},
                                          {"documents", "28"},
                                          {"questions", "4"},
                                          {"lookalikes", std::to_string(kLookalikes)}});
    for (uint64_t i = 0; i < 20; ++i) {
      const Sample sample = task->sample(i);
      ASSERT_EQ(sample_problem(sample), "");
      const std::set<std::string> asked = asked_keys(sample);
      size_t in_text = 0, among_needles = 0;
      for (const SampleDocument& document : sample.documents) {
        const std::vector<Needle> needles = needles_of(document.text);
        if (needles.empty() || asked.contains(needles[0].key)) continue;
        EXPECT_TRUE(std::ranges::any_of(needles, [&](const Needle& needle) {
          return !asked.contains(needle.key) &&
                 std::ranges::any_of(
                     asked, [&](const std::string& key) { return share_a_word(key, needle.key); });
        })) << document.text;
        ++(needles.size() == 1 ? in_text : among_needles);
      }
      EXPECT_EQ(in_text, kLookalikes / 2);
      EXPECT_EQ(among_needles, kLookalikes / 2);
      for (const SampleQuestion& question : sample.questions)
        for (size_t v = 0; v < question.values.size(); ++v)
          EXPECT_THAT(sample.documents[question.steps[0][v]].text, HasSubstr(question.values[v]));
    }
  }
  // As many as there is room for.
  const Sample full = make(Split::train, {{"kind", "mq"}, {"lookalikes", "2048"}})->sample(0);
  for (const SampleDocument& document : full.documents)
    EXPECT_FALSE(needles_of(document.text).empty());
}

TEST(Needle, AsksInTheWordsOfRuler) {
  const std::map<std::string, std::string> forms = {
      {"sk1", "What is the special magic number for W mentioned in the provided text\\?"},
      {"sk2", "What is the special magic number for W mentioned in the provided text\\?"},
      {"sk3", "What is the special magic uuid for W mentioned in the provided text\\?"},
      {"mk1", "What is the special magic number for W mentioned in the provided text\\?"},
      {"mk2", "What is the special magic number for W mentioned in the provided text\\?"},
      {"mk3", "What is the special magic uuid for U mentioned in the provided text\\?"},
      {"mv", "What are all the special magic numbers for W mentioned in the provided text\\?"},
      {"mq",
       "What are all the special magic numbers for W, W, W, and W mentioned in the provided "
       "text\\?"}};
  const std::string uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
  for (const bool pairs : {false, true}) {
    const std::string word = pairs ? "[a-z]+-[a-z]+" : "[a-z]+-[a-z]+-[a-z]+";
    for (const auto& [kind, form] : forms) {
      std::string pattern;
      for (const char c : form) pattern += c == 'W' && !pattern.empty() ? word : std::string(1, c);
      pattern = std::regex_replace(pattern, std::regex("U"), uuid);
      const bool has_uuids = kind == "sk3" || kind == "mk3";
      const std::regex question_form(pattern), value_form(has_uuids ? uuid : "[1-9][0-9]{6}"),
          needle_form("(^|.* )One of the special magic " +
                      std::string(has_uuids ? "uuids" : "numbers") + " for " +
                      (kind == "mk3" ? uuid : word) +
                      " is: " + (has_uuids ? uuid : "[1-9][0-9]{6}") + "\\.( .*|$)");
      const auto task = make(Split::test, {{"kind", kind}, {"pairs", pairs ? "true" : "false"}});
      for (const SampleQuestion& question : task->sample(7).questions) {
        EXPECT_TRUE(std::regex_match(question.question, question_form)) << question.question;
        for (const std::string& value : question.values)
          EXPECT_TRUE(std::regex_match(value, value_form)) << value;
        const Sample sample = task->sample(7);
        for (const uint32_t d : question.steps[0])
          EXPECT_TRUE(std::regex_match(sample.documents[d].text, needle_form))
              << sample.documents[d].text;
      }
    }
  }
}

// Needles stand at any sentence border, the ends included.
TEST(Needle, NeedlesStandAnywhere) {
  const auto task = make(Split::train, {{"kind", "sk2"}});
  size_t first = 0, last = 0, inside = 0;
  for (uint64_t i = 0; i < 50; ++i) {
    for (const SampleDocument& document : task->sample(i).documents) {
      const size_t at = document.text.find("One of the special magic ");
      if (at == std::string::npos) continue;
      const bool at_end = document.text.find(". ", at) == std::string::npos;
      ++(at == 0 ? first : at_end ? last : inside);
    }
  }
  EXPECT_EQ(first + last + inside, 300u);
  EXPECT_GT(first, 20u);
  EXPECT_GT(last, 20u);
  EXPECT_GT(inside, 100u);
}

TEST(Needle, KeysAreOfOneSplitAndAskedForOnce) {
  // Whatever the seeds of the two.
  for (const std::string pairs : {"false", "true"}) {
    const auto train = make(Split::train, {{"pairs", pairs}}, 3);
    const auto test = make(Split::test, {{"pairs", pairs}}, 9);
    std::unordered_set<std::string> keys[2], asked[2];
    for (uint64_t i = 0; i < 2000; ++i) {
      const Task* tasks[] = {train.get(), test.get()};
      for (size_t t = 0; t < 2; ++t) {
        const Sample sample = tasks[t]->sample(i);
        for (const SampleDocument& document : sample.documents)
          for (const Needle& needle : needles_of(document.text)) keys[t].insert(needle.key);
        for (const std::string& key : asked_keys(sample))
          EXPECT_TRUE(asked[t].insert(key).second) << key;
      }
    }
    EXPECT_GT(keys[0].size(), 15000u);
    for (const std::string& key : keys[0]) ASSERT_FALSE(keys[1].contains(key)) << key;
  }
}

// Of all samples together: what a question asks for stands in the documents it names only.
TEST(Needle, QuestionsStayUnambiguousInOneMemory) {
  const auto task = make(Split::test);
  std::unordered_map<std::string, size_t> stands, asked;
  for (uint64_t i = 0; i < 2000; ++i) {
    const Sample sample = task->sample(i);
    for (const SampleDocument& document : sample.documents)
      for (const Needle& needle : needles_of(document.text)) ++stands[needle.key];
    for (const std::string& key : asked_keys(sample)) asked[key] = i % 8 == 6 ? 4 : 1;
  }
  for (const auto& [key, times] : asked) ASSERT_EQ(stands[key], times) << key;
}

TEST(Needle, DistractorsHoldNoNeedleOfASample) {
  for (const Settings& settings :
       {Settings{}, Settings{{"kind", "mk2"}}, Settings{{"kind", "mk2"}, {"pairs", "true"}},
        Settings{{"kind", "mk3"}}, Settings{{"kind", "sk1"}}, Settings{{"kind", "mv"}}}) {
    const auto task = make(Split::test, settings);
    std::unordered_set<std::string> keys, texts;
    for (uint64_t i = 0; i < 2000; ++i)
      for (const SampleDocument& document : task->sample(i).documents)
        for (const Needle& needle : needles_of(document.text)) keys.insert(needle.key);
    size_t needles = 0;
    for (uint64_t i = 0; i < 2000; ++i) {
      const SampleDocument document = task->distractor(i);
      EXPECT_TRUE(texts.insert(document.text).second) << document.text;
      for (const Needle& needle : needles_of(document.text)) {
        ++needles;
        ASSERT_FALSE(keys.contains(needle.key)) << needle.key;
      }
    }
    const bool has_needles = settings.empty() || settings.at("kind").starts_with("mk");
    EXPECT_EQ(needles > 0, has_needles);
    for (const uint64_t far : {uint64_t{1} << 40, (uint64_t{1} << 40) - 1, UINT64_MAX})
      EXPECT_FALSE(task->distractor(far).text.empty());
  }
}

TEST(Needle, SamplesAndDistractorsLookAlike) {
  // Words per document, which would tell one from the other.
  for (const std::string kind : {"sk1", "sk2", "mk2"}) {
    const auto task = make(Split::train, {{"kind", kind}});
    double in_samples = 0, in_distractors = 0;
    size_t documents = 0;
    for (uint64_t i = 0; i < 100; ++i)
      for (const SampleDocument& document : task->sample(i).documents) {
        const bool has_needle = kind != "mk2" && !needles_of(document.text).empty();
        in_samples += static_cast<double>(count_words(document.text)) - (has_needle ? 11 : 0);
        ++documents;
      }
    for (uint64_t i = 0; i < documents; ++i)
      in_distractors += static_cast<double>(count_words(task->distractor(i).text));
    EXPECT_NEAR(in_samples / in_distractors, 1, 0.03) << kind;
  }
}

TEST(Needle, SamplesSurviveJson) {
  for (const std::string pairs : {"false", "true"}) {
    const auto task = make(Split::train, {{"pairs", pairs}});
    for (uint64_t i = 0; i < 40; ++i) {
      const Sample sample = task->sample(i);
      const std::string line = write_sample(sample);
      const auto back = parse_sample(line, sample.where);
      ASSERT_TRUE(back) << back.error().message;
      EXPECT_EQ(write_sample(back.value()), line);
      ASSERT_EQ(back.value().questions.size(), sample.questions.size());
      for (size_t q = 0; q < sample.questions.size(); ++q) {
        EXPECT_EQ(back.value().questions[q].values, sample.questions[q].values);
        EXPECT_EQ(back.value().questions[q].values_in_reading_order,
                  sample.questions[q].values.size() > 1);
        EXPECT_EQ(back.value().questions[q].steps, sample.questions[q].steps);
        EXPECT_EQ(back.value().questions[q].kind, sample.questions[q].kind);
      }
    }
  }
}

TEST(Needle, WrongSettingsAreErrorsWithTheRemedy) {
  const auto message = [](const Settings& settings) {
    TaskOptions options;
    options.settings = settings;
    const auto task = make_task("needle", options);
    if (task) return std::string("no error");
    EXPECT_EQ(task.error().code, Code::invalid_argument);
    return task.error().message;
  };
  EXPECT_THAT(message({{"colour", "red"}}), AllOf(HasSubstr("colour"), HasSubstr("pairs")));
  EXPECT_THAT(message({{"kind", "mk4"}}), AllOf(HasSubstr("mk4"), HasSubstr("sk1, sk2")));
  EXPECT_THAT(message({{"kind", ""}}), HasSubstr("or all"));
  EXPECT_THAT(message({{"documents", "7"}}), HasSubstr("from 8 to 2048"));
  EXPECT_THAT(message({{"documents", "2049"}}), HasSubstr("2049"));
  EXPECT_THAT(message({{"documents", "-24"}}), HasSubstr("-24"));
  EXPECT_THAT(message({{"questions", "0"}}), HasSubstr("from 1 to 1024"));
  EXPECT_THAT(message({{"questions", "99999999999999999999"}}), HasSubstr("questions"));
  EXPECT_THAT(message({{"lookalikes", "2049"}}), HasSubstr("from 0 to 2048"));
  EXPECT_THAT(message({{"pairs", "yes"}}), HasSubstr("true or false"));
  EXPECT_EQ(message({{"kind", "mq"}, {"pairs", "true"}}), "no error");
  for (const auto& [name, what] : describe_needle_task().settings) {
    EXPECT_FALSE(what.empty()) << name;
    EXPECT_THAT(message({{"colour", "red"}}), HasSubstr(name));
  }
}

TEST(NeedlePermutation, IsABijectionWithAnInverse) {
  for (const uint64_t size : {1, 2, 3, 5, 16, 17, 1000, 1024, 1025, 94855}) {
    const Permutation permutation(size, 7);
    std::vector<bool> seen(size);
    for (uint64_t x = 0; x < size; ++x) {
      const uint64_t y = permutation(x);
      ASSERT_LT(y, size);
      ASSERT_FALSE(seen[y]);
      seen[y] = true;
      ASSERT_EQ(permutation.inverse(y), x);
    }
  }
  const Permutation large(uint64_t{1} << 62, 1), other(uint64_t{1} << 62, 2);
  Random draw(5);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t x = draw.below(large.size());
    EXPECT_EQ(large.inverse(large(x)), x);
    EXPECT_NE(large(x), other(x));
  }
}

TEST(NeedleKeys, EveryPairHasOneUse) {
  std::unordered_set<uint64_t> seen;
  std::unordered_set<std::string> texts;
  for (const Split split : {Split::train, Split::test}) {
    const WordKeys keys(true, split, 11);
    for (const Use use : {Use::asked, Use::lookalike, Use::distractor}) {
      EXPECT_GT(keys.size(use), 10000u);
      for (uint64_t number = 0; number < keys.size(use); ++number) {
        const uint64_t key = keys.key(use, number);
        EXPECT_TRUE(seen.insert(key).second);
        EXPECT_TRUE(texts.insert(keys.text(key)).second) << keys.text(key);
        if (number < 3) {
          EXPECT_EQ(keys.key(use, number + keys.size(use)), key);
        }
      }
    }
  }
  EXPECT_EQ(seen.size(), key_adjectives().size() * key_nouns().size());
  EXPECT_EQ(texts.size(), seen.size());
}

TEST(NeedleKeys, LookalikesShareAWordAndAreNeverAskedFor) {
  for (const bool pairs : {true, false}) {
    const WordKeys keys(pairs, Split::train, 4);
    EXPECT_GT(keys.size(Use::asked), pairs ? 20000u : 7000000u);
    std::unordered_set<uint64_t> asked;
    for (uint64_t number = 0; number < 20000; ++number) asked.insert(keys.key(Use::asked, number));
    EXPECT_THAT(asked, SizeIs(20000));
    Random draw(6);
    for (uint64_t number = 0; number < 2000; ++number) {
      const uint64_t key = keys.key(Use::asked, number);
      const uint64_t other = keys.lookalike(key, draw);
      ASSERT_FALSE(asked.contains(other));
      const auto words_of = [&](uint64_t of) {
        std::vector<std::string> parts(1);
        for (const char c : keys.text(of)) {
          if (c == '-') {
            parts.emplace_back();
          } else {
            parts.back() += c;
          }
        }
        return parts;
      };
      const std::vector<std::string> a = words_of(key), b = words_of(other);
      ASSERT_EQ(a.size(), pairs ? 2u : 3u);
      ASSERT_EQ(b.size(), a.size());
      size_t same = 0;
      for (size_t w = 0; w < a.size(); ++w) same += a[w] == b[w];
      EXPECT_GE(same, 1u);
      EXPECT_LT(same, a.size());
      if (!pairs) {
        EXPECT_NE(a[1], a[2]);
        EXPECT_NE(b[1], b[2]);
      }
    }
  }
}

TEST(NeedleWords, AreManyAndDifferent) {
  EXPECT_GE(key_adjectives().size(), 240u);
  EXPECT_GE(key_nouns().size(), 240u);
  std::set<std::string_view> seen;
  for (const auto words : {key_adjectives(), key_nouns()})
    for (const std::string_view word : words) {
      EXPECT_TRUE(seen.insert(word).second) << word;
      EXPECT_TRUE(std::ranges::all_of(word, [](char c) { return c >= 'a' && c <= 'z'; })) << word;
    }
}

TEST(NeedleHaystack, EssaysAreVariedSentences) {
  const Grammar grammar(essay_phrases(), essay_patterns());
  EXPECT_GE(grammar.patterns(), 60u);
  double all = 0;
  for (size_t p = 0; p < grammar.patterns(); ++p) {
    all += grammar.variants(p);
    EXPECT_GE(grammar.variants(p), 1e5) << essay_patterns()[p];
  }
  EXPECT_GT(all, 1e9);

  Random draw(8);
  std::unordered_set<std::string> seen;
  size_t twice = 0;
  const std::regex wrong_article("\\ba ([aeiou]|hour|honest)|\\ban ([^aeiouh]|uni|use|one|eu)",
                                 std::regex::icase);
  for (size_t i = 0; i < 20000; ++i) {
    const std::string text = grammar.sentence(i % grammar.patterns(), draw);
    twice += !seen.insert(text).second;
    ASSERT_TRUE(text.front() >= 'A' && text.front() <= 'Z') << text;
    ASSERT_EQ(text.find('.'), text.size() - 1) << text;
    ASSERT_EQ(text.find_first_of("{}|0123456789"), std::string::npos) << text;
    ASSERT_EQ(text.find("  "), std::string::npos) << text;
    ASSERT_EQ(text.find("special magic"), std::string::npos) << text;
    ASSERT_LE(count_words(text), 40u) << text;
    if (i < 4000) {
      ASSERT_FALSE(std::regex_search(text, wrong_article)) << text;
    }
  }
  EXPECT_LT(twice, 200u);
}

TEST(NeedleHaystack, ArticlesFitAndPhrasesNest) {
  const Phrase phrases[] = {{"animal", "owl"}, {"one", "a {animal}|a {animal}"}, {"bird", "hen"}};
  const std::string_view patterns[] = {"a {animal} and a {bird} saw {one}", "banana {animal}"};
  const Grammar grammar(phrases, patterns);
  Random draw(1);
  EXPECT_EQ(grammar.sentence(0, draw), "An owl and a hen saw an owl.");
  EXPECT_EQ(grammar.sentence(1, draw), "Banana owl.");
  EXPECT_EQ(grammar.variants(0), 2);
}

TEST(NeedleHaystack, ParagraphsHaveTheWordsAskedFor) {
  const Grammar grammar(essay_phrases(), essay_patterns());
  Random draw(2);
  for (size_t words : {1, 40, 78, 500}) {
    for (const bool is_essay : {true, false}) {
      const std::vector<std::string> sentences =
          is_essay ? essay(grammar, words, draw) : noise(words, draw);
      size_t all = 0;
      for (const std::string& sentence : sentences) all += count_words(sentence);
      EXPECT_GE(all, words);
      EXPECT_LT(all - count_words(sentences.back()), words);
      for (size_t i = 1; i < sentences.size(); ++i) EXPECT_NE(sentences[i], sentences[i - 1]);
    }
  }
}

}  // namespace
}  // namespace msa::needle
