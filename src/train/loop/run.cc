#include "train/loop/run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <fstream>
#include <new>
#include <optional>
#include <utility>

#include "base/files.h"
#include "train/loop/json_section.h"
#include "train/loop/metrics.h"
#include "train/loop/optimizer.h"
#include "train/loop/prefetch.h"
#include "train/loop/schedule.h"
#include "train/loop/snapshot.h"
#include "train/loop/state.h"
#include "train/loop/tensor_memory.h"

namespace msa::train {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kMaxSkippedInARow = 20;
constexpr size_t kBatchesAhead = 2;
constexpr double kLately = 0.05;        // weight of the last step in what is shown
constexpr uint64_t kManyLeftOut = 100;  // one of so many samples is worth a warning

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  if (!(statm >> total >> resident)) return 0;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

// A model's config.json without what a recipe cannot say and training does not read: a note, and
// the weights that its losses once had.
Json shape_of(const std::string& model_config) {
  Json shape = Json::parse(model_config, nullptr, /*allow_exceptions=*/false);
  if (!shape.is_object()) return shape;
  shape.erase("msa_cpp_note");
  if (const auto msa = shape.find("msa_config"); msa != shape.end() && msa->is_object())
    for (const std::string key :
         {"lmloss_weigth", "auxloss_weight", "recloss_weight", "ansloss_weight"})
      msa->erase(key);
  return shape;
}

// What is said of samples that were too long; `where` names the recipe or a part of it.
std::string left_out(std::string_view where, uint64_t skipped, uint64_t used) {
  return fmt::format(
      "{}: {} of {} samples are left out, they are longer than a batch or than the "
      "model takes; raise batch.tokens or lower batch.max_document_tokens",
      where, skipped, skipped + used);
}

// Keeps two runs from writing into one folder. Released with the process, however it ends.
class FolderLock {
 public:
  static Result<FolderLock> take(const fs::path& folder) {
    const fs::path file = folder / ".lock";
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return system_error("opening", file, errno);
    FolderLock lock(fd);
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno != EWOULDBLOCK) return system_error("locking", file, errno);
    return Error{Code::busy, fmt::format("{}: another training run writes into this folder; wait "
                                         "for it or choose another folder",
                                         folder.string())};
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

// A number of late steps, smoothed.
class Lately {
 public:
  void add(double value) {
    if (!std::isfinite(value)) return;
    weight_ = weight_ * (1 - kLately) + kLately;
    sum_ = sum_ * (1 - kLately) + kLately * value;
  }
  double value() const { return weight_ > 0 ? sum_ / weight_ : 0; }

 private:
  double sum_ = 0, weight_ = 0;
};

class TrainingRun {
 public:
  TrainingRun(Model& model, const Recipe& recipe, uint64_t tokenizer,
              const MakeBatcher& make_batcher, const TrainOptions& options, TrainObserver& observer)
      : model_(model),
        recipe_(recipe),
        make_batcher_(make_batcher),
        options_(options),
        observer_(observer),
        optimizer_(model.parameters(), recipe.optimizer) {
    state_.tokenizer = tokenizer;
    state_.recipe = recipe.text;
    state_.model_config = write_config(model.config(), "float32");
  }

  Result<TrainOutcome> run() {
    MSA_TRY(make_folder(options_.out));
    MSA_ASSIGN(const FolderLock lock, FolderLock::take(options_.out));
    MSA_TRY(check_places());
    MSA_TRY(find_start());
    MSA_TRY(check_data());
    saved_ = Clock::now();
    while (state_.phase < recipe_.phases.size()) {
      MSA_TRY(run_phase());
      if (stopped_) break;
    }
    MSA_TRY(write_log());
    MSA_TRY(save());
    tell_left_out();
    TrainOutcome outcome;
    outcome.stopped = stopped_;
    outcome.steps = state_.step;
    outcome.tokens = state_.tokens;
    outcome.skipped_steps = state_.skipped;
    outcome.seconds = state_.seconds;
    outcome.model = model_folder();
    return outcome;
  }

