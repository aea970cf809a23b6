#include "trainer/data.h"

#include <fmt/format.h>

#include <utility>

#include "samples/sample_source.h"

namespace msa::trainer {

Result<std::unique_ptr<SampleSource>> open_data(const std::vector<train::DataEntry>& entries,
                                                const std::filesystem::path& data_folder,
                                                uint64_t seed) {
  std::vector<WeightedSource> sources;
  for (const train::DataEntry& entry : entries) {
    std::unique_ptr<SampleSource> source;
    if (entry.task.empty()) {
      MSA_ASSIGN(source, open_sample_file(entry.file, entry.seed));
    } else {
      TaskOptions options;
      options.split = entry.test ? Split::test : Split::train;
      options.seed = entry.seed;
      options.data = data_folder;
      options.settings = entry.settings;
      MSA_ASSIGN(std::unique_ptr<Task> made, make_task(entry.task, options));
      const std::shared_ptr<const Task> task = std::move(made);
      source = make_sample_source([task](uint64_t index) { return task->sample(index); });
    }
    sources.push_back({std::move(source), entry.weight, entry.reading_share});
  }
  return mix_sources(std::move(sources), seed);
}

train::MakeBatcher batcher_maker(std::filesystem::path data_folder,
                                 std::shared_ptr<const Tokenizer> tokenizer) {
  return [data_folder = std::move(data_folder), tokenizer = std::move(tokenizer)](
             const std::vector<train::DataEntry>& entries, const BatchOptions& options,
             uint64_t seed) -> Result<std::unique_ptr<Batcher>> {
    MSA_ASSIGN(std::unique_ptr<SampleSource> source, open_data(entries, data_folder, seed));
    return Batcher::create(tokenizer, std::move(source), options, seed);
  };
}

}  // namespace msa::trainer
