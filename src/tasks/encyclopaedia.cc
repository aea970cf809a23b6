// The maker "encyclopaedia": questions about invented people, places and things.
#include "tasks/encyclopaedia.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tasks/encyclopaedia_article.h"
#include "tasks/encyclopaedia_facts.h"
#include "tasks/encyclopaedia_words.h"
#include "tasks/encyclopaedia_world.h"
#include "tasks/factbook_names.h"
#include "tasks/factbook_settings.h"
#include "tasks/factbook_wording.h"

namespace msa::encyclopaedia {
namespace {
using factbook::capitalize;
using factbook::mix;
using factbook::put;
using factbook::Wordings;

constexpr std::string_view kName = "encyclopaedia";

enum class Length { short_ones, long_ones, mixed };

struct Settings {
  size_t documents = 18, questions = 16;
  size_t hops = 0;  // 0: mixed
  Length length = Length::mixed;
  double lookalikes = 0.3;
};

constexpr size_t kMostHops = 3;
// Where hops are mixed, of a hundred questions: those with one, and with two; the rest has three.
constexpr uint64_t kOneHop = 50, kTwoHops = 35;
// A sample has from two thirds to four thirds of the documents asked for, an article at most so
// many names.
constexpr uint64_t kNamesPerArticle = 12;

struct Form {
  ArticleSize size;
  size_t fewest_facts, most_facts;
};
constexpr Form kShort = {{0, 25}, 2, 3}, kMiddle = {{20, 60}, 3, 6}, kLong = {{66, 120}, 5, 9};

bool has_word(std::string_view text, std::string_view word) {
  const auto is_letter = [&](size_t at) {
    return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0);
  };
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1))
    if ((at == 0 || !is_letter(at - 1)) && !is_letter(at + word.size())) return true;
  return false;
}

class EncyclopaediaTask final : public Task {
 public:
  EncyclopaediaTask(const TaskOptions& options, const Settings& settings)
      : split_(options.split),
        seed_(mix(options.seed, split_ == Split::test ? 6 : 5)),
        settings_(settings),
        roots_(split_, Use::samples, seed_),
        distractor_roots_(split_, Use::distractors, seed_) {
    for (const Relation& relation : relations()) {
      wordings_.emplace_back(relation.phrases, split_);
      descriptions_.push_back(factbook::of_split(relation.descriptions, split_));
    }
  }

  std::string_view name() const override { return kName; }
  const std::vector<SampleDocument>& collection() const override {
    static const std::vector<SampleDocument> none;
    return none;
  }
  Sample sample(uint64_t index) const override;
  SampleDocument distractor(uint64_t index) const override;

 private:
  class Builder;

  const Form& form(Random& draw) const {
    constexpr std::array kForms = {&kShort, &kMiddle, &kLong};
    switch (settings_.length) {
      case Length::short_ones: return kShort;
      case Length::long_ones: return kLong;
      case Length::mixed: break;
    }
    return *draw.pick(kForms);
  }

  Split split_;
  uint64_t seed_;
  Settings settings_;
  Roots roots_, distractor_roots_;
  std::vector<Wordings> wordings_;                           // per relation
  std::vector<std::vector<std::string_view>> descriptions_;  // per relation
};

// Puts one sample together.
class EncyclopaediaTask::Builder {
 public:
  Builder(const EncyclopaediaTask& task, Random& draw, Namer& namer)
      : task_(task), draw_(draw), world_(namer, task.split_, draw, plan()) {}

  // False if the sample has come out without questions.
  bool build(Sample& sample) {
    for (Entity& entity : entities())
      documents_.push_back(write_article(entity, task_.form(draw_).size, draw_));
    find_ways();
    for (size_t attempt = 0;
         questions_.size() < task_.settings_.questions && attempt < 20 * task_.settings_.questions;
         ++attempt) {
      const uint64_t share = draw_.below(100);
      const size_t hops = task_.settings_.hops != 0    ? task_.settings_.hops
                          : share < kOneHop            ? 1
                          : share < kOneHop + kTwoHops ? 2
                                                       : 3;
      ask(hops);
    }
    if (questions_.empty()) return false;
    shuffle_documents();
    sample.documents = std::move(documents_);
    sample.questions = std::move(questions_);
    return true;
  }

 private:
  std::vector<Entity>& entities() { return world_.entities(); }
  const Entity& entity(size_t at) const { return world_.entities()[at]; }

