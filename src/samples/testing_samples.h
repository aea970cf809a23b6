// For tests only: a tokenizer, and samples with all that samples may have.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "samples/sample.h"
#include "samples/sample_source.h"
#include "text/tokenizer.h"

namespace msa::testing {

// The Qwen tokenizer, read once.
inline std::shared_ptr<const Tokenizer> shared_qwen() {
  static const auto loaded = Tokenizer::load(MSA_TESTDATA "/qwen3-tokenizer/tokenizer.json");
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return *loaded;
}

inline std::string random_words(Random& random, uint64_t fewest, uint64_t most) {
  static const std::vector<std::string> kWords = {
      "river",    "Königsberg", "of",   "1939", "the", "日本", "[7]", "naïve", "is",
      "quickly.", "\"so\"",     "born", "in",   "km²", "\n",   "and", "🙂",  "3,141.59"};
  std::string out;
  for (uint64_t n = random.between(fewest, most); n > 0; --n) {
    out += random.pick(kWords);
    if (n > 1) out += ' ';
  }
  return out;
}

// Sample `index` of an endless supply: 1 to 5 documents (some twice, some the same in many
// samples), 1 to 3 questions of 1 to 3 steps.
inline Sample random_sample(uint64_t index) {
  Random random(99, index);
  Sample sample;
  sample.where = fmt::format("made:{}", index);
  for (uint64_t n = random.between(1, 5); n > 0; --n) {
    SampleDocument document;
    if (random.chance(0.2)) {
      document.text = fmt::format("Everyone's document {}", random.below(4));
    } else if (!sample.documents.empty() && random.chance(0.1)) {
      document = random.pick(sample.documents);
    } else {
      if (random.chance(0.5)) document.title = random_words(random, 1, 3);
      document.text = random_words(random, 1, 40);
      document.text += fmt::format(" {}-{}", index, n);
    }
    if (random.chance(0.3)) document.id = fmt::format("id{}", n);
    sample.documents.push_back(std::move(document));
  }
  for (uint64_t n = random.between(1, 3); n > 0; --n) {
    SampleQuestion question;
    question.question = random_words(random, 1, 12) + "?";
    question.answer = random_words(random, 1, 6);
    std::vector<uint32_t> documents;
    for (uint32_t d = 0; d < sample.documents.size(); ++d) documents.push_back(d);
    random.shuffle(documents);
    size_t at = 0;
    for (uint64_t steps = random.between(1, 3); steps > 0 && at < documents.size(); --steps) {
      auto& step = question.steps.emplace_back();
      for (uint64_t d = random.between(1, 2); d > 0 && at < documents.size(); --d)
        step.push_back(documents[at++]);
    }
    if (random.chance(0.3)) question.accepted = {random_words(random, 1, 2), "another"};
    if (random.chance(0.2)) question.values = {"a", "b"};
    if (random.chance(0.5)) question.kind = fmt::format("kind{}", random.below(3));
    sample.questions.push_back(std::move(question));
  }
  return sample;
}

}  // namespace msa::testing
