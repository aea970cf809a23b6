// How right an answer is.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace msa::eval {

// As SQuAD compares answers: ASCII letters in lower case, ASCII punctuation and the articles a, an
// and the left out, words separated by one space.
std::string normalise(std::string_view text);

// Scores from 0 to 1 of an answer, each against the expected text that fits best.
struct Score {
  // The normalised texts are the same; where several values are asked for, in any order.
  double exact = 0;
  double f1 = 0;        // harmonic mean of precision and recall of normalised words
  double contains = 0;  // the words of an expected text stand in the answer, one after another
  // Share of the values that occur anywhere in the answer, whatever the case of ASCII letters (as
  // RULER scores needles). Without values: `contains`.
  double values = 0;
  // What the question is about: `values` if it has values, else `exact`.
  double accuracy = 0;
};
// `expected` holds the answer and others that count as right; not empty.
Score score_answer(std::string_view answer, std::span<const std::string> expected,
                   std::span<const std::string> values);

}  // namespace msa::eval