  World::Plan plan() {
    const Settings& settings = task_.settings_;
    World::Plan plan;
    plan.articles = draw_.between((2 * settings.documents + 2) / 3, 4 * settings.documents / 3);
    plan.depth = settings.hops != 0 ? settings.hops - 1 : draw_.between(1, kMostHops - 1);
    // Which article gets which size is not known yet; those too short drop facts.
    const Form& form = settings.length == Length::short_ones  ? kShort
                       : settings.length == Length::long_ones ? kLong
                                                              : kMiddle;
    plan.fewest_facts = form.fewest_facts;
    plan.most_facts = settings.length == Length::mixed ? kLong.most_facts : form.most_facts;
    plan.lookalikes = settings.lookalikes;
    return plan;
  }

  // What stands for an entity in a question.
  std::string reference(const Entity& asked, bool may_tell_type) {
    const bool with_type = may_tell_type && !asked.article && draw_.chance(0.2);
    std::string name = asked.name_in_text();
    if (asked.kind == Kind::work) {
      const uint64_t style = draw_.below(3);
      if (style < 2) name = style == 0 ? "\"" + name + "\"" : "'" + name + "'";
    }
    return with_type ? fmt::format("the {} {}", asked.type.word, name) : name;
  }

  // Articles that lead from one to the next, and the relations by which they do.
  struct Way {
    std::vector<size_t> entities, links;
  };

  // All ways of up to kMostHops articles.
  void find_ways() {
    for (size_t e = 0; e < entities().size(); ++e) ways_[0].push_back({{e}, {}});
    for (size_t hops = 1; hops < kMostHops; ++hops) {
      for (const Way& way : ways_[hops - 1]) {
        for (const Fact& fact : entity(way.entities.back()).facts) {
          if (fact.entity == kNoEntity) continue;
          Way longer = way;
          longer.entities.push_back(fact.entity);
          longer.links.push_back(fact.relation);
          ways_[hops].push_back(std::move(longer));
        }
      }
    }
  }

  // What the way stands for in a question: "the capital of the country where …". `clause` tells
  // whether it ends in a verb, so that no other verb should follow.
  std::string describe(const Way& way, std::string about, bool& clause) {
    clause = false;
    for (size_t i = 0; i < way.links.size(); ++i) {
      const bool last = i + 1 == way.links.size();
      std::vector<std::string_view> fitting;
      for (const std::string_view description : task_.descriptions_[way.links[i]])
        if (description.ends_with("{c}") || (last && !clause)) fitting.push_back(description);
      if (fitting.empty()) fitting = task_.descriptions_[way.links[i]];
      std::string described(draw_.pick(fitting));
      clause = !described.ends_with("{c}");
      put_type(described, entity(way.entities[i]).type);
      put(described, "{c}", about);
      about = std::move(described);
    }
    return about;
  }

  void ask(size_t hops) {
    if (ways_[hops - 1].empty()) return;
    const Way& chosen = draw_.pick(ways_[hops - 1]);
    const std::vector<size_t>& way = chosen.entities;
    const Entity& last = entity(way.back());
    const Fact& fact = draw_.pick(last.facts);
    if (!asked_.insert({way.front(), chosen.links, fact.relation}).second) return;
    const Wordings& wordings = task_.wordings_[fact.relation];
    const bool asks_for_type =
        relations()[fact.relation].value.is == Value::Is::word && fact.value == last.type.word;
    SampleQuestion question;
    bool clause = false;
    std::string about =
        describe(chosen, reference(entity(way.front()), hops > 1 || !asks_for_type), clause);
    for (int attempt = 0; attempt < 12; ++attempt) {
      question.question = wordings.pick(hops > 1, draw_.bits());
      const size_t end = question.question.find("{c}") + 3;
      if (!clause || question.question.size() <= end + 1 || question.question[end] == ',' ||
          question.question[end] == ';')
        break;
    }
    put_type(question.question, last.type);
    // A mark of quotation and "'s" do not go together.
    const char mark = about.back();
    if (question.question.find("{c}'s") != std::string::npos && (mark == '"' || mark == '\''))
      about = entity(way.front()).name;
    put(question.question, "{c}", about);
    capitalize(question.question);
    question.answer = fact.value;
    // Whoever knows the question, or the documents before the last, must not know the answer.
    if (has_word(question.question, question.answer)) return;
    for (size_t i = 0; i < way.size(); ++i) {
      question.steps.push_back({static_cast<uint32_t>(way[i])});
      if (i + 1 < way.size() && has_word(documents_[way[i]].text, question.answer)) return;
    }
    const Value& value = relations()[fact.relation].value;
    if (!value.unit.empty())
      question.accepted.push_back(fact.value.substr(0, fact.value.size() - value.unit.size()));
    if (fact.value.starts_with("the ")) question.accepted.push_back(fact.value.substr(4));
    constexpr std::array<std::string_view, kMostHops> kKinds = {"one-hop", "two-hop", "three-hop"};
    question.kind = kKinds[hops - 1];
    questions_.push_back(std::move(question));
  }

