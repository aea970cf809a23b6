// The maker "factbook": questions about records of the Factbook, real and invented.
#include "tasks/factbook.h"

#include <fmt/format.h>

#include <algorithm>
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
#include "tasks/factbook_facts.h"
#include "tasks/factbook_invent.h"
#include "tasks/factbook_letters.h"
#include "tasks/factbook_names.h"
#include "tasks/factbook_phrase.h"
#include "tasks/factbook_records.h"
#include "tasks/factbook_settings.h"

namespace msa::factbook {
namespace {

struct Settings {
  size_t documents = 24, questions = 14, max_words = 110;
  std::optional<size_t> countries;
  Hops hops = Hops::mixed;
  double invented = 0.6, renamed = 0.1, lookalikes = 0;
};

constexpr std::string_view kName = "factbook";
// Distractors of one invented country.
constexpr uint64_t kDistractorsPerCountry = 64;
// A country with fewer records gives too few questions to be worth a place in a sample.
constexpr size_t kMinRecords = 60;
// Asked about in a sample.
constexpr size_t kFewestFacts = 9, kMostCountries = 32;
// Shares of the questions where hops are mixed, of a thousand.
constexpr uint64_t kTwoHopShare = 250, kCountryShare = 70;

// A country in a sample: a real one, an invented one, or an invented one under a real one's name.
struct Entity {
  uint32_t base = 0;
  std::optional<InventedCountry> invented;
  std::string name, asked;
};

// Enumerations and "no lyrics/…" make no clause that reads well.
bool can_stand_for_country(std::string_view value) {
  return value.find_first_of(",/;") == std::string_view::npos;
}

class FactbookTask final : public Task {
 public:
  FactbookTask(std::shared_ptr<const Records> records, const TaskOptions& options,
               const Settings& settings)
      : records_(std::move(records)),
        split_(options.split),
        seed_(mix(options.seed, split_ == Split::test ? 2 : 1)),
        settings_(settings),
        inventor_(records_, split_),
        phrasebook_(split_) {
    for (const Fact& fact : facts()) field_of_fact_.push_back(records_->field(fact.field));
    for (const Bridge& bridge : bridges()) {
      const auto at = std::ranges::find(facts(), bridge.fact, &Fact::key);
      fact_of_bridge_.push_back(static_cast<size_t>(at - facts().begin()));
    }
    const std::vector<Country>& countries = records_->countries();
    for (uint32_t i = 0; i < countries.size(); ++i) {
      if (countries[i].records.size() < kMinRecords) continue;
      if (!countries[i].test) bases_.push_back(i);
      if (countries[i].test == (split_ == Split::test)) asked_.push_back(i);
    }
    find_unique_values();
  }

  std::string_view name() const override { return kName; }
  const std::vector<SampleDocument>& collection() const override { return records_->documents(); }
  Sample sample(uint64_t index) const override;
  SampleDocument distractor(uint64_t index) const override;

 private:
  class Builder;

  void find_unique_values();

