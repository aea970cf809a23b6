// What `msa encode`, `msa memory add` and `msa memory update` share.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/session.h"
#include "msa/transfer.h"

namespace msa::cli {

struct EncodeArguments {
  std::string command = "encode";  // as messages name it
  ModelFlags model;
  std::string bank;
  bool existing_bank = false;  // one that is not there is an error, and none is made
  std::vector<std::string> paths;
  EncodeOptions options;
  std::string content = "auto";
  std::string shard;  // "1/4"; empty: all documents
  uint32_t first_number = 0;
  uint64_t segment_mebibytes = 128;
  bool strict = false, json = false;
};

void add_encode_options(CLI::App& command, EncodeArguments& arguments);
// "1/4" → the second of four; empty: all.
Result<Shard> parse_shard(const std::string& text, uint32_t first_number);
Result<ExitCode> run_encode(Session& session, const EncodeArguments& arguments);

// --segment-mib.
CLI::Option* add_segment_flag(CLI::App& command, uint64_t& mebibytes, const char* description);

}  // namespace msa::cli
