// What it costs to open a bank, and to change it while questions are asked of it.
//
//   msa_bank_bench MODEL BANK [--repeats 9] [--json]
//
// Works on the bank in place, through the public interface, in one process that keeps its engine
// open: the time of a change and what the next question takes longer because of it. The documents
// are those of before in the end; their numbers are used up, and the chunks of the removed ones
// stay in the files until `msa memory compact`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/exit_code.h"
#include "msa/msa.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr std::string_view kQuestion = "Which number does the document hold?";
constexpr size_t kWarmQuestions = 3;  // whose median a question after a change is compared with

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Arguments {
  std::string model, bank;
  size_t repeats = 9;
  bool json = false;
};

// One kind of time, once for each repeat.
struct Series {
  const char* key;
  const char* label;
  std::vector<double> ms = {};
};

struct Figures {
  BankInfo bank;
  std::string keys;  // how the routing keys are held
  Series open{"open", "open bank and engine"};
  Series first{"first_question", "first question after opening"};
  Series warm{"warm_question", "a further question"};
  Series add{"add", "add one document"};
  Series encode{"add_encoding", "  of it until it is encoded"};
  Series after_add{"question_after_add", "first question after, beyond a further one"};
  Series remove{"remove", "remove it"};
  Series after_remove{"question_after_remove", "first question after, beyond a further one"};

  std::vector<const Series*> all() const {
    return {&open, &first, &warm, &add, &encode, &after_add, &remove, &after_remove};
  }
};

class OneDocument final : public DocumentSource {
 public:
  explicit OneDocument(Document document) : document_(std::move(document)) {}
  Result<std::optional<Document>> next() override { return std::exchange(document_, std::nullopt); }

 private:
  std::optional<Document> document_;
};

std::string id_of(size_t repeat) {
  return fmt::format("msa_bank_bench/{}", repeat);
}

Document document_of(size_t repeat) {
  Document document;
  document.id = id_of(repeat);
  document.title = "A document of msa_bank_bench";
  document.text = fmt::format("Document {} of msa_bank_bench holds the number {}.", repeat,
                              (repeat + 1) * 7919);
  return document;
}

Result<double> question_ms(const Engine& engine) {
  const auto start = Clock::now();
  MSA_TRY(engine.route(kQuestion));
  return ms_since(start);
}

Result<double> warm_question_ms(const Engine& engine) {
  std::vector<double> ms;
  for (size_t i = 0; i < kWarmQuestions; ++i) {
    MSA_ASSIGN(const double each, question_ms(engine));
    ms.push_back(each);
  }
  return median(std::move(ms));
}

Result<void> measure_opening(const Model& model, const Arguments& arguments, Figures& figures) {
  for (size_t r = 0; r < arguments.repeats; ++r) {
    const auto start = Clock::now();
    MSA_ASSIGN(const Bank bank, Bank::open(arguments.bank));
    MSA_ASSIGN(const Engine engine, Engine::create(model, bank));
    figures.open.ms.push_back(ms_since(start));
    MSA_ASSIGN(const double first, question_ms(engine));
    figures.first.ms.push_back(first);
    MSA_ASSIGN(const double warm, warm_question_ms(engine));
    figures.warm.ms.push_back(warm);
  }
  return {};
}

Result<bool> is_there(const Bank& bank, const std::string& id) {
  const auto found = bank.document_by_id(id);
  if (found) return true;
  if (found.error().code == Code::not_found) return false;
  return found.error();
}

Error unexpected(const Arguments& arguments, const std::string& id, std::string_view what) {
  return {Code::internal, fmt::format("{}: '{}' {}; verify the bank with `msa memory verify`",
                                      arguments.bank, id, what)};
}

// Adds a document and removes it; after each a question.
Result<void> measure_change(const Model& model, Bank& bank, const Engine& engine,
                            const Arguments& arguments, size_t repeat, Figures& figures) {
  const std::string id = id_of(repeat);
  MSA_ASSIGN(double warm, warm_question_ms(engine));
  OneDocument source(document_of(repeat));
  std::optional<double> encoded_ms;  // when the first progress was told: it is encoded then
  std::string problem;
  EncodeOptions options;
  options.on_problem = [&](const DocumentProblem& p) { problem = p.what; };
  auto start = Clock::now();
  MSA_ASSIGN(const EncodeReport report,
             encode(model, bank, source, options, [&](const EncodeProgress&) {
               if (!encoded_ms) encoded_ms = ms_since(start);
             }));
  figures.add.ms.push_back(ms_since(start));
  MSA_ASSIGN(double first, question_ms(engine));
  if (report.passages != 1)
    return Error{
        Code::invalid_argument,
        fmt::format("{}: '{}' was not encoded: {}; measure with another bank", arguments.bank, id,
                    !problem.empty() ? problem : "its text is there under another id")};
  figures.encode.ms.push_back(encoded_ms.value_or(0));
  figures.after_add.ms.push_back(first - warm);
  MSA_ASSIGN(const bool added, is_there(bank, id));
  if (!added) return unexpected(arguments, id, "was added and is not there");

  MSA_ASSIGN(warm, warm_question_ms(engine));
  const std::string ids[] = {id};
  start = Clock::now();
  MSA_TRY(bank.remove(ids));
  figures.remove.ms.push_back(ms_since(start));
  MSA_ASSIGN(first, question_ms(engine));
  figures.after_remove.ms.push_back(first - warm);
  MSA_ASSIGN(const bool left, is_there(bank, id));
  if (left) return unexpected(arguments, id, "was removed and is still there");
  return {};
}

