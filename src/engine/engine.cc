// msa::Engine: a model with a memory.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/memory_room.h"
#include "engine/approximate.h"
#include "engine/bank_handle.h"
#include "engine/guard.h"
#include "engine/interleave.h"
#include "engine/model_handle.h"
#include "engine/sampler.h"
#include "memory/held_content.h"
#include "memory/held_keys.h"
#include "memory/router.h"
#include "model/decoder.h"
#include "model/route_rule.h"
#include "text/prompt.h"

namespace msa {

namespace {

// Beside weights and keys a question needs room: for the context, for scratch memory of products,
// and for the chunks that it fetches.
constexpr uint64_t kQuestionBytes = 64u << 20;

KeyChoice key_choice(KeyTier keys) {
  switch (keys) {
    case KeyTier::automatic: return KeyChoice::automatic;
    case KeyTier::full: return KeyChoice::full;
    case KeyTier::int8: return KeyChoice::int8;
    case KeyTier::int4: return KeyChoice::int4;
  }
  return KeyChoice::automatic;
}

// What is left for what is held of a bank, as of now: the model is in memory already.
MemoryBudget room_for_bank(uint64_t memory_limit) {
  const bool limited = memory_limit > 0;
  const uint64_t taken = (limited ? resident_memory() : 0) + kQuestionBytes;
  const uint64_t all = limited ? memory_limit : available_memory();
  return {all - std::min(all, taken), limited, taken - std::min(all, taken)};
}

}  // namespace

struct Engine::Impl {
  Model model;
  Bank bank;
  Decoder decoder;
  std::shared_ptr<BankIndex> index;    // if routing is approximate
  MemoryBudget key_room;               // if content takes none of it
  std::optional<HeldContent> content;  // nothing: it stays mapped
  HeldKeys keys;

  Impl(Model m, Bank b, const EngineOptions& options, std::shared_ptr<BankIndex> bank_index)
      : model(std::move(m)),
        bank(std::move(b)),
        decoder(*model.impl().backend, model.impl().weights, model.impl().prefix),
        index(std::move(bank_index)),
        key_room(room_for_bank(options.memory_limit)),
        keys(*model.impl().backend, reader().manifest().kv_heads, reader().manifest().head_dim,
             few_keys_are_read(options) ? KeyChoice::full : key_choice(options.keys), key_room) {
    if (options.content == ContentTier::held) content.emplace(key_room);
    key_room.limited = key_room.limited && !few_keys_are_read(options);
    keys.set_budget(key_room);
  }

  // What is read in full is little with an index, and mapped: no memory has to be there for it.
  bool few_keys_are_read(const EngineOptions& options) const {
    return index && options.keys == KeyTier::automatic;
  }
  BankReader& reader() const { return *bank.impl().reader; }
  // The similarity the bank's keys were stored for.
  RouteRule rule() const { return route_rule(model.impl().config(), reader().manifest().cosine); }

  // One question's bank, as of one moment: chunks, texts and ids belong together, whatever a writer
  // commits meanwhile.
  struct Query {
    std::unique_ptr<BankView> view;
    Router router;

    Result<std::optional<DocumentRecord>> document(uint32_t number) const {
      auto found = view->catalogue().find(number);
      MSA_TRY(view->check());
      return found;
    }
  };
  // The model is this caller's.
  Result<Query> query(size_t top_k) {
    MSA_ASSIGN(auto moment, view());
    MSA_ASSIGN(auto snapshot, hold(moment->snapshot()));
    Router router(*model.impl().backend, std::move(snapshot), rule(),
                  top_k == 0 ? model.impl().config().msa.top_k : top_k, index,
                  TooFewFound::scanned);
    return Query{std::move(moment), std::move(router)};
  }
  Result<std::unique_ptr<BankView>> view() const {
    const std::lock_guard lock(bank.impl().busy);
    return reader().view();
  }
  // `snapshot` with its keys and its content in the tiers that were asked for. Whether both fit is
  // known before either is read.
  Result<std::shared_ptr<const Snapshot>> hold(std::shared_ptr<const Snapshot> snapshot) {
    const auto of_bank = [&](const Error& error, std::string_view also = {}) {
      return Error{error.code,
                   fmt::format("{}: {}{}", reader().folder().string(), error.message, also)};
    };
    if (content) {
      const Result<uint64_t> needed = content->bytes_for(*snapshot);
      if (!needed) return of_bank(needed.error());
      MemoryBudget left = key_room;
      left.bytes -= *needed;
      keys.set_budget(left);
      // The last snapshot's content, and its keys, which that keeps, go before new keys come.
      if (!keys.holds(snapshot)) content->make_room_for(*snapshot);
    }
    auto held = keys.hold(std::move(snapshot));
    if (!held && held.error().code == Code::no_space && content)
      return of_bank(held.error(), ", or leave the pooled keys and values on the disk, mapped");
    if (held && content) held = content->hold(*held);
    if (!held) return of_bank(held.error());
    return held;
  }

