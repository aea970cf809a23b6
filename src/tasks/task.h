// Makers of training and evaluation tasks: samples with known answers, by the million.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"
#include "samples/sample.h"

namespace msa {

// Names, passages, countries and phrasings of the test split never occur in the training split.
enum class Split { train, test };

struct TaskOptions {
  Split split = Split::train;
  uint64_t seed = 1;
  // Files a maker reads (the Factbook, prose); empty: the maker's default, relative to `data`.
  std::filesystem::path data = "data";
  // Maker-specific settings, all optional, named in its describe(); an unknown one is an error.
  std::map<std::string, std::string> settings;
};

// Immutable; every method may be called from many threads. What is made depends on the options and
// the index only.
class Task {
 public:
  virtual ~Task() = default;
  virtual std::string_view name() const = 0;
  // Sample `index`: its documents hold the answers and, as a rule, lookalikes (hard negatives).
  virtual Sample sample(uint64_t index) const = 0;
  // Document `index` of an endless supply that answers no question of any sample of this split,
  // though it looks like one that does: what fills a memory for evaluation.
  virtual SampleDocument distractor(uint64_t index) const = 0;
  // Documents that the memory holds whatever the questions are (all Factbook records, all
  // passages); empty for makers that invent theirs. With it, sample() names documents out of it.
  virtual const std::vector<SampleDocument>& collection() const = 0;
};

struct TaskDescription {
  std::string name, summary;
  std::vector<std::pair<std::string, std::string>> settings;  // name, what it does and its default
};
// All makers: needle, encyclopaedia, factbook, prose, words.
std::vector<TaskDescription> known_tasks();
// An unknown name or setting is `invalid_argument` and names the known ones.
Result<std::unique_ptr<Task>> make_task(std::string_view name, const TaskOptions& options);

}  // namespace msa
