#include "tasks/needle_words.h"

namespace msa::needle {
namespace {

constexpr std::string_view kAdjectives[] = {
    "agile",    "amber",     "ample",    "ancient",  "anxious",   "aquatic",   "arctic",
    "ashen",    "attentive", "autumnal", "awkward",  "azure",     "bare",      "bashful",
    "bitter",   "blank",     "blazing",  "bleak",    "blissful",  "blue",      "blunt",
    "bold",     "bouncy",    "brave",    "breezy",   "brief",     "bright",    "brisk",
    "brittle",  "bronze",    "bulky",    "bumpy",    "busy",      "calm",      "candid",
    "careful",  "cautious",  "charming", "cheerful", "chilly",    "clean",     "clear",
    "clever",   "cloudy",    "clumsy",   "coarse",   "cold",      "colossal",  "compact",
    "coral",    "cosy",      "crafty",   "crimson",  "crisp",     "crooked",   "crowded",
    "curious",  "curly",     "damp",     "daring",   "dark",      "dazzling",  "deep",
    "delicate", "dense",     "dim",      "dizzy",    "dreamy",    "drowsy",    "dry",
    "dull",     "dusty",     "dutiful",  "eager",    "earnest",   "earthy",    "eastern",
    "elastic",  "elegant",   "empty",    "endless",  "faded",     "faint",     "fair",
    "faithful", "famous",    "fearless", "feathery", "festive",   "fierce",    "fiery",
    "flat",     "fluffy",    "fluid",    "fragile",  "fragrant",  "frail",     "frank",
    "fresh",    "friendly",  "frosty",   "frugal",   "fuzzy",     "gallant",   "generous",
    "gentle",   "giant",     "gifted",   "glad",     "gleaming",  "glossy",    "golden",
    "graceful", "grand",     "grateful", "grey",     "gritty",    "guarded",   "handy",
    "happy",    "hardy",     "hasty",    "hazy",     "heavy",     "helpful",   "hidden",
    "hollow",   "honest",    "humble",   "hungry",   "hushed",    "icy",       "idle",
    "immense",  "indigo",    "ivory",    "jagged",   "jolly",     "jovial",    "joyful",
    "keen",     "kind",      "large",    "lavish",   "lazy",      "leafy",     "lean",
    "level",    "light",     "limber",   "lively",   "lofty",     "lonely",    "loose",
    "loud",     "lovely",    "loyal",    "lucid",    "lucky",     "lunar",     "mellow",
    "merry",    "mighty",    "mild",     "misty",    "modest",    "mossy",     "muddy",
    "muffled",  "narrow",    "neat",     "nervous",  "nimble",    "noble",     "noisy",
    "northern", "novel",     "oaken",    "odd",      "olive",     "opaque",    "orderly",
    "oval",     "pale",      "parched",  "patient",  "peaceful",  "pearly",    "perky",
    "placid",   "plain",     "playful",  "polite",   "practical", "prickly",   "proud",
    "puzzled",  "quaint",    "quick",    "quiet",    "radiant",   "rapid",     "rare",
    "ready",    "regal",     "remote",   "restless", "robust",    "rosy",      "rough",
    "round",    "rugged",    "rural",    "rustic",   "rusty",     "salty",     "sandy",
    "scarlet",  "secret",    "serene",   "shaggy",   "sharp",     "shiny",     "shy",
    "silent",   "silky",     "silver",   "simple",   "sleek",     "sleepy",    "slender",
    "slow",     "sly",       "smooth",   "snowy",    "soft",      "solar",     "solemn",
    "solid",    "somber",    "southern", "spare",    "sparkling", "speedy",    "spicy",
    "spotless", "stable",    "stately",  "steady",   "steep",     "stern",     "sticky",
    "still",    "stormy",    "stout",    "sturdy",   "subtle",    "sudden",    "sunny",
    "supple",   "swift",     "tall",     "tame",     "tender",    "thick",     "thin",
    "thirsty",  "thorny",    "tidy",     "timid",    "tiny",      "tired",     "tough",
    "tranquil", "tricky",    "trim",     "trusty",   "urban",     "vague",     "valiant",
    "vast",     "velvet",    "vibrant",  "violet",   "vivid",     "wandering", "warm",
    "wary",     "watchful",  "wavy",     "weary",    "western",   "whimsical", "wide",
    "wild",     "windy",     "wise",     "wistful",  "witty",     "wobbly",    "wooden",
    "woolly",   "wry",       "yellow",   "young",
};

constexpr std::string_view kNouns[] = {
    "acorn",    "almond",     "anchor",   "antler",   "anvil",    "apple",    "arch",
    "armchair", "arrow",      "atlas",    "attic",    "badger",   "balcony",  "ballad",
    "bamboo",   "banjo",      "banner",   "barley",   "barn",     "barrel",   "basil",
    "basket",   "beach",      "beacon",   "beaver",   "bell",     "bench",    "bicycle",
    "biscuit",  "bison",      "blanket",  "blossom",  "boat",     "bonfire",  "bottle",
    "boulder",  "bracelet",   "branch",   "bread",    "brick",    "bridge",   "broom",
    "bucket",   "button",     "cabin",    "cactus",   "camera",   "candle",   "canoe",
    "canvas",   "canyon",     "carpet",   "carrot",   "cart",     "castle",   "cedar",
    "cellar",   "cello",      "chair",    "chalk",    "chapel",   "cheese",   "cherry",
    "chestnut", "chimney",    "cliff",    "clock",    "cloud",    "clover",   "cobweb",
    "coffee",   "comet",      "compass",  "copper",   "cork",     "cottage",  "cotton",
    "cradle",   "crane",      "crater",   "creek",    "crown",    "cupboard", "curtain",
    "daisy",    "deer",       "desk",     "diamond",  "dolphin",  "door",     "dragonfly",
    "drum",     "duckling",   "eagle",    "easel",    "echo",     "elm",      "ember",
    "envelope", "falcon",     "feather",  "fence",    "fern",     "ferry",    "fiddle",
    "field",    "finch",      "flame",    "flask",    "flower",   "flute",    "forest",
    "fork",     "fossil",     "fountain", "fox",      "frame",    "funnel",   "garden",
    "garlic",   "gate",       "ginger",   "giraffe",  "glacier",  "globe",    "glove",
    "goose",    "granite",    "grape",    "gravel",   "guitar",   "hammer",   "hammock",
    "harbour",  "harp",       "hawk",     "hazel",    "hedge",    "helmet",   "heron",
    "hill",     "hinge",      "honey",    "horizon",  "horse",    "iceberg",  "island",
    "ivy",      "jacket",     "jar",      "jasmine",  "journal",  "juniper",  "kayak",
    "kettle",   "kitchen",    "kite",     "ladder",   "lagoon",   "lake",     "lamp",
    "lantern",  "lark",       "lavender", "leaf",     "ledger",   "lemon",    "letter",
    "library",  "lighthouse", "lilac",    "locket",   "loom",     "lute",     "magnet",
    "magpie",   "mango",      "maple",    "marble",   "market",   "marsh",    "meadow",
    "medal",    "melon",      "meteor",   "mill",     "mirror",   "mitten",   "moon",
    "mosaic",   "moss",       "mountain", "mushroom", "napkin",   "needle",   "nest",
    "nettle",   "notebook",   "nutmeg",   "oak",      "oar",      "oasis",    "ocean",
    "orchard",  "orchid",     "otter",    "oven",     "owl",      "oyster",   "paddle",
    "palace",   "parade",     "parcel",   "parrot",   "parsley",  "pasture",  "path",
    "peach",    "peacock",    "pebble",   "pelican",  "pencil",   "pepper",   "piano",
    "pillow",   "pine",       "planet",   "plum",     "pocket",   "pond",     "poplar",
    "poppy",    "porch",      "prairie",  "puddle",   "pumpkin",  "quarry",   "quilt",
    "rabbit",   "raft",       "railway",  "raven",    "reed",     "ribbon",   "river",
    "robin",    "rocket",     "roof",     "rope",     "ruler",    "saddle",   "sail",
    "scarf",    "shadow",     "shed",     "shelf",    "ship",     "shore",    "shovel",
    "skylark",  "snail",      "sparrow",  "spindle",  "spoon",    "spring",   "staircase",
    "star",     "station",    "stone",    "stove",    "stream",   "sundial",  "swallow",
    "swan",     "table",      "tapestry", "teapot",   "tent",     "thimble",  "thistle",
    "ticket",   "tiger",      "timber",   "tomato",   "torch",    "tower",    "tractor",
    "train",    "tulip",      "tunnel",   "turtle",   "umbrella", "valley",   "vase",
    "village",  "vine",       "violin",   "volcano",  "wagon",    "walnut",   "waterfall",
    "wheat",    "wheel",      "whistle",  "willow",   "window",   "winter",   "wolf",
    "wren",     "yacht",      "zebra",
};

}  // namespace

std::span<const std::string_view> key_adjectives() {
  return kAdjectives;
}

std::span<const std::string_view> key_nouns() {
  return kNouns;
}

}  // namespace msa::needle
