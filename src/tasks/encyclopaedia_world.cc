#include "tasks/encyclopaedia_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <optional>
#include <utility>

#include "tasks/encyclopaedia_names.h"

namespace msa::encyclopaedia {
namespace {

constexpr int64_t kLastYear = 2020;

// What people are whom a fact of another entity names.
std::vector<std::string_view> trades(const Relation& relation, const Entity& source) {
  if (relation.key == "work/creator") {
    if (source.type.maker == "author") return {"novelist"};
    if (source.type.maker == "director") return {"film director"};
    return {source.type.maker};
  }
  if (relation.key == "person/mentor") return {source.type.word};
  if (relation.key == "building/architect") return {"architect", "engineer"};
  if (relation.key == "mountain/first climber")
    return {"mountaineer", "explorer", "geologist", "botanist"};
  if (relation.key == "species/discoverer") return {"naturalist", "zoologist", "explorer"};
  if (relation.key == "company/founder")
    return source.type.word == "publishing house"
               ? std::vector<std::string_view>{"journalist", "merchant", "historian"}
               : std::vector<std::string_view>{"engineer", "merchant", "inventor", "chemist"};
  return {};
}

// What an article on an entity named by the relation must not tell: it would contradict it, as a
// capital that lies in another country.
std::string_view silence(const Relation& relation) {
  if (relation.key == "country/capital") return "city/country";
  if (relation.key == "country/mountain") return "mountain/country";
  if (relation.key == "city/river") return "river/country";
  if (relation.key == "club/stadium") return "building/city";
  return {};
}

std::string number_text(Random& draw, const Value& value) {
  const double low = std::log(static_cast<double>(value.low));
  const double high = std::log(static_cast<double>(value.high));
  const auto number = std::clamp(
      static_cast<int64_t>(std::exp(low + draw.uniform() * (high - low))), value.low, value.high);
  std::string text = std::to_string(number);
  for (size_t at = text.size(); at > 3; at -= 3)
    if (at > 3) text.insert(at - 3, ",");
  return text.append(value.unit);
}

}  // namespace

struct World::Wish {
  Kind kind = Kind::person;
  std::vector<std::string_view> types = {};  // empty: any
  int64_t first_year = -kAnyGap, last_year = kAnyGap;
  int64_t alive_in = -kAnyGap;  // a person's year of death is not before
  std::optional<bool> female = {};
  std::string_view silent_on = {};  // the key of a relation that its article says nothing about
  const Entity* like = nullptr;     // whose name it shares a part of
};

std::string Namer::root(Random& draw) {
  if (shorts_ < kShorts && next_short_ < roots_.shorts() && draw.chance(0.5)) {
    ++shorts_;
    return roots_.short_root(next_short_++);
  }
  ++longs_;
  assert(longs_ <= most_);
  return roots_.long_root(next_long_++);
}

World::World(Namer& namer, Split split, Random& draw, const Plan& plan)
    : namer_(namer), split_(split), draw_(draw), plan_(plan) {
  entities_.reserve(plan.articles);
  const auto alike =
      static_cast<size_t>(plan.lookalikes * static_cast<double>(plan.articles) + draw.uniform());
  const size_t originals = plan.articles - std::min(alike, plan.articles - 1);
  // People, places and works are asked about most.
  constexpr std::array kRoots = {
      Kind::person,  Kind::person,   Kind::person,   Kind::city,    Kind::work, Kind::work,
      Kind::work,    Kind::company,  Kind::company,  Kind::country, Kind::ship, Kind::building,
      Kind::species, Kind::mountain, Kind::building, Kind::river,   Kind::club, Kind::university};
  while (entities_.size() < plan.articles) {
    if (entities_.size() < originals) {
      add({.kind = draw.pick(kRoots)}, 0);
    } else {
      const Entity like = draw.pick(entities_);
      add({.kind = like.kind, .types = {like.type.word}, .like = &like}, plan.depth);
    }
  }
}

Entity World::make(const Wish& wish) {
  const KindTexts& texts = texts_of(wish.kind);
  Entity entity;
  entity.kind = wish.kind;
  if (wish.types.empty()) {
    entity.type = draw_.pick(texts.types);
  } else {
    entity.type = *std::ranges::find(texts.types, draw_.pick(wish.types), &Type::word);
  }
  const int64_t low = std::max({texts.first_year, entity.type.first_year, wish.first_year});
  const int64_t high = std::min(texts.last_year, wish.last_year);
  assert(low <= high);
  entity.year = low + static_cast<int64_t>(draw_.below(static_cast<uint64_t>(high - low + 1)));
  if (wish.kind == Kind::person) {
    const int64_t first = std::max(entity.year + 35, wish.alive_in);
    const int64_t last = std::max(first, std::min(entity.year + 92, kLastYear));
    entity.female = wish.female.value_or(draw_.chance(0.5));
    entity.end_year =
        first + static_cast<int64_t>(draw_.below(static_cast<uint64_t>(last - first + 1)));
  }
  do {
    give_name(entity, wish.like, namer_, split_, draw_);
  } while (!names_.insert(entity.name).second);
  return entity;
}

size_t World::add(const Wish& wish, size_t depth) {
  const size_t at = entities_.size();
  entities_.push_back(make(wish));
  complete_.push_back(false);
  give_facts(at, depth, wish);
  complete_[at] = true;
  return at;
}

void World::give_facts(size_t entity, size_t depth, const Wish& wish) {
  const Entity* const like = wish.like;
  const std::vector<Relation>& all = relations();
  std::vector<size_t> possible, first;
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r].kind != entities_[entity].kind || all[r].key == wish.silent_on) continue;
    const std::vector<std::string_view>& types = all[r].types;
    if (!types.empty() && std::ranges::find(types, entities_[entity].type.word) == types.end())
      continue;
    // Lookalikes tell the same of themselves, so that only the name makes the difference.
    const bool wanted =
        like != nullptr && std::ranges::find(like->facts, r, &Fact::relation) != like->facts.end();
    (wanted ? first : possible).push_back(r);
  }
  draw_.shuffle(first);
  draw_.shuffle(possible);
  first.insert(first.end(), possible.begin(), possible.end());
  const bool must_lead_on = depth < plan_.depth;
  if (must_lead_on)
    std::stable_partition(first.begin(), first.end(),
                          [&](size_t r) { return all[r].value.linked; });
  const size_t wanted = draw_.between(plan_.fewest_facts, plan_.most_facts);
  for (const size_t relation : first) {
    if (entities_[entity].facts.size() >= wanted) break;
    give_fact(entity, relation, depth, must_lead_on && entities_[entity].facts.empty());
  }
}

