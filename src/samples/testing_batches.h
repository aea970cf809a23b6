// For tests only: batches of made samples, and what their sequences say.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "samples/batch.h"
#include "samples/sample_source.h"
#include "samples/testing_samples.h"
#include "text/tokenizer.h"

namespace msa::testing {

inline const Tokenizer& tokenizer() {
  return *shared_qwen();
}

inline std::unique_ptr<Batcher> batcher(const BatchOptions& options, MakeSample make,
                                        uint64_t seed = 1) {
  auto made = Batcher::create(shared_qwen(), make_sample_source(std::move(make)), options, seed);
  if (!made) throw std::runtime_error(made.error().message);
  return std::move(made).value();
}

inline Batch next(Batcher& from) {
  auto batch = from.next();
  if (!batch) throw std::runtime_error(batch.error().message);
  return std::move(batch).value();
}

inline std::string text(const std::vector<TokenId>& tokens, const std::vector<int32_t>& starts,
                        size_t i) {
  return tokenizer().decode(std::span(tokens).subspan(
      static_cast<size_t>(starts[i]), static_cast<size_t>(starts[i + 1] - starts[i])));
}
inline std::string doc_text(const Batch& batch, size_t d) {
  return text(batch.doc_tokens, batch.doc_starts, d);
}
inline std::string query_text(const Batch& batch, size_t q) {
  return text(batch.query_tokens, batch.query_starts, q);
}

// With one document of `words` words and some, and one question.
inline Sample plain_sample(uint64_t i, size_t words = 3) {
  Sample sample;
  std::string long_text = fmt::format("Number {}:", i);
  for (size_t w = 0; w < words; ++w) long_text += " word";
  sample.documents.push_back({.title = {}, .text = long_text, .id = {}});
  SampleQuestion question;
  question.question = "Which?";
  question.steps = {{0}};
  question.answer = "This.";
  sample.questions.push_back(question);
  sample.where = fmt::format("plain:{}", i);
  return sample;
}

}  // namespace msa::testing