  std::shared_ptr<const Records> records_;
  Split split_;
  uint64_t seed_;
  Settings settings_;
  Inventor inventor_;
  Phrasebook phrasebook_;
  std::vector<std::optional<uint32_t>> field_of_fact_;
  std::vector<size_t> fact_of_bridge_;
  std::vector<uint32_t> bases_;  // countries that invented ones are made of
  std::vector<uint32_t> asked_;  // countries of this split that questions are about
  // Per bridge: the values of all countries, and per country its value if no other record of the
  // field has it (else empty).
  std::vector<std::unordered_set<std::string>> values_;
  std::vector<std::vector<std::string>> unique_;
};

void FactbookTask::find_unique_values() {
  const std::vector<Country>& countries = records_->countries();
  for (size_t b = 0; b < bridges().size(); ++b) {
    const Fact& fact = facts()[fact_of_bridge_[b]];
    std::vector<std::string> found(countries.size());
    std::vector<std::string_view> texts(countries.size());
    std::unordered_set<std::string> values;
    if (const std::optional<uint32_t> field = field_of_fact_[fact_of_bridge_[b]]) {
      for (uint32_t c = 0; c < countries.size(); ++c) {
        const std::optional<uint32_t> record = records_->record(c, *field);
        if (!record) continue;
        texts[c] = records_->documents()[*record].text;
        if (const std::optional<Found> value = extract(fact, texts[c], 0)) found[c] = value->value;
      }
      for (uint32_t c = 0; c < countries.size(); ++c) {
        if (found[c].empty()) continue;
        values.insert(found[c]);
      }
      std::vector<std::string> unique(countries.size());
      for (uint32_t c = 0; c < countries.size(); ++c) {
        if (found[c].empty() || !can_stand_for_country(found[c])) continue;
        bool alone = true;
        for (uint32_t other = 0; alone && other < countries.size(); ++other)
          alone = other == c || texts[other].find(found[c]) == std::string_view::npos;
        if (alone) unique[c] = found[c];
      }
      found = std::move(unique);
    }
    values_.push_back(std::move(values));
    unique_.push_back(std::move(found));
  }
}

// Puts one sample together.
class FactbookTask::Builder {
 public:
  Builder(const FactbookTask& task, uint64_t index) : task_(task), draw_(task.seed_, index) {
    sample_.where = fmt::format("factbook:{}", index);
  }

  Sample build() {
    choose_countries();
    // Few facts, asked about several countries each, bring lookalikes of both sorts: the same field
    // of other countries and other fields of the same country. Few countries have questions enough
    // only for many facts.
    const size_t wanted =
        std::clamp(task_.settings_.questions / entities_.size(), kFewestFacts, facts().size() / 4);
    std::vector<size_t> pool;
    while (pool.size() < wanted) {
      const size_t fact = draw_.below(facts().size());
      if (task_.field_of_fact_[fact] && std::ranges::find(pool, fact) == pool.end())
        pool.push_back(fact);
    }
    const Hops hops = task_.settings_.hops;
    for (size_t attempt = 0; sample_.questions.size() < task_.settings_.questions && attempt < 400;
         ++attempt) {
      if (attempt % 40 == 39) pool[draw_.below(pool.size())] = some_fact();
      const size_t fact = pool[draw_.below(pool.size())];
      const Entity& entity = entities_[draw_.below(entities_.size())];
      const uint64_t share = draw_.below(1000);
      if (hops == Hops::two || (hops == Hops::mixed && share < kTwoHopShare)) {
        ask_two_hops(entity, fact);
      } else if (hops == Hops::mixed && share < kTwoHopShare + kCountryShare) {
        ask_country(entity);
      } else {
        ask(entity, fact);
      }
    }
    add_lookalikes(pool);
    shuffle_documents();
    return std::move(sample_);
  }

 private:
  static constexpr uint32_t kNone = ~0u;

  size_t some_fact() {
    for (;;) {
      const size_t fact = draw_.below(facts().size());
      if (task_.field_of_fact_[fact]) return fact;
    }
  }

  // The two to four letters that the next country's name begins with, as one of the sample does;
  // mostly empty: any name.
  std::string start_of_name() {
    if (task_.settings_.lookalikes == 0 || entities_.empty() ||
        !draw_.chance(task_.settings_.lookalikes))
      return {};
    const std::string& like = entities_[draw_.below(entities_.size())].name;
    size_t end = 0;
    for (uint64_t letters = 2 + draw_.below(3); letters > 0 && end < like.size(); --letters)
      end += letter_at(like, end);  // 0 where the word ends
    return like.substr(0, end);
  }

