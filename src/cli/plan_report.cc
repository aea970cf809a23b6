#include "cli/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "cli/format.h"
#include "cli/text_layout.h"

namespace msa::cli {
namespace {

using plan::CapacityPlan;
using plan::Choice;
using plan::Fit;
using plan::FitOption;
using plan::Format;
using plan::MemoryBytes;
using plan::Rate;
using plan::Source;
using plan::Tier;

constexpr size_t kWidth = 100;

using Row = std::vector<std::string>;

// Columns two spaces apart; those in `left` begin, all others end, at the same place.
std::string table(const std::vector<Row>& rows, const std::vector<size_t>& left) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - display_width(row[i]), ' ');
      const bool begins = std::find(left.begin(), left.end(), i) != left.end();
      line += (i == 0 ? "" : "  ") + (begins ? row[i] + space : space + row[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

// "name      text", further lines below the text.
std::string paragraph(std::string_view name, const std::string& words) {
  constexpr size_t kIndent = 10;
  std::string text;
  for (const std::string& line : wrap(words, kWidth - kIndent)) {
    text += fmt::format("{:<{}}{}\n", name, kIndent, line);
    name = "";
  }
  return text;
}

// 0.0123 → "12 ms", 90 → "90 s", 7e5 → "8.1 days"
std::string time_span(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 1e-3) return "under 1 ms";
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{:.0f} minutes", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} hours", seconds / 3600);
  return fmt::format("{} days", format_number(seconds / 86400));
}

// 2.3e12 → "2.3 T"
std::string decimal(double value) {
  constexpr std::string_view kPrefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  size_t prefix = 0;
  while (value >= 999.95 && prefix + 1 < std::size(kPrefixes)) value /= 1000, ++prefix;
  return fmt::format("{:.1f} {}", value, kPrefixes[prefix]);
}

// 97342000 → "97.3M", as --tokens takes it
std::string short_count(uint64_t count) {
  if (count < 10'000) return format_count(count);
  std::string text = decimal(static_cast<double>(count));
  text.erase(text.find(' '), 1);
  if (text.back() == 'k') text.back() = 'K';
  return text;
}

std::string bandwidth(const Rate& rate) {
  return fmt::format("{}B/s ({})", decimal(rate.per_second), plan::name_of(rate.source));
}

bool writable(const MemoryBytes& bytes) {
  return plan::is_writable(bytes.key_format, bytes.content_format);
}

std::string header(const CapacityPlan& c) {
  const plan::PlanModel& model = c.model;
  const MemoryBytes& m = c.bytes;
  const plan::Machine& machine = c.request.machine;
  std::string text = paragraph(
      "model", fmt::format("{}: {} parameters, {} layers, {} of them with a router, {} key/value "
                           "heads of {}",
                           printable_line(model.name), format_count(model.parameters), model.layers,
                           model.router_layers, model.kv_heads, model.head_dim));
  std::string documents = counted(m.documents, "document", "documents");
  if (m.documents_assumed)
    documents += fmt::format(" (assumed: {} tokens each)", plan::kDocumentTokens);
  std::string chunks = counted(m.chunks, "chunk", "chunks");
  if (m.fewest_chunks != m.most_chunks)
    chunks += fmt::format(" ({} to {}, by the lengths of documents)", format_count(m.fewest_chunks),
                          format_count(m.most_chunks));
  text += paragraph("memory", fmt::format("{}, {}; {} of up to {} tokens, {} each",
                                          counted(m.tokens, "token", "tokens"), documents, chunks,
                                          model.chunk_size, format_bytes(m.chunk_bytes)));
  text += paragraph(
      "machine",
      fmt::format("{} of RAM{}, {}", format_bytes(machine.ram_bytes),
                  machine.ram_source == Source::assumed ? " (assumed)" : "",
                  machine.gpus == 0   ? "no GPU"
                  : machine.gpus == 1 ? fmt::format("a GPU of {}", format_bytes(machine.gpu_bytes))
                                      : fmt::format("{} GPUs of {}", format_count(machine.gpus),
                                                    format_bytes(machine.gpu_bytes))));
  return text;
}

std::string bytes_table(const CapacityPlan& c) {
  const MemoryBytes& m = c.bytes;
  const plan::Placement& p = c.placement;
  std::vector<Row> rows = {{"", "bytes", "", "", "in"}};
  const auto row = [&](std::string name, uint64_t bytes, std::string where) {
    rows.push_back({std::move(name), format_count(bytes), format_decimal_bytes(bytes),
                    format_bytes(bytes), std::move(where)});
  };
  const auto with_format = [](const char* name, Format format) {
    return fmt::format("{}, {}", name, plan::name_of(format));
  };
  const auto tier = [](Tier t) { return std::string(plan::name_of(t)); };
  row(with_format("routing keys", m.key_format), m.keys, tier(p.keys));
  if (m.full_keys > 0)
    row(with_format("the same in full", m.full_key_format), m.full_keys, tier(p.full_keys));
  row(with_format("pooled K", m.content_format), m.pooled_k, tier(p.content));
  row(with_format("pooled V", m.content_format), m.pooled_v, tier(p.content));
  row("vectors in all", m.vectors(), "");
  row("text, estimate", m.text, "disk");
  row("catalogue, estimate", m.catalogue, "disk");
  row("padding, at most", m.padding, "disk");
  row("bank on disk", m.disk(), "");
  return table(rows, {0, 4});
}

std::string use_line(const plan::TierUse& use) {
  std::string text;
  const auto part = [&](const char* name, uint64_t bytes) {
    if (bytes > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, format_decimal_bytes(bytes));
  };
  part("memory", use.memory);
  part("model", use.model);
  part("context of a question", use.context);
  part("places of documents", use.index);
  part("reserve", use.reserve);
  return fmt::format("{} of {}; {}", text, format_decimal_bytes(use.size),
                     use.used() <= use.size
                         ? format_decimal_bytes(use.free()) + " free"
                         : format_decimal_bytes(use.used() - use.size) + " too much");
}

// Where things are that people would not expect, and what this build cannot do.
std::string remarks(const CapacityPlan& c) {
  const plan::Placement& p = c.placement;
  std::string text;
  if (p.gpu_too_small)
    text += paragraph("note",
                      "the GPU is too small for the model and a question's context: the "
                      "processor computes everything");
  if (!p.model_fits)
    text +=
        paragraph("note", "RAM is too small for what must be in it: nothing runs on this machine");
  if (p.keys == Tier::disk)
    text += paragraph("note",
                      "the routing keys fit neither GPU memory nor RAM: every question "
                      "reads all of them from disk");
  if (p.keys == Tier::none)
    text +=
        paragraph("note",
                  "compressed routing keys lie in memory only, and these fit neither GPU memory "
                  "nor RAM: no question can be asked");
  if (!writable(c.bytes))
    text +=
        paragraph("note", fmt::format("this build cannot write keys in {} with content in {}: in "
                                      "a bank both are of one type, or the content is int8",
                                      plan::name_of(c.bytes.key_format),
                                      plan::name_of(c.bytes.content_format)));
  return text;
}

std::string times(const CapacityPlan& c) {
  const plan::RoutingTime& t = c.routing;
  const plan::Placement& p = c.placement;
  std::string routing =
      p.keys == Tier::none
          ? "not possible"
          : fmt::format(
                "{} a question. Scan: {} to read {} from {} at {}; {} to compute {}FLOP of {} at "
                "{}FLOP/s "
                "({}); the longer counts.",
                time_span(t.seconds()), time_span(t.read_seconds),
                format_decimal_bytes(t.scanned_bytes), plan::name_of(p.keys),
                bandwidth(t.bandwidth), time_span(t.compute_seconds), decimal(t.products),
                counted(c.request.routing_tokens, "routing token", "routing tokens"),
                decimal(t.flops.per_second), plan::name_of(t.flops.source));
  if (t.rescored_bytes > 0 && p.keys != Tier::none)
    routing +=
        fmt::format(" Then {} to score candidates again, {} from {}.", time_span(t.rescore_seconds),
                    format_decimal_bytes(t.rescored_bytes), plan::name_of(p.full_keys));
  if (p.keys != Tier::none)
    routing +=
        fmt::format(" Then {} to fetch {} of chosen documents from {}.", time_span(t.fetch_seconds),
                    format_decimal_bytes(t.fetched_bytes), plan::name_of(p.content));
  const Rate& rate = c.encode.tokens;
  std::string encode = fmt::format(
      "{} at {} tokens/s ({}{}), once", time_span(c.encode.seconds), format_rate(rate.per_second),
      plan::name_of(rate.source),
      rate.source == Source::derived
          ? fmt::format(": {:.0f}% of the rate of matrix products", plan::kEncodeShare * 100)
          : "");
  return paragraph("routing", routing) + paragraph("encoding", encode);
}

std::string choices_table(const CapacityPlan& c) {
  std::vector<Row> rows = {{"keys", "content", "keys scanned", "in", "content", "in", "on disk",
                            "routing", "this build"}};
  for (const Choice& choice : c.choices) {
    const MemoryBytes& m = choice.bytes;
    rows.push_back(
        {std::string(plan::name_of(m.key_format)), std::string(plan::name_of(m.content_format)),
         format_decimal_bytes(m.keys), std::string(plan::name_of(choice.placement.keys)),
         format_decimal_bytes(m.content()), std::string(plan::name_of(choice.placement.content)),
         format_decimal_bytes(m.disk()),
         choice.placement.keys == Tier::none ? "-" : time_span(choice.routing.seconds()),
         writable(m) ? "writes it" : "does not"});
  }
  return table(rows, {0, 1, 3, 5, 8});
}

std::string fit_title(const Fit& fit, bool has_gpu) {
  const std::string beside =
      fmt::format("beside {} of other things", format_decimal_bytes(fit.beside));
  const std::string budget = format_bytes(fit.budget);
  switch (fit.part) {
    case Fit::Part::keys_on_gpu:
      return fit.gpus > 1 ? fmt::format("Routing keys in {} GPUs of {}, on each {}",
                                        format_count(fit.gpus), budget, beside)
                          : fmt::format("Routing keys in {} of GPU memory{}, {}", budget,
                                        has_gpu ? "" : " (an example, none was given)", beside);
    case Fit::Part::keys_in_ram:
      return fmt::format("Routing keys in {} of RAM, {}", budget, beside);
    case Fit::Part::content_in_ram:
      return fmt::format("Pooled K and V in {} of RAM, {}", budget, beside);
  }
  return "";
}

std::string fit_words(const Fit& fit, const FitOption& option) {
  const bool several = fit.part == Fit::Part::keys_on_gpu && fit.gpus > 1;
  const std::string size = format_bytes(option.needed) + (several ? " each" : "");
  std::string words = option.fits ? fmt::format("fits; {} would do", size)
                                  : fmt::format("does not fit; needs {}", size);
  if (!option.fits && option.gpus > 1)
    words += fmt::format(", or {} such GPUs", format_count(option.gpus));
  return words + (option.tokens > 0
                      ? fmt::format("; room for about {} tokens", short_count(option.tokens))
                      : "; no room for any");
}

std::string fits_text(const CapacityPlan& c) {
  std::string text;
  for (const Fit& fit : c.fits) {
    text += "\n" + fit_title(fit, c.request.machine.gpus > 0) + "\n";
    std::vector<Row> rows;
    for (const FitOption& option : fit.options)
      rows.push_back({"  " + std::string(plan::name_of(option.format)),
                      format_decimal_bytes(option.bytes), fit_words(fit, option)});
    text += table(rows, {0, 2});
  }
  return text;
}

// Where something is; null: nowhere.
Json tier_json(Tier tier) {
  if (tier == Tier::none) return nullptr;
  return tier == Tier::gpu ? "gpu" : tier == Tier::ram ? "ram" : "disk";
}

Json rate_json(const Rate& rate) {
  return {{"per_second", json_number(rate.per_second)}, {"source", plan::name_of(rate.source)}};
}

Json use_json(const plan::TierUse& use) {
  return {{"size", use.size},   {"memory", use.memory},
          {"model", use.model}, {"context", use.context},
          {"index", use.index}, {"reserve", use.reserve},
          {"free", use.free()}, {"fits", use.used() <= use.size}};
}

Json fit_json(const Fit& fit) {
  Json options = Json::array();
  for (const FitOption& option : fit.options) {
    Json entry = {{"format", plan::name_of(option.format)},
                  {"bytes", option.bytes},
                  {"fits", option.fits},
                  {"needed", option.needed},
                  {"tokens", option.tokens}};
    if (fit.part == Fit::Part::keys_on_gpu)
      entry["gpus"] = option.gpus > 0 ? Json(option.gpus) : Json(nullptr);
    options.push_back(std::move(entry));
  }
  Json json = {{"part", fit.part == Fit::Part::keys_on_gpu   ? "keys_on_gpu"
                        : fit.part == Fit::Part::keys_in_ram ? "keys_in_ram"
                                                             : "content_in_ram"},
               {"budget", fit.budget}};
  if (fit.part == Fit::Part::keys_on_gpu) json["gpus"] = fit.gpus;
  json["beside"] = fit.beside;
  json["options"] = std::move(options);
  return json;
}

Json choice_json(const Choice& choice) {
  return {{"keys", plan::name_of(choice.bytes.key_format)},
          {"content", plan::name_of(choice.bytes.content_format)},
          {"writable", writable(choice.bytes)},
          {"key_bytes", choice.bytes.keys},
          {"full_key_bytes", choice.bytes.full_keys},
          {"content_bytes", choice.bytes.content()},
          {"disk_bytes", choice.bytes.disk()},
          {"keys_in", tier_json(choice.placement.keys)},
          {"content_in", tier_json(choice.placement.content)},
          {"routing_seconds", json_number(choice.routing.seconds())}};
}

Json routing_json(const CapacityPlan& c) {
  const plan::RoutingTime& t = c.routing;
  return {{"seconds", json_number(t.seconds())},
          {"routing_tokens", c.request.routing_tokens},
          {"scanned_bytes", t.scanned_bytes},
          {"bandwidth", rate_json(t.bandwidth)},
          {"read_seconds", json_number(t.read_seconds)},
          {"products", json_number(t.products)},
          {"flops", rate_json(t.flops)},
          {"compute_seconds", json_number(t.compute_seconds)},
          {"rescored_bytes", t.rescored_bytes},
          {"rescore_seconds", json_number(t.rescore_seconds)},
          {"fetched_bytes", t.fetched_bytes},
          {"fetch_seconds", json_number(t.fetch_seconds)}};
}

}  // namespace

std::string plan_text(const CapacityPlan& c) {
  std::string text = header(c) + "\n" + bytes_table(c) + "\n";
  if (c.placement.gpu.size > 0) text += paragraph("GPU", use_line(c.placement.gpu));
  text += paragraph("RAM", use_line(c.placement.ram));
  text += times(c) + remarks(c);
  return text + "\nOther formats on this machine\n" + choices_table(c) + fits_text(c);
}

Json to_json(const CapacityPlan& c) {
  const plan::PlanModel& model = c.model;
  const MemoryBytes& m = c.bytes;
  const plan::Placement& p = c.placement;
  Json choices = Json::array(), fits = Json::array();
  for (const Choice& choice : c.choices) choices.push_back(choice_json(choice));
  for (const Fit& fit : c.fits) fits.push_back(fit_json(fit));
  Json gpu = nullptr;
  if (p.gpu.size > 0) {
    gpu = use_json(p.gpu);
    gpu["count"] = c.request.machine.gpus;
    gpu["too_small"] = p.gpu_too_small;
  }
  return {{"model",
           {{"name", model.name},
            {"layers", model.layers},
            {"router_layers", model.router_layers},
            {"query_heads", model.query_heads},
            {"kv_heads", model.kv_heads},
            {"head_dim", model.head_dim},
            {"chunk_size", model.chunk_size},
            {"top_k", model.top_k},
            {"parameters", model.parameters},
            {"weight_bytes", c.weight_bytes}}},
          {"memory",
           {{"tokens", m.tokens},
            {"documents", m.documents},
            {"documents_assumed", m.documents_assumed},
            {"chunks", m.chunks},
            {"fewest_chunks", m.fewest_chunks},
            {"most_chunks", m.most_chunks},
            {"chunk_bytes", m.chunk_bytes},
            {"keys", plan::name_of(m.key_format)},
            {"content", plan::name_of(m.content_format)},
            {"writable", writable(m)}}},
          {"bytes",
           {{"keys", m.keys},
            {"full_keys", m.full_keys},
            {"pooled_k", m.pooled_k},
            {"pooled_v", m.pooled_v},
            {"vectors", m.vectors()},
            {"text", m.text},
            {"catalogue", m.catalogue},
            {"padding", m.padding},
            {"disk", m.disk()}}},
          {"placement",
           {{"model", p.model_fits ? tier_json(p.model) : Json(nullptr)},
            {"keys", tier_json(p.keys)},
            {"full_keys", m.full_keys > 0 ? tier_json(p.full_keys) : Json(nullptr)},
            {"content", tier_json(p.content)}}},
          {"gpu", std::move(gpu)},
          {"ram", use_json(p.ram)},
          {"routing", routing_json(c)},
          {"encode",
           {{"seconds", json_number(c.encode.seconds)}, {"tokens", rate_json(c.encode.tokens)}}},
          {"choices", std::move(choices)},
          {"fits", std::move(fits)}};
}

}  // namespace msa::cli