  // Adds the users' ids to what a query's router chose.
  static Result<Routing> describe(const Query& query) {
    const Router& router = query.router;
    std::map<uint32_t, std::string> ids;
    const auto named = [&](uint32_t number, float score) -> Result<RoutedDocument> {
      auto known = ids.find(number);
      if (known == ids.end()) {
        MSA_ASSIGN(const auto record, query.document(number));
        known = ids.emplace(number, record ? record->id : "").first;
      }
      return RoutedDocument{number, known->second, score};
    };
    Routing routing;
    for (const LayerChoice& choice : router.choices()) {
      LayerRouting& layer = routing.layers.emplace_back();
      layer.layer = choice.layer;
      layer.rescored = choice.rescored;
      layer.certain = choice.certain;
      for (const RouteHit& hit : choice.hits) {
        MSA_ASSIGN(auto routed, named(hit.number, hit.score));
        layer.documents.push_back(std::move(routed));
      }
    }
    for (const RankedDocument& ranked : rank_documents(router.choices())) {
      MSA_ASSIGN(auto routed, named(ranked.number, ranked.score));
      routing.ranking.push_back(std::move(routed));
    }
    return routing;
  }
};

namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Result<void> check_question(std::string_view question) {
  if (question.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return Error{Code::invalid_argument, "the question is empty; write one"};
  return {};
}

Result<void> check_options(const AskOptions& options) {
  const auto invalid = [](std::string what) {
    return Error{Code::invalid_argument, std::move(what)};
  };
  if (!(options.temperature >= 0) || options.temperature > 100)
    return invalid(fmt::format("temperature: {} is not between 0 and 100", options.temperature));
  if (!(options.top_p > 0 && options.top_p <= 1))
    return invalid(fmt::format("top-p: {} is not above 0 and at most 1", options.top_p));
  if (options.max_rounds == 0) return invalid("rounds: at least 1 is needed");
  if (options.max_tokens == 0) return invalid("tokens to generate: at least 1 is needed");
  if (options.retrieval == Retrieval::router && options.router_documents == 0)
    return invalid("documents to hand over: at least 1 is needed");
  return {};
}

// The decoder, the router and the catalogue as Memory Interleave sees them.
class EngineModel : public InterleaveModel {
 public:
  EngineModel(Engine::Impl& engine, Engine::Impl::Query& query, const AskOptions& options)
      : engine_(engine),
        query_(query),
        sampler_(options.temperature, options.top_p,
                 options.seed.value_or(engine.model.impl().options.seed)),
        skip_handed_over_(
            options.skip_handed_over.value_or(engine.model.impl().config().msa.skip_handed_over)) {}

  Result<void> prefill(std::span<const TokenId> tokens, std::span<const uint8_t> routes,
                       std::span<const uint32_t> handed_over) override {
    Router& router = query_.router;
    router.reset();
    if (skip_handed_over_) router.pass_over({handed_over.begin(), handed_over.end()});
    const size_t first_position = engine_.model.impl().prefix->tokens + router.top_k();
    MSA_TRY(engine_.decoder.prefill(tokens, routes, first_position, &router));
    const PrefillTiming& timing = engine_.decoder.timing();
    timing_.route_ms += 1e3 * timing.route_seconds;
    timing_.encode_question_ms += 1e3 * (timing.total_seconds - timing.route_seconds);
    return {};
  }
  Result<Routing> routing() override { return Engine::Impl::describe(query_); }
  Result<void> append(std::span<const TokenId> tokens) override {
    return engine_.decoder.append(tokens);
  }
  TokenId sample(std::span<const uint8_t> allowed) override {
    return sampler_.sample(engine_.decoder.logits(), allowed);
  }
  Result<std::optional<Citation>> document(uint32_t number) override {
    MSA_ASSIGN(auto record, query_.document(number));
    if (!record) return std::optional<Citation>();
    Citation citation;
    citation.number = record->number;
    citation.id = std::move(record->id);
    citation.title = std::move(record->title);
    citation.source = std::move(record->source);
    citation.text = std::move(record->text);
    citation.char_begin = record->char_begin;
    citation.char_end = record->char_end;
    return std::optional(std::move(citation));
  }
  const Tokenizer& tokenizer() const override { return *engine_.model.impl().tokenizer; }
  bool is_end(TokenId token) const override {
    const auto& ends = engine_.model.impl().end_tokens;
    return std::find(ends.begin(), ends.end(), token) != ends.end();
  }
  const Timing& timing() const { return timing_; }

 private:
  Engine::Impl& engine_;
  Engine::Impl::Query& query_;
  Sampler sampler_;
  bool skip_handed_over_;
  Timing timing_;
};

Result<Answer> answer(Engine::Impl& engine, std::string_view question, const AskOptions& options,
                      const TokenCallback& on_token, std::stop_token stop) {
  MSA_TRY(check_question(question));
  MSA_TRY(check_options(options));
  const std::lock_guard lock(engine.model.impl().busy);
  MSA_ASSIGN(Engine::Impl::Query query, engine.query(options.top_k));
  EngineModel model(engine, query, options);
  const auto start = Clock::now();
  double first_token_ms = 0;
  uint64_t generated = 0;
  MSA_ASSIGN(auto result, run_interleave(model, question, options, on_token, stop, [&] {
               if (generated++ == 0) first_token_ms = ms_since(start);
             }));
  Answer out;
  out.text = std::move(result.answer);
  out.rounds = std::move(result.rounds);
  out.citations = std::move(result.citations);
  if (!out.rounds.empty()) out.routing = out.rounds.front().routing;
  out.timing = model.timing();
  out.timing.first_token_ms = first_token_ms;
  out.timing.total_ms = ms_since(start);
  out.timing.generate_ms =
      out.timing.total_ms - out.timing.encode_question_ms - out.timing.route_ms;
  if (out.timing.generate_ms > 0)
    out.timing.tokens_per_second = 1e3 * static_cast<double>(generated) / out.timing.generate_ms;
  out.usage = {result.prompt_tokens, result.completion_tokens};
  out.finish = std::move(result.finish);
  return out;
}

}  // namespace

Result<Engine> Engine::create(const Model& model, const Bank& bank, const EngineOptions& options) {
  return guarded("starting the engine", [&]() -> Result<Engine> {
    const BankReader& reader = *bank.impl().reader;
    MSA_TRY(model.impl().check_bank(reader.manifest(), reader.folder()));
    std::shared_ptr<BankIndex> index;
    if (options.routing == RoutingMode::approximate) {
      MSA_TRY(check_approximate_routing(model.impl(), reader.manifest().cosine));
      std::shared_ptr<const Snapshot> snapshot;
      {
        const std::lock_guard lock(bank.impl().busy);
        MSA_ASSIGN(snapshot, bank.impl().reader->snapshot());
      }
      index = open_index(model.impl(), reader, *snapshot);
    }
    auto impl = std::make_shared<Impl>(model, bank, options, std::move(index));
    const std::lock_guard lock(model.impl().busy);
    MSA_ASSIGN(const auto moment, impl->view());
    MSA_ASSIGN([[maybe_unused]] const auto held, impl->hold(moment->snapshot()));
    return Engine(std::move(impl));
  });
}

EngineInfo Engine::info() const {
  const std::lock_guard lock(impl_->model.impl().busy);
  EngineInfo info;
  const std::optional<KeyFormat> format = impl_->keys.format();
  info.keys = format ? name_of(*format) : name_of(impl_->reader().manifest().dtype);
  info.key_bytes = impl_->keys.bytes();
  info.index_bytes = impl_->index ? impl_->index->bytes() : 0;
  if (impl_->content) {
    info.content = ContentTier::held;
    info.content_bytes = impl_->content->bytes();
  }
  return info;
}

Result<Routing> Engine::route(std::string_view question, size_t top_k) const {
  return guarded("routing", [&]() -> Result<Routing> {
    MSA_TRY(check_question(question));
    const Model::Impl& model = impl_->model.impl();
    const std::lock_guard lock(model.busy);
    MSA_ASSIGN(Impl::Query query, impl_->query(top_k));
    Router& router = query.router;
    const QuestionTokens prompt = question_tokens(*model.tokenizer, question);
    std::vector<uint8_t> routes(prompt.tokens.size(), 0);
    std::fill_n(routes.begin(), prompt.routing, uint8_t{1});
    MSA_TRY(impl_->decoder.prefill(prompt.tokens, routes, model.prefix->tokens + router.top_k(),
                                   &router));
    return Impl::describe(query);
  });
}

Result<Answer> Engine::ask(std::string_view question, const AskOptions& options,
                           const TokenCallback& on_token, std::stop_token stop) const {
  return guarded("answering", [&] { return answer(*impl_, question, options, on_token, stop); });
}

}  // namespace msa