Result<void> measure_changes(const Model& model, const Arguments& arguments, Figures& figures) {
  MSA_ASSIGN(Bank bank, Bank::open(arguments.bank));
  for (size_t r = 0; r < arguments.repeats; ++r) {
    MSA_ASSIGN(const bool there, is_there(bank, id_of(r)));
    if (there)
      return Error{Code::invalid_argument,
                   fmt::format("{}: has a document '{}', which this program would add and remove; "
                               "if an interrupted run left it, take it out with `msa memory remove "
                               "--id {} -b {}`",
                               arguments.bank, id_of(r), id_of(r), arguments.bank)};
  }
  MSA_ASSIGN(const Engine engine, Engine::create(model, bank));
  figures.keys = engine.info().keys;
  MSA_ASSIGN(figures.bank, bank.info());
  MSA_TRY(warm_question_ms(engine));
  for (size_t r = 0; r < arguments.repeats; ++r) {
    Result<void> measured = measure_change(model, bank, engine, arguments, r, figures);
    if (measured) continue;
    // What failed may have been what follows the adding.
    const std::string ids[] = {id_of(r)};
    if (const auto there = is_there(bank, ids[0]); there && *there) (void)bank.remove(ids);
    return measured;
  }
  MSA_ASSIGN(const BankInfo after, bank.info());
  if (after.documents != figures.bank.documents)
    return Error{Code::busy, fmt::format("{}: had {} documents and has {} now: something else "
                                         "changes it; measure when nothing does",
                                         arguments.bank, figures.bank.documents, after.documents)};
  return {};
}

Result<Figures> measure(const Arguments& arguments) {
  Figures figures;
  MSA_ASSIGN(const Model model, Model::open(arguments.model));
  MSA_TRY(measure_opening(model, arguments, figures));
  MSA_TRY(measure_changes(model, arguments, figures));
  return figures;
}

std::string json_of(const Figures& figures, size_t repeats) {
  const BankInfo& bank = figures.bank;
  Json json = {{"bank", bank.path.string()}, {"documents", bank.documents}, {"chunks", bank.chunks},
               {"tokens", bank.tokens},      {"segments", bank.segments},   {"keys", figures.keys},
               {"repeats", repeats}};
  for (const Series* series : figures.all())
    json[series->key] = {{"median_ms", median(series->ms)},
                         {"worst_ms", *std::max_element(series->ms.begin(), series->ms.end())}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string table_of(const Figures& figures, size_t repeats) {
  const BankInfo& bank = figures.bank;
  std::string table =
      fmt::format("{}: {} documents, {} tokens, {} chunks, {} segments; keys {}; {} repeats\n\n",
                  bank.path.string(), bank.documents, bank.tokens, bank.chunks, bank.segments,
                  figures.keys, repeats);
  table += fmt::format("{:<44}{:>12}{:>12}\n", "ms", "median", "worst");
  for (const Series* series : figures.all())
    table += fmt::format("{:<44}{:>12.2f}{:>12.2f}\n", series->label, median(series->ms),
                         *std::max_element(series->ms.begin(), series->ms.end()));
  return table;
}

int fail(cli::ExitCode code, std::string_view message) {
  fmt::print(stderr, "msa_bank_bench: {}\n", message);
  return static_cast<int>(code);
}

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Measures opening a bank, and adding and removing one document while an engine is open",
      "msa_bank_bench");
  app.add_option("MODEL", arguments.model, "The model that made the bank")->required();
  app.add_option("BANK", arguments.bank,
                 "The bank, changed in place: its documents are the same afterwards, numbers are "
                 "used up, and chunks of removed documents stay until `msa memory compact`")
      ->required();
  app.add_option("--repeats", arguments.repeats, "How often each is measured")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--json", arguments.json, "Print one JSON object");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    return fail(cli::ExitCode::usage, fmt::format("{}; see 'msa_bank_bench --help'", error.what()));
  }
  const Result<Figures> figures = measure(arguments);
  if (!figures) return fail(cli::exit_code(figures.error().code), figures.error().message);
  fmt::print("{}", arguments.json ? json_of(*figures, arguments.repeats)
                                  : table_of(*figures, arguments.repeats));
  return 0;
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) {
  try {
    return msa::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "msa_bank_bench: %s\n", error.what());
    return static_cast<int>(msa::cli::ExitCode::internal);
  }
}