  void shuffle_documents() {
    std::vector<uint32_t> order(documents_.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    draw_.shuffle(order);
    std::vector<SampleDocument> documents(order.size());
    for (uint32_t i = 0; i < order.size(); ++i) documents[order[i]] = std::move(documents_[i]);
    documents_ = std::move(documents);
    for (SampleQuestion& question : questions_)
      for (std::vector<uint32_t>& step : question.steps)
        for (uint32_t& at : step) at = order[at];
  }

  const EncyclopaediaTask& task_;
  Random& draw_;
  World world_;
  std::vector<SampleDocument> documents_;  // in the order of entities(), then shuffled
  std::vector<SampleQuestion> questions_;
  std::array<std::vector<Way>, kMostHops> ways_;  // by the number of articles, less one
  std::set<std::tuple<size_t, std::vector<size_t>, size_t>> asked_;
};

Sample EncyclopaediaTask::sample(uint64_t index) const {
  Random draw(seed_, index);
  Sample sample;
  sample.where = fmt::format("{}:{}", kName, index);
  const uint64_t most = kNamesPerArticle * (4 * settings_.documents / 3);
  // Articles too short for a fact that leads on can leave a sample without a question.
  for (;;) {
    Namer namer(roots_, index, most);
    if (Builder(*this, draw, namer).build(sample)) return sample;
  }
}

SampleDocument EncyclopaediaTask::distractor(uint64_t index) const {
  Random draw(mix(seed_, 1), index);
  Namer namer(distractor_roots_, index, kNamesPerArticle);
  const Form& chosen = form(draw);
  World world(namer, split_, draw,
              {.articles = 1,
               .depth = 0,
               .fewest_facts = chosen.fewest_facts,
               .most_facts = chosen.most_facts,
               .lookalikes = 0});
  SampleDocument document = write_article(world.entities().front(), chosen.size, draw);
  document.id = fmt::format("invented-encyclopaedia/{}", index);
  return document;
}

Result<Settings> read_settings(const TaskOptions& options) {
  Settings settings;
  for (const auto& [name, value] : options.settings) {
    if (name == "documents") {
      MSA_TRY(factbook::read_count(kName, name, value, 4, 1024, settings.documents));
    } else if (name == "questions") {
      MSA_TRY(factbook::read_count(kName, name, value, 1, 1024, settings.questions));
    } else if (name == "lookalikes") {
      MSA_TRY(factbook::read_share(kName, name, value, settings.lookalikes));
    } else if (name == "hops") {
      if (value != "mix") {
        if (value != "1" && value != "2" && value != "3")
          return factbook::bad_setting(kName, name, value, "1, 2, 3 or mix");
        settings.hops = static_cast<size_t>(value[0] - '0');
      }
    } else if (name == "length") {
      if (value == "short") {
        settings.length = Length::short_ones;
      } else if (value == "long") {
        settings.length = Length::long_ones;
      } else if (value != "mix") {
        return factbook::bad_setting(kName, name, value, "short, long or mix");
      }
    } else {
      return Error{Code::invalid_argument,
                   fmt::format("task {}: no setting '{}'; known are documents, questions, hops, "
                               "length and lookalikes",
                               kName, name)};
    }
  }
  return settings;
}

}  // namespace
}  // namespace msa::encyclopaedia

namespace msa {

TaskDescription describe_encyclopaedia_task() {
  return {
      std::string(encyclopaedia::kName),
      "questions about invented people, places, works and companies; new names in every sample, "
      "and phrasings in tests that training never has",
      {{"documents", "articles per sample, from two thirds to four thirds of it (18)"},
       {"questions", "questions per sample, fewer if its articles do not give so many (16)"},
       {"hops", "1, 2, 3 or mix: how many articles must be found one after another (mix)"},
       {"length", "short (at most 25 words, 2 or 3 facts), long (60 to 120 words) or mix (mix)"},
       {"lookalikes", "share of articles on others with a part of the name in common (0.3)"}}};
}

Result<std::unique_ptr<Task>> make_encyclopaedia_task(const TaskOptions& options) {
  MSA_ASSIGN(const encyclopaedia::Settings settings, encyclopaedia::read_settings(options));
  return std::make_unique<encyclopaedia::EncyclopaediaTask>(options, settings);
}

}  // namespace msa