 private:
  fs::path state_folder() const { return options_.out / "state"; }
  fs::path model_folder() const { return options_.out / "model"; }
  fs::path log_path() const { return options_.out / "log.jsonl"; }
  const Phase& phase() const { return recipe_.phases[state_.phase]; }

  Result<void> find_start() {
    const std::optional<fs::path> newest = newest_state(state_folder());
    if (newest && !options_.resume)
      return Error{Code::invalid_argument,
                   fmt::format("{}: holds a training run already; pass --resume to go on with it, "
                               "or choose another folder",
                               options_.out.string())};
    if (!newest) {
      if (options_.resume) observer_.message("there is no checkpoint yet, training starts anew");
      MSA_ASSIGN(LogFile log, LogFile::create(log_path()));
      log_.emplace(std::move(log));
      return {};
    }
    MSA_ASSIGN(RunState stored, read_state(*newest));
    const size_t begun = std::min(stored.phase_recipes.size(), recipe_.phases.size());
    for (size_t i = 0; i < begun; ++i) MSA_TRY(reshape(i));
    MSA_TRY(check_belongs(*newest, stored));
    state_ = std::move(stored);
    if (state_.phase_step > 0) begin_negatives();
    const Snapshot snapshot(optimizer_, kept_negatives());
    MSA_TRY(read_state_tensors(*newest, snapshot.tensors()));
    snapshot.put_back();
    optimizer_.set_updates(state_.updates);
    MSA_ASSIGN(LogFile log, LogFile::resume(log_path(), state_.step));
    log_.emplace(std::move(log));
    observer_.message(fmt::format("going on after step {} ({})", state_.step, newest->string()));
    return {};
  }

  // Whether all layers that phases refer to will be there.
  Result<void> check_places() const {
    size_t layers = model_.config().layers;
    std::vector<int> routers = model_.config().msa.router_layers;
    for (size_t i = 0; i < recipe_.phases.size(); ++i) {
      const std::vector<size_t>& places = recipe_.phases[i].insert_layers;
      if (!places.empty() && places.back() > layers)
        return Error{
            Code::invalid_argument,
            fmt::format(
                "{}: \"phases[{}].insert_layers\" has {}, and the model has {} layers then; "
                "give numbers from 0 to {}",
                recipe_.file.string(), i, places.back(), layers, layers)};
      layers += places.size();
      for (int& router : routers)
        router += static_cast<int>(std::ranges::count_if(
            places, [before = static_cast<size_t>(router)](size_t p) { return p <= before; }));
      const std::vector<size_t>& kept = recipe_.phases[i].router_layers;
      for (const size_t layer : kept)
        if (std::ranges::find(routers, static_cast<int>(layer)) == routers.end())
          return Error{Code::invalid_argument,
                       fmt::format("{}: \"phases[{}].router_layers\" has {}, and the layers that "
                                   "route by then are {}; choose some of these",
                                   recipe_.file.string(), i, layer, fmt::join(routers, ", "))};
      if (!kept.empty()) routers.assign(kept.begin(), kept.end());
    }
    return {};
  }

  // What phase `number` makes of the model before its first step.
  Result<void> reshape(size_t number) {
    const Phase& one = recipe_.phases[number];
    if (one.insert_layers.empty() && one.router_layers.empty() && one.chunk_size == 0) return {};
    Result<void> done;
    if (!one.insert_layers.empty()) done = model_.insert_layers(one.insert_layers);
    if (done && !one.router_layers.empty()) done = model_.keep_routers(one.router_layers);
    if (!done)
      return Error{done.error().code, fmt::format("{}: \"phases[{}]\": {}", recipe_.file.string(),
                                                  number, done.error().message)};
    if (one.chunk_size > 0) model_.pool_by(one.chunk_size);
    optimizer_.follow(model_.parameters());
    state_.model_config = write_config(model_.config(), "float32");
    return {};
  }