  // A real country of this split whose name begins so; any one, where none does.
  uint32_t some_country(std::string_view start) {
    if (!start.empty()) {
      std::vector<uint32_t> similar;
      for (const uint32_t country : task_.asked_)
        if (task_.records_->countries()[country].name.starts_with(start) &&
            std::ranges::find(entities_, task_.records_->countries()[country].name,
                              &Entity::name) == entities_.end())
          similar.push_back(country);
      if (!similar.empty()) return similar[draw_.below(similar.size())];
    }
    return task_.asked_[draw_.below(task_.asked_.size())];
  }

  void choose_countries() {
    const size_t count = task_.settings_.countries.value_or(3 + draw_.below(4));
    while (entities_.size() < count) {
      Entity entity;
      const std::string start = start_of_name();
      const bool is_invented = draw_.chance(task_.settings_.invented);
      const bool is_renamed = !is_invented && draw_.chance(task_.settings_.renamed);
      if (is_invented || is_renamed) {
        entity.base = task_.bases_[draw_.below(task_.bases_.size())];
        const bool sibling =
            is_invented && start.empty() && !entities_.empty() && draw_.chance(0.25);
        entity.invented = task_.inventor_.country(
            entity.base, draw_.bits(),
            sibling ? std::string_view(entities_.back().name) : std::string_view(), start);
        if (is_renamed) {
          const Country& other = task_.records_->countries()[some_country(start)];
          entity.invented->name = other.name;
          entity.invented->asked = other.asked;
        }
        entity.name = entity.invented->name;
        entity.asked = entity.invented->asked;
      } else {
        entity.base = some_country(start);
        entity.name = task_.records_->countries()[entity.base].name;
        entity.asked = task_.records_->countries()[entity.base].asked;
      }
      if (std::ranges::find(entities_, entity.name, &Entity::name) == entities_.end())
        entities_.push_back(std::move(entity));
    }
  }

  // The document of an entity's field, made at the first call; kNone if there is no such record or
  // the sample is full.
  uint32_t document(const Entity& entity, uint32_t field) {
    const std::optional<uint32_t> record = task_.records_->record(entity.base, field);
    if (!record) return kNone;
    const uint64_t key = (static_cast<uint64_t>(&entity - entities_.data()) << 32) | field;
    if (sample_.documents.size() >= task_.settings_.documents && !document_of_.contains(key))
      return kNone;
    const auto [at, is_new] =
        document_of_.emplace(key, static_cast<uint32_t>(sample_.documents.size()));
    if (is_new)
      sample_.documents.push_back(entity.invented
                                      ? cut(task_.inventor_.document(*record, *entity.invented))
                                      : real(*record));
    return at->second;
  }

  SampleDocument real(uint32_t record) const {
    SampleDocument document = task_.records_->documents()[record];
    // In tests the documents are found again in the collection, so they stay as they are.
    if (task_.split_ == Split::test) return document;
    document.text = task_.inventor_.training_text(record);
    return cut(std::move(document));
  }

  SampleDocument cut(SampleDocument document) const {
    document.text.resize(first_words(document.text, task_.settings_.max_words).size());
    return document;
  }

  // The answer, if it stands in the part of the document that is sure to be encoded as one passage.
  std::optional<Found> answer(size_t fact, uint32_t document, uint64_t choice) const {
    const std::string_view text = sample_.documents[document].text;
    std::optional<Found> found = extract(facts()[fact], text, choice);
    if (!found) return found;
    const auto end = static_cast<size_t>(found->value.data() - text.data()) + found->value.size();
    if (end > first_words(text, task_.settings_.max_words).size()) return std::nullopt;
    return found;
  }

  void add_question(SampleQuestion question, const std::string& key) {
    if (!asked_.insert(key).second) return;
    sample_.questions.push_back(std::move(question));
  }

  static void set_answer(SampleQuestion& question, std::string_view value) {
    question.answer = value;
    const std::string_view bare = without_unit(value);
    if (bare != value) question.accepted.emplace_back(bare);
  }

