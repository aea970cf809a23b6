// Streams of samples: from files, from makers, shuffled and mixed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"
#include "samples/sample.h"

namespace msa {

// Reads one line of JSON Lines:
//   {"documents": [{"title": "…", "text": "…", "id": "…"} or "text", …],
//    "question": "…", "relevant": [3] or [[3], [7]], "answer": "…" or ["…", …]}
// or, instead of question, relevant and answer, "questions": [{…}, …] with these keys each.
// Optional keys of a question: "values", "kind". A flat "relevant" is one step. Unknown keys, wrong
// types, an index without a document, no question and empty texts are `corrupt` errors that name
// `where`.
Result<Sample> parse_sample(std::string_view line, std::string where);
// The JSON line (without line break) that parse_sample() reads back.
std::string write_sample(const Sample& sample);

// An endless stream whose position can be saved: the state after n calls depends on the
// construction and n only.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual Result<Sample> next() = 0;
  virtual uint64_t position() const = 0;                // samples given out so far
  virtual Result<void> skip_to(uint64_t position) = 0;  // continue as if so many had been given out
};

// The lines of a JSON Lines file, over and over, in an order shuffled anew for each pass (seeded).
// Keeps line offsets in memory, not lines. Opening reads and checks the whole file: the first bad
// line is an error with its number, and so is a file without samples.
Result<std::unique_ptr<SampleSource>> open_sample_file(const std::filesystem::path& file,
                                                       uint64_t seed);

// Samples that a function makes from their index: make(0), make(1), …
using MakeSample = std::function<Sample(uint64_t index)>;
std::unique_ptr<SampleSource> make_sample_source(MakeSample make);

// Draws from several sources in proportion to their weights (seeded). Weights are finite, not
// negative, and one is positive; else it is a bug (assert).
struct WeightedSource {
  std::unique_ptr<SampleSource> source;
  double weight = 1;
  std::optional<double> reading_share = std::nullopt;  // given to its samples
};
std::unique_ptr<SampleSource> mix_sources(std::vector<WeightedSource> sources, uint64_t seed);

}  // namespace msa