  // Whether a checkpoint is one of this recipe. Phases that have not begun may have changed, and
  // the running one in its length.
  Result<void> check_belongs(const fs::path& checkpoint, const RunState& stored) const {
    const auto mismatch = [&](std::string_view what) {
      return Error{Code::mismatch,
                   fmt::format("{}: was trained with another {}; go on with the recipe as it was, "
                               "or start a new folder with --init {}",
                               checkpoint.string(), what, model_folder().string())};
    };
    if (shape_of(stored.model_config) != shape_of(state_.model_config))
      return mismatch("model shape");
    if (stored.tokenizer != state_.tokenizer) return mismatch("tokenizer");
    if (stored.recipe != state_.recipe) return mismatch("model, seed, dtype or optimizer");
    if (stored.phase > recipe_.phases.size()) return mismatch("number of phases");
    for (size_t i = 0; i < stored.phase_recipes.size(); ++i) {
      const std::string& before = stored.phase_recipes[i];
      const bool same = i < recipe_.phases.size() &&
                        (i < stored.phase ? before == recipe_.phases[i].text
                                          : may_go_on(before, recipe_.phases[i].text));
      if (!same) return mismatch(fmt::format("phases[{}]", i));
    }
    return {};
  }

  Result<void> save() {
    state_.phase_recipes.clear();
    // Up to the phase that has begun: a phase at its very start may still be changed.
    const size_t begun = state_.phase + (state_.phase_step > 0 ? 1 : 0);
    for (size_t i = 0; i < begun && i < recipe_.phases.size(); ++i)
      state_.phase_recipes.push_back(recipe_.phases[i].text);
    state_.updates = optimizer_.updates();
    state_.negatives = negatives_ ? phase().negatives : 0;
    const std::string note =
        fmt::format("trained by msa-train: {} steps, {} tokens{}{}", state_.step, state_.tokens,
                    recipe_.note.empty() ? "" : "; ", recipe_.note);
    // First what fails if the weights are not finite, so that no such checkpoint comes to be.
    MSA_TRY(model_.save(model_folder(), recipe_.tokenizer, recipe_.save, note));
    MSA_TRY(save_state(state_folder(), state_, Snapshot(optimizer_, kept_negatives()).tensors()));
    saved_ = Clock::now();
    return {};
  }

  // Negatives are a phase's own: they begin with it, empty.
  void begin_negatives() {
    negatives_.reset();
    if (phase().negatives > 0)
      negatives_.emplace(model_.config(), phase().negatives,
                         model_.parameters().front().second.device());
  }
  RouterMemory* kept_negatives() { return negatives_ ? &*negatives_ : nullptr; }

  StepOptions step_options() const {
    StepOptions options;
    const MsaConfig& msa = model_.config().msa;
    options.lm_weight = phase().lm_weight;
    options.aux_weight = phase().aux_weight;
    options.aux_loss = *parse_aux_loss(phase().aux_loss);
    options.temperature = msa.infonce_temperature;
    options.cosine = msa.cosine_by_default();  // as the engine will read it
    options.compute = recipe_.compute == DType::bf16 ? torch::kBFloat16 : torch::kFloat32;
    options.checkpoint_activations = phase().checkpoint_activations;
    return options;
  }

  // `place` is where the recipe says what to make, `top_k` the most documents a query attends to.
  Result<std::unique_ptr<Batcher>> batcher_of(const std::string& place,
                                              const std::vector<DataEntry>& data,
                                              BatchOptions batch, size_t top_k,
                                              uint64_t seed) const {
    // Each of these documents takes a position in front of the query.
    const size_t positions = model_.config().max_positions;
    batch.max_sequence_tokens = positions - std::min(positions - 1, top_k);
    Result<std::unique_ptr<Batcher>> made = make_batcher_(data, batch, seed);
    if (!made)
      return Error{made.error().code, fmt::format("{}: \"{}\": {}", recipe_.file.string(), place,
                                                  made.error().message)};
    return made;
  }
  Result<std::unique_ptr<Batcher>> batcher_of_phase(size_t number) const {
    const Phase& one = recipe_.phases[number];
    return batcher_of(fmt::format("phases[{}]", number), one.data, one.batch,
                      *std::max_element(one.top_k.begin(), one.top_k.end()),
                      recipe_.seed + 1000003 * number);
  }
  Result<std::unique_ptr<Batcher>> batcher_of_evaluation() const {
    const EvaluationPlan& plan = *recipe_.evaluation;
    return batcher_of("evaluation", plan.data, plan.batch, plan.top_k, plan.seed);
  }

