// A stand-in for libmsa that does what a test tells it and remembers what it was asked.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "msa/msa.h"

namespace msa::testing {

struct FakeLibrary {
  // What calls return.
  std::optional<Error> model_error, bank_error, encode_error, ask_error, convert_error,
      change_error, engine_error;
  ModelInfo model_info;
  BankInfo bank_info;
  EngineInfo engine_info;
  std::vector<StoredDocument> documents;  // of the bank, by number
  EncodeReport report;
  std::vector<EncodeProgress> progress;   // reported before `report` is returned
  std::vector<DocumentProblem> problems;  // reported while encoding
  Routing routing;
  Answer answer;
  std::vector<std::string> pieces;  // streamed as answer tokens
  VerifyReport verify;
  bool verify_can_stop = false;  // whether the last one was given a way to
  RemovalReport removal;
  CompactReport compaction;
  DamageReport damage;
  RepairReport repair;
  BenchReport bench;
  IndexReport index;
  std::function<void(std::stop_token)> during_ask, during_encode, during_convert;

  // What was asked for.
  std::vector<std::string> calls;
  std::filesystem::path model_path, bank_path, tokenizer_path;
  std::vector<std::filesystem::path> document_paths;
  ModelOptions model_options;
  EncodeOptions encode_options;
  BankOptions bank_options;
  CompactOptions compact_options;
  RepairOptions repair_options;
  std::vector<std::string> removed_ids;
  std::vector<uint32_t> removed_numbers;
  EngineOptions engine_options;
  AskOptions ask_options;
  BenchOptions bench_options;
  IndexOptions index_options;
  std::vector<std::string> questions;
  size_t top_k = 0;
  ModelShape shape;
  uint64_t init_seed = 0;
  std::filesystem::path convert_source;
  ConvertOptions convert_options;
};

// The one fake of the program; assign a fresh one at the start of a test.
FakeLibrary& fake();

}  // namespace msa::testing