  void ask(const Entity& entity, size_t fact) {
    const uint32_t at = document(entity, *task_.field_of_fact_[fact]);
    if (at == kNone) return;
    const uint64_t choice = draw_.bits();
    const std::optional<Found> found = answer(fact, at, choice);
    if (!found) return;
    SampleQuestion question;
    question.question =
        task_.phrasebook_.ask(fact, {entity.asked, found->item, found->year, false}, draw_.bits());
    question.steps = {{at}};
    set_answer(question, found->value);
    question.kind = "one-hop";
    add_question(std::move(question),
                 fmt::format("{}/{}/{}{}", at, fact, found->item, found->year));
  }

  // A bridge to the entity whose value belongs to it alone, and the document it stands in.
  struct Way {
    size_t bridge;
    uint32_t document;
    std::string value;
  };
  std::optional<Way> way_to(const Entity& entity) {
    const size_t bridge = draw_.below(bridges().size());
    const size_t fact = task_.fact_of_bridge_[bridge];
    if (!task_.field_of_fact_[fact]) return std::nullopt;
    const uint32_t at = document(entity, *task_.field_of_fact_[fact]);
    if (at == kNone) return std::nullopt;
    const std::optional<Found> found = answer(fact, at, 0);
    if (!found) return std::nullopt;
    Way way{bridge, at, std::string(found->value)};
    // "Republic of Chad" would name the country after all.
    if (way.value.find(entity.name) != std::string::npos) return std::nullopt;
    if (entity.invented) {
      if (task_.values_[bridge].contains(way.value) || !can_stand_for_country(way.value))
        return std::nullopt;
    } else if (task_.unique_[bridge][entity.base] != way.value) {
      return std::nullopt;
    }
    // Invented values are unlikely to meet, but siblings come of the same real countries.
    for (const SampleDocument& other : sample_.documents)
      if (&other != &sample_.documents[at] && other.title.ends_with(field_name(fact)) &&
          other.text.find(way.value) != std::string::npos)
        return std::nullopt;
    return way;
  }

  std::string field_name(size_t fact) const { return ": " + std::string(facts()[fact].field); }

  void ask_two_hops(const Entity& entity, size_t fact) {
    const std::optional<Way> way = way_to(entity);
    if (!way || task_.phrasebook_.phrasings(fact, true) == 0) return;
    const uint32_t at = document(entity, *task_.field_of_fact_[fact]);
    if (at == kNone || at == way->document) return;
    const uint64_t choice = draw_.bits();
    const std::optional<Found> found = answer(fact, at, choice);
    if (!found) return;
    const std::string country = task_.phrasebook_.describe(way->bridge, way->value, draw_.bits());
    SampleQuestion question;
    question.question =
        task_.phrasebook_.ask(fact, {country, found->item, found->year, true}, draw_.bits());
    question.steps = {{way->document}, {at}};
    set_answer(question, found->value);
    question.kind = "two-hop";
    add_question(std::move(question),
                 fmt::format("{}/{}/{}/{}{}", way->document, at, fact, found->item, found->year));
  }

  void ask_country(const Entity& entity) {
    const std::optional<Way> way = way_to(entity);
    if (!way) return;
    SampleQuestion question;
    question.question = task_.phrasebook_.ask_country(way->bridge, way->value, draw_.bits());
    question.steps = {{way->document}};
    question.answer = entity.name;
    if (entity.asked != entity.name) question.accepted.push_back(entity.asked);
    question.kind = "country";
    add_question(std::move(question), fmt::format("{}/{}", way->document, way->bridge));
  }