bool World::give_fact(size_t entity, size_t relation, size_t depth, bool must_lead_on) {
  const Relation& told = relations()[relation];
  const Entity& about = entities_[entity];
  const Value& value = told.value;
  Fact fact{relation, {}, kNoEntity};
  switch (value.is) {
    case Value::Is::main_year: fact.value = std::to_string(about.year); break;
    case Value::Is::end_year: fact.value = std::to_string(about.end_year); break;
    case Value::Is::later:
      fact.value = std::to_string(
          about.year + static_cast<int64_t>(draw_.between(static_cast<uint64_t>(value.low),
                                                          static_cast<uint64_t>(value.high))));
      break;
    case Value::Is::number: fact.value = number_text(draw_, value); break;
    case Value::Is::word:
      fact.value = value.words.empty() ? about.type.word : draw_.pick(value.words);
      break;
    case Value::Is::root:
      fact.value = namer_.root(draw_);
      if (told.key == "country/currency")
        fact.value[0] = static_cast<char>(fact.value[0] - 'A' + 'a');
      break;
    case Value::Is::entity:
      fact.value = entity_value(entity, told, depth, must_lead_on, fact.entity);
      break;
  }
  if (fact.value.empty()) return false;
  entities_[entity].facts.push_back(std::move(fact));
  return true;
}

// The name of an entity that the fact can be about; empty if none can be.
std::string World::entity_value(size_t entity, const Relation& relation, size_t depth,
                                bool must_lead_on, size_t& target) {
  const Entity& source = entities_[entity];
  const Value& value = relation.value;
  Wish wish{.kind = value.target};
  if (!value.type.empty()) wish.types = {value.type};
  if (relation.key == "person/mother") wish.female = true;
  if (relation.key == "person/spouse") wish.female = !source.female;
  wish.silent_on = silence(relation);
  if (value.linked && value.target == Kind::person) wish.types = trades(relation, source);
  if (value.linked && value.high != kAnyGap) {
    const KindTexts& texts = texts_of(value.target);
    wish.first_year = source.year - value.high;
    wish.last_year = source.year - value.low;
    wish.alive_in = source.year + (source.kind == Kind::person ? 18 : 0);
    if (std::max(wish.first_year, texts.first_year) > std::min(wish.last_year, texts.last_year))
      return {};
  }
  if (value.linked) {
    const bool room = entities_.size() < plan_.articles && depth < std::max<size_t>(plan_.depth, 1);
    if (!must_lead_on && draw_.chance(0.35)) {
      // Only what is complete, so that no two entities ever lead to each other.
      std::vector<size_t> fitting;
      for (size_t e = 0; e < entities_.size(); ++e) {
        const Entity& other = entities_[e];
        if (other.kind == wish.kind && other.year >= wish.first_year &&
            other.year <= wish.last_year &&
            (other.kind != Kind::person || other.end_year >= wish.alive_in) &&
            (wish.types.empty() ||
             std::ranges::find(wish.types, other.type.word) != wish.types.end()) &&
            complete_[e] && !tells(e, wish.silent_on) &&
            !(relation.kind == Kind::country && is_named(relation, e)) &&
            std::ranges::find(source.facts, e, &Fact::entity) == source.facts.end())
          fitting.push_back(e);
      }
      if (!fitting.empty()) {
        target = draw_.pick(fitting);
        return entities_[target].name_in_text();
      }
    }
    if (room && plan_.articles > 1 && (must_lead_on || draw_.chance(0.5))) {
      target = add(wish, depth + 1);
      return entities_[target].name_in_text();
    }
  }
  return make(wish).name_in_text();
}

// Whether an entity has a fact of that relation.
bool World::tells(size_t entity, std::string_view key) const {
  return std::ranges::any_of(entities_[entity].facts, [&](const Fact& fact) {
    return relations()[fact.relation].key == key;
  });
}

// Whether the entity is the capital, the highest mountain, … of another.
bool World::is_named(const Relation& relation, size_t entity) const {
  return std::ranges::any_of(entities_, [&](const Entity& other) {
    return std::ranges::any_of(other.facts, [&](const Fact& fact) {
      return fact.entity == entity && relations()[fact.relation].key == relation.key;
    });
  });
}

}  // namespace msa::encyclopaedia
