// One JSON record {"id", "title", "text", "source"} as a document.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "msa/document.h"

namespace msa {

// What is wrong with a record.
struct RecordProblem {
  std::string what;
};

// Parses one JSON object. "text" is needed, a string; "id" may be a string or an integer; "title"
// and "source" strings; null is as good as absent. Other keys are passed over, whatever they hold,
// at any depth. What the record does not have stays empty; char_end is set. Invalid UTF-8 is
// replaced, and counted in `replaced_utf8`.
std::variant<Document, RecordProblem> parse_record(std::string_view json, uint64_t& replaced_utf8);

}  // namespace msa
