// Samples for training: from makers and files, as a recipe lists them.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "samples/batch.h"
#include "tasks/task.h"
#include "train/loop/train.h"

namespace msa::trainer {

// Sources in the order and with the weights of `entries`, mixed by `seed`. An error names the
// entry.
Result<std::unique_ptr<SampleSource>> open_data(const std::vector<train::DataEntry>& entries,
                                                const std::filesystem::path& data_folder,
                                                uint64_t seed);

// What train() calls for each phase.
train::MakeBatcher batcher_maker(std::filesystem::path data_folder,
                                 std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace msa::trainer
