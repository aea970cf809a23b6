#include "eval/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "eval/keyword_search.h"
#include "eval/memory_plan.h"
#include "eval/scratch_folder.h"

namespace msa::eval {
namespace {

constexpr size_t kKeywordDocuments = 16;
constexpr uint64_t kBytesPerToken = 8;  // of text and catalogue, when disk space is estimated

// Whether an error is about one question rather than about everything.
bool is_about_question(Code code) {
  return code == Code::invalid_argument || code == Code::unsupported;
}

// The name of a memory's folder: the same documents in the same order, read by the same model, have
// the same.
std::string folder_name(const Exam& exam, const EvalOptions& options, const ModelInfo& model,
                        MemoryPlanner& planner, const SizePlan& size, size_t memory) {
  Hasher hasher;
  hasher.add(model.fingerprint);
  hasher.add_number(options.passage_tokens);
  for (const uint64_t index : size.memories[memory].documents) {
    const SampleDocument& document = planner.document(index);
    for (const std::string* text : {&document.id, &document.title, &document.text}) {
      hasher.add_number(text->size());
      hasher.add(*text);
    }
  }
  std::string name;
  for (const char c : exam.name.substr(0, 40))
    name += (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ? c : '-';
  return fmt::format("{}-{}-{}", name, to_string(size.size), to_hex(hasher.digest()));
}

class Evaluation {
 public:
  Evaluation(const Model& model, const Exam& exam, const EvalOptions& options,
             const EvalCallbacks& callbacks, std::stop_token stop, EvalReport& report)
      : model_(model),
        exam_(exam),
        options_(options),
        callbacks_(callbacks),
        stop_(std::move(stop)),
        report_(report),
        ids_(exam),
        planner_(
            exam, [this](const SampleDocument& d, uint64_t number) { return length(d, number); },
            options.seed) {}

  Result<void> run() {
    report_.model = model_.info();
    report_.top_k = options_.top_k > 0 ? options_.top_k : report_.model.top_k;
    report_.skip_handed_over = options_.skip_handed_over.value_or(report_.model.skip_handed_over);
    report_.modes = options_.modes;
    MSA_ASSIGN(scratch_, ScratchFolder::create());
    if (!options_.work.empty()) MSA_TRY(make_folder(options_.work));
    for (const MemorySize& size : options_.sizes) {
      if (stopped()) return {};
      MSA_TRY(run_size(size));
      if (callbacks_.save) MSA_TRY(callbacks_.save(report_));
    }
    return {};
  }

 private:
  bool stopped() {
    if (stop_.stop_requested()) report_.stopped = true;
    return report_.stopped;
  }

  void show(const EvalProgress& progress) const {
    if (callbacks_.progress) callbacks_.progress(progress);
  }

  // Tokens of a document as it is encoded.
  uint64_t length(const SampleDocument& document, uint64_t number) const {
    return model_
        .tokenize(fmt::format("<|im_start|>[{0}]. {1}{2}{3}[{0}]<|im_end|>", number, document.title,
                              document.title.empty() ? "" : "\n", document.text))
        .size();
  }

  Result<void> run_size(const MemorySize& size) {
    report_.sizes.push_back({});
    SizeReport& at = report_.sizes.back();
    at.size = size;
    EvalProgress now;
    now.size = size;
    now.all = size.unit == MemorySize::Unit::tokens ? size.amount : 0;
    Result<SizePlan> planned = planner_.plan(size, [&](uint64_t tokens) {
      now.done = tokens;
      show(now);
      return !stop_.stop_requested();
    });
    if (!planned && planned.error().code == Code::cancelled) {
      report_.stopped = true;
      at.skipped = "stopped";
      return {};
    }
    if (!planned) return std::move(planned).error();
    at.left_out = planned->left_out.size();
    if (planned->memories.empty()) {
      at.skipped = fmt::format(
          "{} alone {} more than {}",
          exam_.collection > 0 ? "the task's collection" : "the documents of any question",
          exam_.collection > 0 ? "is" : "are", to_string(size));
      return {};
    }
    now.memories = planned->memories.size();
    tally_.assign(options_.modes.size(), {});
    for (now.memory = 1; now.memory <= now.memories; ++now.memory) {
      if (stopped()) return {};
      MSA_TRY(run_memory(*planned, now));
    }
    return {};
  }

  // Routing is approximate only with an index of all that is in the memory.
  Result<void> index_memory(const Bank& bank) {
    IndexOptions options;
    options.seed = options_.seed;
    options.model = model_;
    MSA_TRY(build_index(bank, options, {}, stop_));
    return {};
  }

  Result<void> run_memory(const SizePlan& size, const EvalProgress& now) {
    SizeReport& at = report_.sizes.back();
    const MemoryPlan& plan = size.memories[now.memory - 1];
    if (options_.bm25) MSA_TRY(search_keywords(plan, now));
    if (stopped()) return {};

    const bool keep = !options_.work.empty();
    const std::filesystem::path folder =
        keep ? options_.work /
                   folder_name(exam_, options_, report_.model, planner_, size, now.memory - 1)
             : scratch_->path() / "memory";
    Result<void> result = [&]() -> Result<void> {
      MSA_TRY(check_space(folder, plan));
      MSA_ASSIGN(Bank bank, Bank::open_or_create(folder, model_));
      MSA_TRY(encode_memory(bank, plan, now));
      if (report_.stopped) return {};
      MSA_ASSIGN(const BankInfo info, bank.info());
      at.documents = std::max(at.documents, info.documents);
      at.tokens = std::max(at.tokens, info.tokens);
      ++at.memories;
      at.questions += plan.questions.size();
      if (options_.engine.routing == RoutingMode::approximate) MSA_TRY(index_memory(bank));
      MSA_ASSIGN(const Engine engine, Engine::create(model_, bank, options_.engine));
      return ask_all(engine, plan, now);
    }();
    std::error_code ignored;
    if (!keep) std::filesystem::remove_all(folder, ignored);
    return result;
  }

  // Better said before an hour of encoding than after it.
  Result<void> check_space(const std::filesystem::path& folder, const MemoryPlan& plan) const {
    std::error_code problem;
    if (std::filesystem::exists(folder, problem)) return {};
    const std::filesystem::space_info space = std::filesystem::space(folder.parent_path(), problem);
    if (problem) return {};
    const uint64_t chunks =
        plan.tokens / std::max<size_t>(1, report_.model.chunk_size) + plan.documents.size();
    const uint64_t bytes = chunks * report_.model.chunk_bytes + plan.tokens * kBytesPerToken;
    if (bytes <= space.available) return {};
    return Error{Code::no_space,
                 fmt::format("{}: a memory of {} tokens needs about {} MiB, {} MiB are free; free "
                             "some, or pass --work FOLDER on another disk",
                             folder.parent_path().string(), plan.tokens, bytes >> 20,
                             space.available >> 20)};
  }

  Result<void> encode_memory(Bank& bank, const MemoryPlan& plan, EvalProgress now) {
    SizeReport& at = report_.sizes.back();
    now.doing = EvalProgress::Doing::encoding;
    now.all = plan.tokens;
    PlanSource source(planner_, plan);
    EncodeOptions encoding;
    encoding.passage_tokens = options_.passage_tokens;
    std::string problem;
    encoding.on_problem = [&](const DocumentProblem& what) {
      if (problem.empty()) problem = fmt::format("{}: {}", what.where, what.what);
    };
    const auto total = static_cast<double>(plan.documents.size());
    MSA_ASSIGN(const EncodeReport encoded,
               encode(
                   model_, bank, source, encoding,
                   [&](const EncodeProgress& progress) {
                     now.done = static_cast<uint64_t>(static_cast<double>(progress.documents) /
                                                      total * static_cast<double>(plan.tokens));
                     now.tokens_per_second = progress.tokens_per_second;
                     show(now);
                   },
                   stop_));
    at.encoded_tokens += encoded.tokens;
    at.encode_seconds += encoded.seconds;
    at.rejected += encoded.rejected;
    if (encoded.stopped) report_.stopped = true;
    // Nothing is left to ask about: whatever the reason is, it is the same for all.
    if (!encoded.stopped && encoded.rejected > 0 &&
        encoded.passages + encoded.already_there + encoded.duplicates == 0)
      return Error{Code::mismatch, problem};
    return {};
  }

  Result<void> ask_all(const Engine& engine, const MemoryPlan& plan, EvalProgress now) {
    now.doing = EvalProgress::Doing::asking;
    now.all = report_.sizes.back().left_out <= exam_.questions.size()
                  ? exam_.questions.size() - report_.sizes.back().left_out
                  : 0;
    for (uint32_t m = 0; m < options_.modes.size(); ++m) {
      now.mode = options_.modes[m];
      Tally& tally = tally_[m];
      for (const uint32_t question : plan.questions) {
        if (stopped()) return {};
        now.done = tally.asked;
        now.accuracy = tally.asked > 0 ? tally.right / static_cast<double>(tally.asked) : 0;
        show(now);
        MSA_ASSIGN(std::optional<Outcome> outcome, ask(engine, m, question));
        if (!outcome) return {};
        tally.right += outcome->score.accuracy;
        ++tally.asked;
        report_.outcomes.push_back(std::move(*outcome));
      }
    }
    return {};
  }

  // Nothing if the work was stopped meanwhile.
  Result<std::optional<Outcome>> ask(const Engine& engine, uint32_t mode, uint32_t index) {
    const ExamQuestion& question = exam_.questions[index];
    AskOptions ask;
    ask.top_k = options_.top_k;
    ask.skip_handed_over = options_.skip_handed_over;
    ask.original_text = options_.modes[mode].original_text;
    if (!options_.modes[mode].interleave) ask.max_rounds = 1;
    ask.max_tokens = options_.max_tokens;
    Outcome outcome;
    outcome.size = static_cast<uint32_t>(report_.sizes.size() - 1);
    outcome.mode = mode;
    outcome.question = index;
    const Result<Answer> answer = engine.ask(question.question, ask, {}, stop_);
    if (!answer) {
      if (answer.error().code == Code::cancelled) {
        report_.stopped = true;
        return std::optional<Outcome>();
      }
      if (!is_about_question(answer.error().code)) return answer.error();
      outcome.error = answer.error().message;
      if (question.steps.size() > 1) outcome.retrieval.routed_later = 0;
      return std::optional(std::move(outcome));
    }
    if (answer->finish == "cancelled") {
      report_.stopped = true;
      return std::optional<Outcome>();
    }
    outcome.answer = answer->text;
    outcome.finish = answer->finish;
    outcome.score = score_answer(answer->text, question.expected, question.values);
    outcome.retrieval = score_retrieval(question, *answer, ids_, report_.top_k);
    outcome.rounds = answer->rounds.size();
    outcome.first_token_ms = answer->timing.first_token_ms;
    outcome.total_ms = answer->timing.total_ms;
    return std::optional(std::move(outcome));
  }

  Result<void> search_keywords(const MemoryPlan& plan, EvalProgress now) {
    now.doing = EvalProgress::Doing::searching;
    now.all = plan.documents.size();
    MSA_ASSIGN(KeywordSearch search, KeywordSearch::create(scratch_->path() / "keywords.sqlite"));
    for (now.done = 0; now.done < now.all; ++now.done) {
      const uint64_t index = plan.documents[now.done];
      const SampleDocument& document = planner_.document(index);
      MSA_TRY(search.add(index, document.title, document.text));
      if (now.done % 256 == 0) {
        if (stopped()) return {};
        show(now);
      }
    }
    for (const uint32_t index : plan.questions) {
      if (stopped()) return {};
      const ExamQuestion& question = exam_.questions[index];
      MSA_ASSIGN(std::vector<uint64_t> found, search.find(question.question, kKeywordDocuments));
      for (uint64_t& document : found)
        if (document < exam_.documents.size()) document = exam_.first_of_text[document];
      const Documents all(found.begin(), found.end());
      KeywordOutcome outcome;
      outcome.size = static_cast<uint32_t>(report_.sizes.size() - 1);
      outcome.question = index;
      outcome.first = !found.empty() && std::ranges::count(question.steps.front(), found[0]) > 0;
      outcome.in_16 = share_of(question.steps.front(), all);
      outcome.all_in_16 = share_of(all_steps(question), all);
      report_.keyword.push_back(outcome);
    }
    return {};
  }

  // Of one size and mode so far.
  struct Tally {
    double right = 0;
    uint64_t asked = 0;
  };

  const Model& model_;
  const Exam& exam_;
  const EvalOptions& options_;
  const EvalCallbacks& callbacks_;
  std::stop_token stop_;
  EvalReport& report_;
  DocumentIds ids_;
  MemoryPlanner planner_;
  std::optional<ScratchFolder> scratch_;
  std::vector<Tally> tally_;
};

}  // namespace

std::string to_string(const Mode& mode) {
  return !mode.original_text ? "no text" : mode.interleave ? "interleave" : "one round";
}

Result<void> evaluate(const Model& model, const Exam& exam, const EvalOptions& options,
                      const EvalCallbacks& callbacks, std::stop_token stop, EvalReport& report) {
  return Evaluation(model, exam, options, callbacks, std::move(stop), report).run();
}

}  // namespace msa::eval