  // Fills the sample up: other fields of its countries, the same fields of its and other countries.
  void add_lookalikes(const std::vector<size_t>& pool) {
    const size_t wanted = task_.settings_.documents;
    for (size_t attempt = 0; sample_.documents.size() < wanted && attempt < 40 * wanted;
         ++attempt) {
      const Entity& entity = entities_[draw_.below(entities_.size())];
      if (draw_.chance(0.7)) {
        document(entity, *task_.field_of_fact_[pool[draw_.below(pool.size())]]);
      } else {
        const std::vector<uint32_t>& all = task_.records_->countries()[entity.base].records;
        document(entity, task_.records_->field_of(all[draw_.below(all.size())]));
      }
    }
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

  const FactbookTask& task_;
  Random draw_;
  Sample sample_;
  std::vector<Entity> entities_;
  std::unordered_map<uint64_t, uint32_t> document_of_;  // entity and field
  std::unordered_set<std::string> asked_;
};

Sample FactbookTask::sample(uint64_t index) const {
  return Builder(*this, index).build();
}

SampleDocument FactbookTask::distractor(uint64_t index) const {
  const uint64_t seed = mix(mix(seed_, 13), index / kDistractorsPerCountry);
  const uint32_t base = bases_[seed % bases_.size()];
  const InventedCountry country = inventor_.country(base, mix(seed, 1));
  const std::vector<uint32_t>& all = records_->countries()[base].records;
  const uint64_t first = mix(seed, 2);
  const uint32_t record = all[(first + index % kDistractorsPerCountry) % all.size()];
  SampleDocument document = inventor_.document(record, country);
  document.text.resize(first_words(document.text, settings_.max_words).size());
  document.id = fmt::format("invented-factbook/{}", index);
  return document;
}

Result<Settings> read_settings(const TaskOptions& options) {
  Settings settings;
  // What is asked in tests is real.
  if (options.split == Split::test) settings.invented = settings.renamed = 0;
  for (const auto& [name, value] : options.settings) {
    if (name == "documents") {
      MSA_TRY(read_count(kName, name, value, 4, 4096, settings.documents));
    } else if (name == "questions") {
      MSA_TRY(read_count(kName, name, value, 1, 1024, settings.questions));
    } else if (name == "countries") {
      size_t countries = 0;
      MSA_TRY(read_count(kName, name, value, 1, kMostCountries, countries));
      settings.countries = countries;
    } else if (name == "max_words") {
      MSA_TRY(read_count(kName, name, value, 10, 1000, settings.max_words));
    } else if (name == "invented") {
      MSA_TRY(read_share(kName, name, value, settings.invented));
    } else if (name == "renamed") {
      MSA_TRY(read_share(kName, name, value, settings.renamed));
    } else if (name == "lookalikes") {
      MSA_TRY(read_share(kName, name, value, settings.lookalikes));
    } else if (name == "hops") {
      MSA_TRY(read_hops(kName, name, value, settings.hops));
    } else {
      return Error{
          Code::invalid_argument,
          fmt::format("task factbook: no setting '{}'; known are documents, questions, countries, "
                      "hops, invented, renamed, lookalikes and max_words",
                      name)};
    }
  }
  return settings;
}

}  // namespace

}  // namespace msa::factbook

namespace msa {

TaskDescription describe_factbook_task() {
  return {std::string(factbook::kName),
          "questions about records of the World Factbook, in words of every day; held-out "
          "countries in tests",
          {{"documents", "records per sample (24)"},
           {"questions", "questions per sample, fewer if its records do not give so many (14)"},
           {"countries",
            "countries per sample, as many to tell apart as fields if they are few (3 to 6)"},
           {"hops",
            "1, 2 or mixed: whether a second record must be found by what the first says (mixed)"},
           {"invented", "share of countries that are invented (0.6; in tests 0)"},
           {"renamed",
            "share of the others that have a real name and invented records (0.1; in tests 0)"},
           {"lookalikes", "share of countries whose name begins as another's of the sample (0)"},
           {"max_words", "records are cut after so many words, and answers stand before (110)"}}};
}

Result<std::unique_ptr<Task>> make_factbook_task(const TaskOptions& options) {
  MSA_ASSIGN(const factbook::Settings settings, factbook::read_settings(options));
  MSA_ASSIGN(std::shared_ptr<const factbook::Records> records,
             factbook::Records::load(options.data));
  return std::make_unique<factbook::FactbookTask>(std::move(records), options, settings);
}

}  // namespace msa
