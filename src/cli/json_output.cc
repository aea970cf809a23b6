#include "cli/json_output.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

namespace msa::cli {
namespace {

Json to_json(const std::vector<RoutedDocument>& documents) {
  Json list = Json::array();
  for (const RoutedDocument& d : documents)
    list.push_back({{"number", d.number}, {"id", d.id}, {"score", json_number(d.score)}});
  return list;
}

// Milliseconds to the microsecond: more digits are noise.
Json milliseconds(double value) {
  return json_number(std::round(value * 1000) / 1000);
}

}  // namespace

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json json_number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json json_number(float value) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(fmt::format("{}", value).c_str(), nullptr);
}

Json to_json(const Routing& routing) {
  Json layers = Json::array();
  for (const LayerRouting& layer : routing.layers) {
    Json object = {{"layer", layer.layer}, {"documents", to_json(layer.documents)}};
    if (layer.rescored > 0) {  // with compressed keys or an index only
      object["rescored"] = layer.rescored;
      object["certain"] = layer.certain;
    }
    layers.push_back(std::move(object));
  }
  return {{"layers", std::move(layers)}, {"ranking", to_json(routing.ranking)}};
}

Json to_json(const Answer& answer) {
  Json rounds = Json::array(), citations = Json::array();
  for (const Round& round : answer.rounds)
    rounds.push_back({{"generated", round.generated}, {"numbers", round.numbers}});
  for (const Citation& c : answer.citations)
    citations.push_back({{"number", c.number},
                         {"id", c.id},
                         {"title", c.title},
                         {"source", c.source},
                         {"text", c.text},
                         {"char_begin", c.char_begin},
                         {"char_end", c.char_end}});
  const Timing& t = answer.timing;
  return {{"answer", answer.text},
          {"finish", answer.finish},
          {"rounds", std::move(rounds)},
          {"citations", std::move(citations)},
          {"routing", to_json(answer.routing)},
          {"timing",
           {{"encode_question_ms", milliseconds(t.encode_question_ms)},
            {"route_ms", milliseconds(t.route_ms)},
            {"first_token_ms", milliseconds(t.first_token_ms)},
            {"generate_ms", milliseconds(t.generate_ms)},
            {"total_ms", milliseconds(t.total_ms)},
            {"tokens_per_second", milliseconds(t.tokens_per_second)}}},
          {"usage",
           {{"prompt_tokens", answer.usage.prompt_tokens},
            {"completion_tokens", answer.usage.completion_tokens}}}};
}

Json to_json(const ModelInfo& info) {
  return {{"path", info.path.string()},
          {"layers", info.layers},
          {"hidden", info.hidden},
          {"feed_forward", info.feed_forward},
          {"query_heads", info.query_heads},
          {"kv_heads", info.kv_heads},
          {"head_dim", info.head_dim},
          {"vocabulary", info.vocabulary},
          {"max_positions", info.max_positions},
          {"tied_embeddings", info.tied_embeddings},
          {"router_layers", info.router_layers},
          {"decoupled_router", info.decoupled_router},
          {"chunk_size", info.chunk_size},
          {"top_k", info.top_k},
          {"similarity", info.similarity},
          {"head_reduce", info.head_reduce},
          {"query_reduce", info.query_reduce},
          {"chunk_reduce", info.chunk_reduce},
          {"skip_handed_over", info.skip_handed_over},
          {"parameters", info.parameters},
          {"weight_bytes", info.weight_bytes},
          {"chunk_bytes", info.chunk_bytes},
          {"file_dtype", info.file_dtype},
          {"precision", info.precision},
          {"fingerprint", info.fingerprint},
          {"random_weights", info.random_weights},
          {"note", info.note},
          {"backend", info.backend}};
}

Json to_json(const BankInfo& info) {
  return {{"path", info.path.string()},
          {"documents", info.documents},
          {"chunks", info.chunks},
          {"tokens", info.tokens},
          {"segments", info.segments},
          {"key_bytes", info.key_bytes},
          {"content_bytes", info.content_bytes},
          {"text_bytes", info.text_bytes},
          {"disk_bytes", info.disk_bytes},
          {"aliases", info.aliases},
          {"dead_chunks", info.dead_chunks},
          {"router_layers", info.router_layers},
          {"kv_heads", info.kv_heads},
          {"head_dim", info.head_dim},
          {"chunk_size", info.chunk_size},
          {"dtype", info.dtype},
          {"content", info.content},
          {"similarity", info.similarity},
          {"model_fingerprint", info.model_fingerprint},
          {"tokenizer_fingerprint", info.tokenizer_fingerprint}};
}

Json to_json(const StoredDocument& document, bool with_text) {
  Json json = {{"number", document.number},         {"id", document.id},
               {"title", document.title},           {"source", document.source},
               {"char_begin", document.char_begin}, {"char_end", document.char_end},
               {"tokens", document.tokens},         {"chunks", document.chunks}};
  json["aliases"] = document.aliases;
  if (with_text) json["text"] = document.text;
  return json;
}

Json to_json(const VerifyReport& report) {
  return {{"ok", report.problems.empty()},
          {"segments", report.segments},
          {"documents", report.documents},
          {"bytes", report.bytes},
          {"problems", report.problems}};
}

Json to_json(const RemovalReport& report) {
  return {{"documents", report.documents}, {"ids", report.names}};
}

Json to_json(const CompactReport& report) {
  return {{"stopped", report.stopped},
          {"removed_chunks", report.removed_chunks},
          {"segments_before", report.segments_before},
          {"segments_after", report.segments_after},
          {"bytes_before", report.bytes_before},
          {"bytes_after", report.bytes_after}};
}

Json to_json(const DocumentProblem& problem) {
  return {{"where", problem.where}, {"what", problem.what}};
}

Json to_json(const EncodeReport& report) {
  const DocumentCounts& input = report.input;
  return {{"documents", report.documents},
          {"passages", report.passages},
          {"tokens", report.tokens},
          {"chunks", report.chunks},
          {"already_there", report.already_there},
          {"duplicates", report.duplicates},
          {"replaced", report.replaced},
          {"rejected", report.rejected},
          {"stopped", report.stopped},
          {"seconds", milliseconds(report.seconds)},
          {"tokens_per_second", milliseconds(report.tokens_per_second)},
          {"input",
           {{"files", input.files},
            {"documents", input.documents},
            {"empty", input.empty},
            {"bad", input.bad},
            {"replaced_utf8", input.replaced_utf8},
            {"bytes_read", input.bytes_read},
            {"bytes_total", input.bytes_total}}}};
}

Json to_json(const BenchReport& report) {
  Json figures = Json::array();
  for (const BenchFigure& f : report.figures)
    figures.push_back({{"name", f.name},
                       {"value", json_number(f.value)},
                       {"unit", f.unit},
                       {"limit_name", f.limit_name},
                       {"limit", json_number(f.limit)},
                       {"share", json_number(f.share)},
                       {"note", f.note}});
  return {{"machine", report.machine},
          {"model", report.model},
          {"peak_resident_bytes", report.peak_resident_bytes},
          {"figures", std::move(figures)}};
}

}  // namespace msa::cli
