// What an evaluation leaves behind: JSON and a drawing. docs/evaluation.md describes both.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/evaluate.h"
#include "eval/exam.h"
#include "eval/plot.h"
#include "msa/result.h"

namespace msa::eval {

// What was asked for, in words, to be kept with the results: {"split", "test"}, …
using RunSettings = std::vector<std::pair<std::string, std::string>>;

// One JSON object; `indent` spaces per level, negative: on one line. With `answers`, every question
// and what came of it is in it.
std::string report_json(const Exam& exam, const EvalReport& report, const RunSettings& settings,
                        bool answers, int indent);

// Accuracy over memory size: a curve per mode and kind where those are few, else per mode; routing
// recall, and keyword search if there was any, dashed.
Plot report_plot(const Exam& exam, const EvalReport& report);

// Whether `file` can be written, found out without leaving anything behind.
Result<void> check_writable(const std::filesystem::path& file);
// Replaces `file` at once; a reader never sees half of it.
Result<void> write_file(const std::filesystem::path& file, std::string_view content);

}  // namespace msa::eval
