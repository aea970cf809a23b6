#include "eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <tuple>

#include "base/files.h"
#include "eval/summary.h"

namespace msa::eval {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostCurves = 8;

// Shares with four digits, times with two: more is noise.
Json rounded(double value, double per_unit) {
  if (!std::isfinite(value)) return nullptr;
  return std::round(value * per_unit) / per_unit;
}
Json share(double value) {
  return rounded(value, 10'000);
}
Json hundredths(double value) {
  return rounded(value, 100);
}
Json share(const std::optional<double>& value) {
  return value ? share(*value) : Json(nullptr);
}

Json to_json(const SizeReport& size) {
  Json json = {{"size", to_string(size.size)},
               {"memories", size.memories},
               {"questions", size.questions},
               {"left_out", size.left_out},
               {"documents", size.documents},
               {"tokens", size.tokens},
               {"rejected", size.rejected},
               {"encoded_tokens", size.encoded_tokens},
               {"encode_seconds", hundredths(size.encode_seconds)}};
  if (!size.skipped.empty()) json["skipped"] = size.skipped;
  return json;
}

Json to_json(const Summary& s, const EvalReport& report) {
  return {{"size", to_string(report.sizes[s.size].size)},
          {"mode", to_string(report.modes[s.mode])},
          {"kind", s.kind},
          {"questions", s.questions},
          {"errors", s.errors},
          {"accuracy", share(s.accuracy)},
          {"accuracy_error", share(s.accuracy_error)},
          {"exact", share(s.exact)},
          {"f1", share(s.f1)},
          {"contains", share(s.contains)},
          {"values", share(s.values)},
          {"route_first", share(s.route_first)},
          {"route_k", share(s.route_k)},
          {"routed", share(s.routed)},
          {"routed_later", share(s.routed_later)},
          {"injected_first", share(s.injected_first)},
          {"injected_all", share(s.injected_all)},
          {"rounds", hundredths(s.rounds)},
          {"total_ms_p50", hundredths(s.total_ms_p50)},
          {"total_ms_p95", hundredths(s.total_ms_p95)},
          {"first_token_ms_p50", hundredths(s.first_token_ms_p50)}};
}

Json to_json(const KeywordSummary& s, const EvalReport& report) {
  return {{"size", to_string(report.sizes[s.size].size)},
          {"kind", s.kind},
          {"questions", s.questions},
          {"first", share(s.first)},
          {"in_16", share(s.in_16)},
          {"all_in_16", share(s.all_in_16)}};
}

Json to_json(const Outcome& o, const Exam& exam, const EvalReport& report) {
  const ExamQuestion& question = exam.questions[o.question];
  Json steps = Json::array();
  for (const std::vector<uint32_t>& step : question.steps) {
    Json ids = Json::array();
    for (const uint32_t document : step) ids.push_back(exam.documents[document].id);
    steps.push_back(std::move(ids));
  }
  Json json = {{"size", to_string(report.sizes[o.size].size)},
               {"mode", to_string(report.modes[o.mode])},
               {"kind", question.kind},
               {"where", question.where},
               {"question", question.question},
               {"steps", std::move(steps)},
               {"expected", question.expected},
               {"answer", o.answer},
               {"finish", o.finish}};
  if (!question.values.empty()) json["values_expected"] = question.values;
  if (!o.error.empty()) json["error"] = o.error;
  json.update({{"accuracy", share(o.score.accuracy)},
               {"exact", share(o.score.exact)},
               {"f1", share(o.score.f1)},
               {"contains", share(o.score.contains)},
               {"values", share(o.score.values)},
               {"route_first", share(o.retrieval.route_first)},
               {"route_k", share(o.retrieval.route_k)},
               {"routed", share(o.retrieval.routed)},
               {"routed_later", share(o.retrieval.routed_later)},
               {"injected_first", share(o.retrieval.injected_first)},
               {"injected_all", share(o.retrieval.injected_all)},
               {"rounds", o.rounds},
               {"total_ms", hundredths(o.total_ms)},
               {"first_token_ms", hundredths(o.first_token_ms)}});
  return json;
}

}  // namespace

std::string report_json(const Exam& exam, const EvalReport& report, const RunSettings& settings,
                        bool answers, int indent) {
  Json json;
  json["name"] = exam.name;
  json["questions"] = exam.questions.size();
  Json& run = json["settings"] = Json::object();
  for (const auto& [name, value] : settings) run[name] = value;
  json["model"] = {{"path", report.model.path.string()},
                   {"fingerprint", report.model.fingerprint},
                   {"parameters", report.model.parameters},
                   {"random_weights", report.model.random_weights}};
  json["top_k"] = report.top_k;
  json["skip_handed_over"] = report.skip_handed_over;
  json["stopped"] = report.stopped;
  Json& sizes = json["sizes"] = Json::array();
  for (const SizeReport& size : report.sizes) sizes.push_back(to_json(size));
  Json& results = json["results"] = Json::array();
  for (const Summary& row : summarise(exam, report)) results.push_back(to_json(row, report));
  if (!report.keyword.empty()) {
    Json& bm25 = json["bm25"] = Json::array();
    for (const KeywordSummary& row : summarise_keywords(exam, report))
      bm25.push_back(to_json(row, report));
  }
  if (answers) {
    Json& all = json["answers"] = Json::array();
    for (const Outcome& outcome : report.outcomes) all.push_back(to_json(outcome, exam, report));
  }
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Plot report_plot(const Exam& exam, const EvalReport& report) {
  const std::vector<Summary> rows = summarise(exam, report);
  // The line for everything is the mean of kinds where there are several.
  std::set<std::string> kinds;
  bool several = false;
  for (const Summary& row : rows) {
    if (row.kind == kMeanOfKinds) several = true;
    if (row.kind != kAllKinds && row.kind != kMeanOfKinds) kinds.insert(row.kind);
  }
  const std::string whole(several ? kMeanOfKinds : kAllKinds);
  if (!several || kinds.size() * report.modes.size() > kMostCurves) kinds = {whole};

  const auto x_of = [&](uint32_t size) {
    return static_cast<double>(std::max<uint64_t>(1, report.sizes[size].tokens));
  };
  Plot plot;
  plot.title = exam.name;
  plot.x_label = "tokens in memory";
  plot.y_label = "accuracy";
  for (uint32_t s = 0; s < report.sizes.size(); ++s)
    if (report.sizes[s].tokens > 0)
      plot.ticks.push_back({x_of(s), to_string(report.sizes[s].size)});

  size_t colour = 0;
  for (const std::string& kind : kinds) {
    for (uint32_t m = 0; m < report.modes.size(); ++m) {
      Curve curve;
      curve.label = to_string(report.modes[m]);
      if (kinds.size() > 1) curve.label = kind + ", " + curve.label;
      // One colour per kind tells kinds apart, markers the modes; of one kind, colours tell modes.
      curve.colour = kinds.size() > 1 ? colour : m;
      curve.marker = m;
      for (const Summary& row : rows)
        if (row.mode == m && row.kind == kind)
          curve.points.push_back({x_of(row.size), row.accuracy});
      if (!curve.points.empty()) plot.curves.push_back(std::move(curve));
    }
    ++colour;
  }
  // Routing of the first round is the same in all modes.
  Curve recall{fmt::format("routing recall@{}", report.top_k), {}, Curve::kGrey, 0, true};
  for (const Summary& row : rows)
    if (row.mode == 0 && row.kind == whole) recall.points.push_back({x_of(row.size), row.route_k});
  if (!recall.points.empty()) plot.curves.push_back(std::move(recall));
  Curve keyword{"BM25 recall@16", {}, Curve::kGrey, 1, true};
  for (const KeywordSummary& row : summarise_keywords(exam, report))
    if (row.kind == kAllKinds && report.sizes[row.size].tokens > 0)
      keyword.points.push_back({x_of(row.size), row.in_16});
  if (!keyword.points.empty()) plot.curves.push_back(std::move(keyword));
  return plot;
}

Result<void> check_writable(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    return Error{Code::invalid_argument,
                 fmt::format("{}: is a folder; name a file", file.string())};
  MSA_ASSIGN(const AtomicFileWriter unused, AtomicFileWriter::create(file));
  return {};
}

Result<void> write_file(const std::filesystem::path& file, std::string_view content) {
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(content))));
  return writer.commit();
}

}  // namespace msa::eval