  // Makes what later phases and the evaluation will read, and drops it again: what is wrong with
  // their data is said before the first step. The phase that runs first makes its own at once.
  Result<void> check_data() const {
    for (size_t i = state_.phase + 1; i < recipe_.phases.size(); ++i) MSA_TRY(batcher_of_phase(i));
    if (recipe_.evaluation && state_.phase < recipe_.phases.size())
      MSA_TRY(batcher_of_evaluation());
    return {};
  }

  Result<void> run_phase() {
    const Phase& now = phase();
    if (state_.phase_step == 0) MSA_TRY(reshape(state_.phase));
    MSA_ASSIGN(std::unique_ptr<Batcher> batcher, batcher_of_phase(state_.phase));
    if (!state_.batcher.empty()) MSA_TRY(batcher->restore(state_.batcher));
    Prefetcher batches(std::move(batcher), kBatchesAhead);
    if (state_.phase_step == 0) begin_negatives();
    while (share_done(now, state_.phase_step, state_.phase_tokens) < 1) {
      MSA_TRY(run_step(batches));
      if (state_.step % recipe_.log_every == 0) MSA_TRY(write_log());
      if (recipe_.evaluation && state_.step % recipe_.evaluation->every == 0) MSA_TRY(evaluate());
      stopped_ = options_.stop && options_.stop();
      if (stopped_) return {};
      if (checkpoint_due()) MSA_TRY(save());
    }
    MSA_TRY(write_log());
    ++state_.phase;
    state_.phase_step = state_.phase_tokens = 0;
    state_.batcher.clear();
    negatives_.reset();
    return {};
  }

  bool checkpoint_due() const {
    if (recipe_.checkpoint_steps > 0 && state_.step % recipe_.checkpoint_steps == 0) return true;
    return recipe_.checkpoint_minutes > 0 &&
           seconds_since(saved_) > recipe_.checkpoint_minutes * 60;
  }

  // The gradients of one step, summed over its batches. Returns whether all losses were finite.
  Result<bool> accumulate(Prefetcher& batches, StepOptions options, StepMetrics& last) {
    bool finite = true;
    options.top_k = drawn_top_k(phase(), recipe_.seed, state_.step);
    options.include_positives = drawn_include_positives(phase(), recipe_.seed, state_.step);
    options.negatives = kept_negatives();
    for (size_t i = 0; i < phase().accumulate; ++i) {
      MSA_ASSIGN(PreparedBatch prepared, batches.next());
      MSA_ASSIGN(StepResult result, model_.step(prepared.batch, options));
      last = result.metrics;
      if (!std::isfinite(last.loss)) {
        finite = false;
      } else {
        interval_.add(last);
        const torch::Tensor share = phase().accumulate == 1
                                        ? result.loss
                                        : result.loss / static_cast<double>(phase().accumulate);
        if (finite && share.requires_grad()) share.backward();
      }
      tokens_this_step_ += prepared.batch.tokens();
      state_.samples += prepared.batch.samples;
      state_.samples_skipped += prepared.batch.samples_skipped;
      state_.batcher = std::move(prepared.state);
    }
    return finite;
  }

