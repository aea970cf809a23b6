#include "tasks/encyclopaedia_names.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>

namespace msa::encyclopaedia {
namespace {

// {r} is the root.
constexpr std::array<std::string_view, 8> kCities = {"Port {r}",   "Lower {r}", "Upper {r}",
                                                     "New {r}",    "Old {r}",   "Great {r}",
                                                     "Little {r}", "Saint {r}"};
constexpr std::array<std::string_view, 4> kCountries = {"North {r}", "South {r}", "East {r}",
                                                        "West {r}"};
constexpr std::array<std::string_view, 4> kFirms = {"{r} Brothers", "{r} Industries",
                                                    "{r} Manufacturing", "{r} Works"};
constexpr std::array<std::string_view, 3> kYards = {"{r} Shipyard", "{r} Docks",
                                                    "{r} Shipbuilding"};
constexpr std::array<std::string_view, 3> kPublishers = {"{r} Press", "{r} Books",
                                                         "{r} Publishing"};
constexpr std::array<std::string_view, 2> kMountains = {"Mount {r}", "{r} Peak"};
constexpr std::array<std::string_view, 2> kRivers = {"River {r}", "{r} River"};
constexpr std::array<std::string_view, 8> kShips = {"Queen {r}",    "{r} Star",  "Spirit of {r}",
                                                    "Pride of {r}", "Lady {r}",  "{r} Castle",
                                                    "Maid of {r}",  "{r} Trader"};
constexpr std::array<std::string_view, 8> kClubs = {"{r} United",   "{r} Rovers",   "{r} Wanderers",
                                                    "{r} Athletic", "Sporting {r}", "{r} Rangers",
                                                    "{r} Town",     "{r} Albion"};
constexpr std::array<std::string_view, 10> kTitles = {
    "The {n} of {r}",   "The {a} {n} of {r}",  "{r} at Dawn",   "A Winter in {r}",
    "Letters from {r}", "The {a} {n}s of {r}", "Return to {r}", "A {a} {n} for {r}",
    "Beyond {r}",       "The {r} {n}"};
constexpr std::array<std::string_view, 60> kAdjectives = {
    "Silent",  "Golden",   "Broken",    "Hidden",    "Distant", "Crimson",  "Frozen",   "Hollow",
    "Burning", "Gentle",   "Crooked",   "Last",      "Lost",    "Silver",   "Wooden",   "Painted",
    "Quiet",   "Restless", "Pale",      "Scarlet",   "Second",  "Secret",   "Singing",  "Sleeping",
    "Stolen",  "Velvet",   "Wandering", "White",     "Wild",    "Winter",   "Bitter",   "Blue",
    "Bright",  "Copper",   "Dark",      "Drowned",   "Empty",   "Faded",    "Faithful", "Fallen",
    "False",   "Green",    "Grey",      "Invisible", "Iron",    "Laughing", "Lonely",   "Northern",
    "Old",     "Patient",  "Proud",     "Red",       "Rusty",   "Shining",  "Small",    "Southern",
    "Strange", "Sunken",   "Weeping",   "Young"};
constexpr std::array<std::string_view, 64> kNouns = {
    "Orchard",  "Harbour", "Mirror", "Garden",   "Bridge", "Tower",    "Crown",  "Lantern",
    "River",    "Window",  "Candle", "Forest",   "Island", "Kingdom",  "Letter", "Meadow",
    "Mountain", "Night",   "Ocean",  "Palace",   "Road",   "Room",     "Rose",   "Shadow",
    "Shore",    "Song",    "Star",   "Stone",    "Storm",  "Summer",   "Sword",  "Tree",
    "Valley",   "Voyage",  "Wall",   "Well",     "Willow", "Wind",     "Bell",   "Bird",
    "Bride",    "Brother", "Castle", "Clock",    "Cloud",  "Daughter", "Door",   "Dream",
    "Feast",    "Field",   "Flame",  "Fountain", "Ghost",  "Hill",     "Horse",  "Hunter",
    "King",     "Lake",    "Mask",   "Moon",     "Pilot",  "Queen",    "Ring",   "Sailor"};

// What species of a type are called.
struct Breed {
  std::string_view type;
  std::array<std::string_view, 4> names;
};
constexpr std::array<Breed, 11> kBreeds = {{
    {"bird", {"finch", "heron", "warbler", "thrush"}},
    {"fish", {"perch", "carp", "goby", "loach"}},
    {"beetle", {"beetle", "weevil", "ladybird", "firefly"}},
    {"lizard", {"lizard", "gecko", "skink", "iguana"}},
    {"frog", {"tree frog", "bullfrog", "toad", "marsh frog"}},
    {"bat", {"bat", "fruit bat", "pipistrelle", "horseshoe bat"}},
    {"snake", {"viper", "adder", "python", "grass snake"}},
    {"mouse", {"vole", "dormouse", "field mouse", "wood mouse"}},
    {"orchid", {"orchid", "slipper orchid", "bee orchid", "ghost orchid"}},
    {"fern", {"fern", "tree fern", "shield fern", "bladder fern"}},
    {"lily", {"lily", "water lily", "tiger lily", "day lily"}},
}};

void replace(std::string& text, std::string_view slot, std::string_view with) {
  if (const size_t at = text.find(slot); at != std::string::npos)
    text.replace(at, slot.size(), with);
}

std::string capitalized(std::string_view word) {
  std::string text(word);
  text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

void name_person(Entity& entity, const Entity* like, Namer& namer, Split split, Random& draw) {
  const bool same_last = like != nullptr && draw.chance(0.5);
  const bool same_first = like != nullptr && !same_last;
  if (same_first) entity.female = like->female;
  entity.first = same_first ? like->first : first_name(draw, entity.female, split);
  entity.last = entity.root = same_last ? like->root : namer.root(draw);
  entity.name = entity.first;
  if (draw.chance(0.1))
    entity.name += " " + first_name(draw, entity.female, split);
  else if (draw.chance(0.08))
    entity.name += fmt::format(" {}.", static_cast<char>('A' + draw.below(26)));
  entity.name += " " + entity.last;
}

// The pattern of the name of anything but a person. `shared`: the root is another entity's too, and
// neither name may be a part of the other.
std::string pattern(const Entity& entity, bool shared, Random& draw) {
  const std::string_view type = entity.type.word;
  switch (entity.kind) {
    case Kind::person: break;
    case Kind::city: return shared || draw.chance(0.3) ? std::string(draw.pick(kCities)) : "{r}";
    case Kind::country:
      return shared || draw.chance(0.3) ? std::string(draw.pick(kCountries)) : "{r}";
    case Kind::work: {
      std::string title(draw.pick(kTitles));
      replace(title, "{a}", draw.pick(kAdjectives));
      replace(title, "{n}", draw.pick(kNouns));
      return title;
    }
    case Kind::company:
      if (type == "shipyard") return std::string(draw.pick(kYards));
      if (type == "publishing house") return std::string(draw.pick(kPublishers));
      return std::string(draw.pick(kFirms));
    case Kind::university:
      if (type == "university" && draw.chance(0.6)) return "University of {r}";
      return "{r} " + capitalized(type);
    case Kind::river: return std::string(draw.pick(kRivers));
    case Kind::mountain: return std::string(draw.pick(kMountains));
    case Kind::species:
      for (const Breed& breed : kBreeds)
        if (breed.type == type) return "{r} " + std::string(draw.pick(breed.names));
      break;
    case Kind::ship: return std::string(draw.pick(kShips));
    case Kind::building: return "{r} " + capitalized(type);
    case Kind::club: return std::string(draw.pick(kClubs));
  }
  return "{r}";
}

bool has_article(const Entity& entity) {
  switch (entity.kind) {
    case Kind::university:
      return entity.name.starts_with("University") || entity.type.word == "academy";
    case Kind::river:
    case Kind::species:
    case Kind::ship:
    case Kind::building: return true;
    case Kind::company: return entity.name.ends_with("Shipyard") || entity.name.ends_with("Docks");
    default: return false;
  }
}

}  // namespace

void give_name(Entity& entity, const Entity* like, Namer& namer, Split split, Random& draw) {
  if (entity.kind == Kind::person) return name_person(entity, like, namer, split, draw);
  // Roots are shared by names that have more than the root; a river has but one name.
  const bool can_share = like != nullptr && like->name != like->root && like->kind != Kind::river &&
                         like->kind != Kind::building;
  const bool shared = can_share && draw.chance(0.6);
  entity.root = shared ? like->root : namer.root(draw);
  // Else the rest of the name is the same.
  if (like != nullptr && !shared) {
    entity.name = like->name;
    replace(entity.name, like->root, entity.root);
  } else {
    entity.name = pattern(entity, shared, draw);
    replace(entity.name, "{r}", entity.root);
  }
  entity.article = has_article(entity);
}

}  // namespace msa::encyclopaedia
