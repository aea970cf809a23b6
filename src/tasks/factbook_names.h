// Invented words and names, and a mixing function for choices made by hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tasks/task.h"

namespace msa::factbook {

// A well-mixed number of two (the finalizer of SplitMix64).
uint64_t mix(uint64_t a, uint64_t b);

// A capitalized word of syllables, about `length` letters long, that begins with `start` (letters
// of any case); the same for the same arguments. Words of the train and the test split are
// different: never the same word in both.
std::string invented_word(uint64_t seed, size_t length, Split split, std::string_view start = {});

// The same word in the letter case of `like`: "TEBBOUNE" -> "DORVAL".
std::string in_case_of(std::string_view like, std::string word);

// "Dorvan" -> "Dorvanian", "Dorvi", …; which ending the seed decides.
std::string adjective_of(std::string_view name, uint64_t seed);

}  // namespace msa::factbook