  Result<void> run_step(Prefetcher& batches) {
    const Clock::time_point start = Clock::now();
    tokens_this_step_ = 0;
    rate_ = learning_rate(phase(), state_.phase_step,
                          share_done(phase(), state_.phase_step, state_.phase_tokens));
    StepMetrics last;
    MSA_ASSIGN(const bool finite, accumulate(batches, step_options(), last));
    const double norm = finite ? optimizer_.gradient_norm() : 0;
    if (finite && std::isfinite(norm)) {
      optimizer_.update({rate_, phase().optimizer, phase().head_norm_rate, phase().embedding_rate},
                        norm);
      state_.skipped_in_a_row = 0;
      interval_norm_ += norm;
      ++interval_updates_;
    } else {
      MSA_TRY(count_skipped(finite));
    }
    optimizer_.drop_gradients();
    tensor_memory_step_done();
    ++state_.step;
    ++state_.phase_step;
    state_.phase_tokens += tokens_this_step_;
    state_.tokens += tokens_this_step_;
    const double seconds = seconds_since(start);
    state_.seconds += seconds;
    interval_seconds_ += seconds;
    interval_tokens_ += tokens_this_step_;
    show_progress(last, seconds);
    return {};
  }

  Result<void> count_skipped(bool loss_finite) {
    ++state_.skipped;
    ++state_.skipped_in_a_row;
    const std::string_view what = loss_finite ? "gradient" : "loss";
    observer_.warning(
        fmt::format("step {}: the {} is not finite, the step is skipped", state_.step + 1, what));
    if (state_.skipped_in_a_row < kMaxSkippedInARow) return {};
    return Error{
        Code::invalid_argument,
        fmt::format("{}: the {} was not finite in {} steps in a row, up to step {}; lower "
                    "the learning rate of \"{}\" and go on from the last checkpoint",
                    recipe_.file.string(), what, kMaxSkippedInARow, state_.step + 1, phase().name)};
  }

  // Estimated from the speed of late steps; phases that count steps are taken to have steps of the
  // size they are allowed.
  double tokens_left() const {
    double left = 0;
    for (size_t i = state_.phase; i < recipe_.phases.size(); ++i) {
      const Phase& one = recipe_.phases[i];
      const bool now = i == state_.phase;
      double step_tokens = static_cast<double>(one.batch.tokens * one.accumulate);
      if (now && state_.phase_step > 0)
        step_tokens =
            static_cast<double>(state_.phase_tokens) / static_cast<double>(state_.phase_step);
      const double all = one.tokens > 0 ? static_cast<double>(one.tokens)
                                        : static_cast<double>(one.steps) * step_tokens;
      left += all - (now ? static_cast<double>(state_.phase_tokens) : 0);
    }
    return std::max(left, 0.0);
  }

  void show_progress(const StepMetrics& last, double seconds) {
    lately_seconds_.add(seconds);
    lately_tokens_.add(static_cast<double>(tokens_this_step_));
    lately_loss_.add(last.loss);
    if (last.routed_queries > 0) {
      lately_aux_.add(last.aux_loss);
      lately_recall_.add(last.recall_at_1);
    }
    TrainProgress progress;
    progress.phase = phase().name;
    progress.step = state_.step;
    progress.tokens_per_second = lately_tokens_.value() / std::max(lately_seconds_.value(), 1e-9);
    const double left = tokens_left();
    progress.seconds_left = left / std::max(progress.tokens_per_second, 1e-9);
    progress.done = static_cast<double>(state_.tokens) /
                    std::max(static_cast<double>(state_.tokens) + left, 1.0);
    progress.loss = lately_loss_.value();
    progress.aux_loss = lately_aux_.value();
    progress.recall_at_1 = lately_recall_.value();
    observer_.progress(progress);
  }

  // Of samples that were too long, unless no more than a warning said already.
  void tell_left_out() {
    if (left_out_told_ == state_.samples_skipped) return;
    left_out_told_ = state_.samples_skipped;
    observer_.warning(left_out(recipe_.file.string(), state_.samples_skipped, state_.samples));
  }

