// What --json prints. docs/cli.md describes every object.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "msa/msa.h"

namespace msa::cli {

using Json = nlohmann::ordered_json;

// One line, without the line feed. Invalid UTF-8 in strings is replaced by U+FFFD.
std::string dump(const Json& json);

// A number as JSON can hold it: null if it is not finite. A float is written with the digits that
// identify it as a float (0.71, not 0.7099999785423279).
Json json_number(double value);
Json json_number(float value);

Json to_json(const Routing& routing);
Json to_json(const Answer& answer);
Json to_json(const ModelInfo& info);
Json to_json(const BankInfo& info);
Json to_json(const StoredDocument& document, bool with_text);
Json to_json(const VerifyReport& report);
Json to_json(const RemovalReport& report);
Json to_json(const CompactReport& report);
Json to_json(const EncodeReport& report);
Json to_json(const DocumentProblem& problem);
Json to_json(const BenchReport& report);

}  // namespace msa::cli
