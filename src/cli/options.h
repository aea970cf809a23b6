// Options that several commands share, and checks that say what is wrong with a value.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/session.h"
#include "msa/msa.h"

namespace msa::cli {

// Checks for CLI11. Their messages name the value and what would be right.
CLI::Validator whole_number(uint64_t least, uint64_t most);
CLI::Validator real_number(double least, double most, bool least_allowed = true);
CLI::Validator one_of(std::vector<std::string> names);

// --model, --precision, --similarity.
struct ModelFlags {
  std::string folder, precision = "auto", similarity = "auto";
};
void add_model_flags(CLI::App& command, ModelFlags& flags);
Result<Model> open_model(Session& session, const ModelFlags& flags);
// Says, once, that answers mean nothing if the model was never trained.
void note_random_weights(Session& session, const Model& model);
// The folder of --model or MSA_MODEL, or an error that names both.
Result<std::filesystem::path> model_folder(const std::string& folder);

// --bank.
void add_bank_flag(CLI::App& command, std::string& folder);
Result<std::filesystem::path> bank_folder(const std::string& folder);

// --keys, --content-tier, --memory-limit, --routing.
struct EngineFlags {
  std::string keys = "auto", content = "mapped", memory_limit, routing = "exact";

  Result<EngineOptions> resolved() const;
};
void add_engine_flags(CLI::App& command, EngineFlags& flags);
// Says, with --verbose, where keys and content are.
void note_tiers(Session& session, const Engine& engine);

// Everything that changes how a question is answered.
struct AskFlags {
  AskOptions options;
  std::string retrieval = "interleave", skip_handed_over;
  bool no_constrain_numbers = false, no_original_text = false;

  AskOptions resolved(const GlobalOptions& global) const;
};
void add_ask_flags(CLI::App& command, AskFlags& flags);

void add_top_k_flag(CLI::App& command, size_t& top_k);
// "on", "off", or "" for the model's.
void add_skip_handed_over_flag(CLI::App& command, std::string& skip);
std::optional<bool> skip_handed_over(std::string_view skip);
void add_json_flag(CLI::App& command, bool& json);

// "18,19,20-23" → layer numbers in the order given. Names the part that is wrong.
Result<std::vector<int>> parse_layers(std::string_view text);

// All of standard input, at most `limit` bytes.
Result<std::string> read_standard_input(size_t limit);

}  // namespace msa::cli