  // Nothing, if no step was done since the last record.
  Result<void> write_log() {
    if (interval_tokens_ == 0) return {};
    // Said once when they are many; the end of the run says how many they became.
    const uint64_t drawn = state_.samples + state_.samples_skipped;
    if (left_out_told_ == 0 && state_.samples_skipped > drawn / kManyLeftOut) tell_left_out();
    LogRecord record;
    record.step = state_.step;
    record.phase = phase_name_for_log();
    record.tokens = state_.tokens;
    record.metrics = interval_.mean();
    if (interval_.batches() == 0) record.metrics.loss = NAN;  // every step was skipped
    record.learning_rate = rate_;
    record.gradient_norm =
        interval_norm_ / static_cast<double>(std::max<uint64_t>(interval_updates_, 1));
    record.tokens_per_second =
        static_cast<double>(interval_tokens_) / std::max(interval_seconds_, 1e-9);
    record.resident_bytes = resident_bytes();
    record.seconds = state_.seconds;
    record.skipped_steps = state_.skipped;
    record.samples_skipped = state_.samples_skipped;
    interval_ = {};
    interval_norm_ = interval_seconds_ = 0;
    interval_updates_ = interval_tokens_ = 0;
    MSA_TRY(log_->append(record));
    observer_.logged(record);
    return {};
  }

  std::string phase_name_for_log() const {
    return recipe_.phases[std::min<size_t>(state_.phase, recipe_.phases.size() - 1)].name;
  }

  // Held-out batches: the same ones every time.
  Result<void> evaluate() {
    const EvaluationPlan& plan = *recipe_.evaluation;
    if (held_out_.empty()) {
      MSA_ASSIGN(const std::unique_ptr<Batcher> batcher, batcher_of_evaluation());
      uint64_t samples = 0;
      for (uint64_t i = 0; i < plan.batches; ++i) {
        MSA_ASSIGN(Batch batch, batcher->next());
        samples += batch.samples;
        held_out_.push_back(std::move(batch));
      }
      if (const uint64_t skipped = batcher->samples_skipped(); skipped > 0)
        observer_.warning(
            left_out(fmt::format("{}: \"evaluation\"", recipe_.file.string()), skipped, samples));
    }
    const torch::NoGradGuard no_gradient;
    StepOptions options = step_options();
    options.top_k = plan.top_k;
    options.include_positives = false;
    MetricsSum sum;
    for (const Batch& batch : held_out_) {
      MSA_ASSIGN(const StepResult result, model_.step(batch, options));
      sum.add(result.metrics);
    }
    LogRecord record;
    record.evaluation = true;
    record.step = state_.step;
    record.phase = phase().name;
    record.tokens = state_.tokens;
    record.metrics = sum.mean();
    MSA_TRY(log_->append(record));
    observer_.logged(record);
    return {};
  }

  Model& model_;
  const Recipe& recipe_;
  const MakeBatcher& make_batcher_;
  const TrainOptions& options_;
  TrainObserver& observer_;
  Optimizer optimizer_;
  std::optional<RouterMemory> negatives_;
  RunState state_;
  std::optional<LogFile> log_;
  std::vector<Batch> held_out_;
  uint64_t left_out_told_ = 0;  // samples that a warning has counted

  bool stopped_ = false;
  Clock::time_point saved_;
  uint64_t tokens_this_step_ = 0;
  double rate_ = 0;  // learning rate of the last step

  // Since the last log record.
  MetricsSum interval_;
  double interval_norm_ = 0, interval_seconds_ = 0;
  uint64_t interval_updates_ = 0, interval_tokens_ = 0;
  Lately lately_seconds_, lately_tokens_, lately_loss_, lately_aux_, lately_recall_;
};

}  // namespace

Result<TrainOutcome> run_training(Model& model, const Recipe& recipe, uint64_t tokenizer,
                                  const MakeBatcher& make_batcher, const TrainOptions& options,
                                  TrainObserver& observer) {
  try {
    return TrainingRun(model, recipe, tokenizer, make_batcher, options, observer).run();
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, fmt::format("{}: memory is full; make \"batch.tokens\" smaller",
                                             recipe.file.string())};
  } catch (const c10::Error& error) {
    return Error{Code::internal, fmt::format("training step: libtorch failed: {}; report this",
                                             error.what_without_backtrace())};
  } catch (const std::exception& error) {
    return Error{Code::internal,
                 fmt::format("training step: failed: {}; report this", error.what())};
  }
}

}  // namespace msa::train
