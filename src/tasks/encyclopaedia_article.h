// Articles on invented entities.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/random.h"
#include "samples/sample.h"
#include "tasks/encyclopaedia_world.h"

namespace msa::encyclopaedia {

// Puts one of the alternatives in the place of every "[…|…]".
std::string choose_alternatives(std::string_view pattern, Random& draw);

// Puts the type's words in the place of {t}, {made}, {written} and {maker}.
void put_type(std::string& text, const Type& type);

// "a orchid" -> "an orchid".
void correct_articles(std::string& text);

struct ArticleSize {
  size_t fewest_words = 0, most_words = 120;
};

// An article on the entity. Facts for which there is no room are taken from it; at least one is
// told. Sentences that tell nothing of interest fill it up to the smallest size, or nearly.
SampleDocument write_article(Entity& entity, const ArticleSize& size, Random& draw);

}  // namespace msa::encyclopaedia
