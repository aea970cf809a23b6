#include "plan/capacity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "plan/arithmetic.h"

namespace msa::plan {
namespace {

constexpr uint64_t kReferenceGpu = uint64_t{24} << 30;
constexpr uint64_t kWeightBytes = 2;       // of a parameter, and of a value of the context: bf16
constexpr uint64_t kIndexEntryBytes = 12;  // of a document in a snapshot: number, row, chunks

// By how many standard deviations of documents' scores a score can be off, as compressed keys are
// held. For each of 16 out of 25,000 documents 8.9 were scored again with int8, 5.4 with int4
// (`msa bench`).
constexpr double kInt8Error = 0.69, kInt4Error = 0.52;
// The router scores so many first, for each document wanted and in all.
constexpr double kFirstEach = 4, kFirst = 16;

// The share of a normal distribution above x, and where a share begins.
double upper_tail(double x) {
  return std::erfc(x / std::sqrt(2.0)) / 2;
}
double tail_begin(double share) {
  double low = -40, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (upper_tail(middle) > share ? low : high) = middle;
  }
  return low;
}

uint64_t minus(uint64_t a, uint64_t b) {
  return a > b ? a - b : 0;
}

// The smallest memory of which `bytes` are left after its reserve.
uint64_t with_reserve(uint64_t bytes) {
  return divide_up(bytes, kReserveShare - 1) * kReserveShare;
}

// Chunks of `documents` documents of average length.
uint64_t chunks_of(const MemoryBytes& m, uint64_t documents) {
  const uint64_t count = std::min(documents, m.documents);
  const auto chunks = checked_mul(count, divide_up(m.chunks, m.documents));
  return chunks ? std::min(*chunks, m.chunks) : m.chunks;
}

Result<uint64_t> context_bytes(const PlanModel& model, const CapacityRequest& request,
                               const MemoryBytes& m) {
  const uint64_t row = 2 * model.kv_width() * kWeightBytes;  // key and value
  const auto tokens = checked_product<uint64_t>({request.context_tokens, model.layers, row});
  const uint64_t documents = chunks_of(m, model.top_k) * model.router_layers * row;
  if (!tokens || *tokens > kMostBytes)
    return Error{Code::invalid_argument,
                 fmt::format("a context of {} tokens: takes more than 2^60 bytes; plan a shorter "
                             "one",
                             request.context_tokens)};
  return *tokens + documents;
}

Result<void> check_machine(const Machine& machine) {
  const auto gpus = checked_mul(machine.gpu_bytes, machine.gpus);
  if (!gpus || *gpus > kMostBytes || machine.ram_bytes > kMostBytes)
    return Error{Code::invalid_argument,
                 fmt::format("a machine with {} bytes of RAM and {} GPUs of {} bytes: is larger "
                             "than 2^60 bytes; give the sizes of a real one",
                             machine.ram_bytes, machine.gpus, machine.gpu_bytes)};
  return {};
}

struct Needs {
  uint64_t weights = 0, context = 0;
};

Placement place(const MemoryBytes& m, const Needs& needs, const Machine& machine) {
  Placement p;
  p.gpu.size = machine.gpu_bytes * machine.gpus;
  p.gpu.reserve = p.gpu.size / kReserveShare;
  p.ram.size = machine.ram_bytes;
  p.ram.reserve = p.ram.size / kReserveShare;
  p.ram.index = m.documents * kIndexEntryBytes;

  if (machine.gpus > 0) {
    const uint64_t room = minus(machine.gpu_bytes, machine.gpu_bytes / kReserveShare);
    p.gpu_too_small = needs.weights + needs.context > room;
    if (!p.gpu_too_small) {
      p.model = Tier::gpu;
      p.gpu.model = needs.weights * machine.gpus;
      p.gpu.context = needs.context * machine.gpus;
      // Documents are split so that every GPU has about as many chunks.
      if (divide_up(m.keys, machine.gpus) <= room - needs.weights - needs.context) {
        p.keys = Tier::gpu;
        p.gpu.memory = m.keys;
      }
    }
  }
  if (p.model == Tier::ram) {
    p.ram.model = needs.weights;
    p.ram.context = needs.context;
  }
  p.model_fits = p.ram.used() <= p.ram.size;

  const auto take = [&](uint64_t bytes) {
    if (!p.model_fits || bytes > p.ram.free()) return Tier::disk;
    p.ram.memory += bytes;
    return Tier::ram;
  };
  if (p.keys != Tier::gpu) p.keys = take(m.keys);
  if (p.keys == Tier::disk && is_compressed(m.key_format)) p.keys = Tier::none;
  p.full_keys = m.full_keys > 0 ? take(m.full_keys) : p.keys;
  p.content = take(m.content());
  return p;
}

Rate bandwidth_of(Tier tier, const Machine& machine) {
  switch (tier) {
    case Tier::gpu:
      return {machine.gpu_bandwidth.per_second * static_cast<double>(machine.gpus),
              machine.gpu_bandwidth.source};
    case Tier::ram: return machine.ram_bandwidth;
    case Tier::disk: return machine.disk_bandwidth;
    case Tier::none: break;
  }
  return {0, Source::derived};
}

Rate flops_of(Tier tier, const Machine& machine) {
  if (tier != Tier::gpu) return machine.cpu_flops;
  return {machine.gpu_flops.per_second * static_cast<double>(machine.gpus),
          machine.gpu_flops.source};
}

double seconds(uint64_t bytes, const Rate& rate) {
  return static_cast<double>(bytes) / rate.per_second;
}

RoutingTime routing_time(const PlanModel& model, const CapacityRequest& request,
                         const MemoryBytes& m, const Placement& p) {
  RoutingTime t;
  t.scanned_bytes = m.keys;
  t.bandwidth = bandwidth_of(p.keys, request.machine);
  t.flops = flops_of(p.keys, request.machine);
  t.read_seconds = seconds(m.keys, t.bandwidth);
  // Heads that are reduced by mean are summed first, per key/value head.
  const uint64_t width = model.folds ? model.kv_width() : model.query_heads * model.head_dim;
  t.products = 2.0 * static_cast<double>(request.routing_tokens) * static_cast<double>(m.chunks) *
               static_cast<double>(width) * static_cast<double>(model.router_layers);
  t.compute_seconds = t.products / t.flops.per_second;
  if (m.full_keys > 0) {
    const double each = candidates_per_document(m.key_format, m.documents, model.top_k);
    const auto candidates =
        static_cast<uint64_t>(std::llround(each * static_cast<double>(model.top_k)));
    t.rescored_bytes = chunks_of(m, candidates) * model.router_layers *
                       row_bytes(m.full_key_format, model.kv_heads, model.head_dim);
    t.rescore_seconds = seconds(t.rescored_bytes, bandwidth_of(p.full_keys, request.machine));
  }
  t.fetched_bytes = chunks_of(m, model.top_k) * model.router_layers *
                    content_row_bytes(m.content_format, model.kv_heads, model.head_dim);
  t.fetch_seconds = seconds(t.fetched_bytes, bandwidth_of(p.content, request.machine));
  return t;
}

EncodeTime encode_time(const PlanModel& model, const CapacityRequest& request, const Placement& p) {
  EncodeTime t;
  t.tokens = request.encode_tokens.value_or(
      Rate{flops_of(p.model, request.machine).per_second * kEncodeShare /
               (2.0 * static_cast<double>(model.layer_parameters)),
           Source::derived});
  t.seconds = static_cast<double>(request.memory.tokens) / t.tokens.per_second;
  return t;
}

// From the format that banks hold in full to the smallest.
std::vector<Format> formats(Format full, bool with_int4) {
  std::vector<Format> all;
  if (full == Format::f32) all.push_back(Format::f32);
  all.insert(all.end(), {Format::bf16, Format::int8});
  if (with_int4) all.push_back(Format::int4);
  return all;
}

uint64_t tokens_that_fit(uint64_t room, uint64_t bytes, uint64_t tokens) {
  const double share = static_cast<double>(room) / static_cast<double>(bytes);
  const double most = share * static_cast<double>(tokens);
  return most < 1e18 ? static_cast<uint64_t>(most) : uint64_t{1'000'000'000'000'000'000};
}

FitOption fit_option(Format format, uint64_t bytes, const Fit& fit, uint64_t tokens) {
  const bool gpu = fit.part == Fit::Part::keys_on_gpu;
  const uint64_t machines = gpu ? fit.gpus : 1;
  const uint64_t room = minus(fit.budget, fit.beside);
  const uint64_t each = divide_up(bytes, machines);
  FitOption option;
  option.format = format;
  option.bytes = bytes;
  option.fits = fit.beside <= fit.budget && each <= room;
  option.needed = with_reserve(fit.beside - fit.budget / kReserveShare + each);
  option.tokens = tokens_that_fit(room * machines, bytes, tokens);
  if (gpu && room > 0) option.gpus = divide_up(bytes, room);
  return option;
}

Result<std::vector<Fit>> find_fits(const CapacityPlan& plan) {
  const Machine& machine = plan.request.machine;
  const Needs needs{plan.weight_bytes, plan.context_bytes};
  const uint64_t tokens = plan.request.memory.tokens;
  const bool gpu = machine.gpus > 0;

  Fit on_gpu;
  on_gpu.part = Fit::Part::keys_on_gpu;
  on_gpu.budget = gpu ? machine.gpu_bytes : kReferenceGpu;
  on_gpu.gpus = gpu ? machine.gpus : 1;
  on_gpu.beside = on_gpu.budget / kReserveShare + needs.weights + needs.context;

  const TierUse& ram = plan.placement.ram;
  Fit in_ram;
  in_ram.part = Fit::Part::keys_in_ram;
  in_ram.budget = ram.size;
  in_ram.beside = ram.reserve + ram.model + ram.context + ram.index;

  Fit content;
  content.part = Fit::Part::content_in_ram;
  content.budget = ram.size;
  content.beside = ram.used() - (plan.placement.content == Tier::ram ? plan.bytes.content() : 0);

  MemoryRequest memory = plan.request.memory;
  for (const Format format : formats(plan.bytes.full_key_format, true)) {
    memory.keys = format;
    MSA_ASSIGN(const MemoryBytes bytes, memory_bytes(plan.model, memory));
    on_gpu.options.push_back(fit_option(format, bytes.keys, on_gpu, tokens));
    in_ram.options.push_back(fit_option(format, bytes.keys, in_ram, tokens));
  }
  memory = plan.request.memory;
  for (const Format format : formats(memory.content, false)) {
    memory.content = format;
    MSA_ASSIGN(const MemoryBytes bytes, memory_bytes(plan.model, memory));
    content.options.push_back(fit_option(format, bytes.content(), content, tokens));
  }
  return std::vector<Fit>{std::move(on_gpu), std::move(in_ram), std::move(content)};
}

}  // namespace

double candidates_per_document(Format keys, uint64_t documents, uint64_t k) {
  if (k == 0 || documents <= k) return 1;
  const double share = static_cast<double>(k) / static_cast<double>(documents);
  const double error = keys == Format::int8 ? kInt8Error : kInt4Error;
  const double within = upper_tail(tail_begin(share) - error) / share;
  const double first = std::max(kFirstEach, kFirst / static_cast<double>(k));
  return std::min(std::max(within, first), std::min(kMostCandidates, 1 / share));
}

std::string_view name_of(Tier tier) {
  switch (tier) {
    case Tier::gpu: return "GPU";
    case Tier::ram: return "RAM";
    case Tier::disk: return "disk";
    case Tier::none: return "nowhere";
  }
  return "?";
}

std::string_view name_of(Source source) {
  switch (source) {
    case Source::given: return "given";
    case Source::measured: return "measured";
    case Source::assumed: return "assumed";
    case Source::derived: return "derived";
  }
  return "?";
}

Result<CapacityPlan> plan_capacity(const PlanModel& model, const CapacityRequest& request) {
  MSA_TRY(check_machine(request.machine));
  CapacityPlan plan;
  plan.model = model;
  plan.request = request;
  MSA_ASSIGN(plan.bytes, memory_bytes(model, request.memory));
  plan.weight_bytes = model.parameters * kWeightBytes;
  MSA_ASSIGN(plan.context_bytes, context_bytes(model, request, plan.bytes));
  const Needs needs{plan.weight_bytes, plan.context_bytes};
  plan.placement = place(plan.bytes, needs, request.machine);
  plan.routing = routing_time(model, request, plan.bytes, plan.placement);
  plan.encode = encode_time(model, request, plan.placement);

  MemoryRequest other = request.memory;
  for (const Format content : formats(request.memory.content, false))
    for (const Format keys : formats(plan.bytes.full_key_format, true)) {
      other.keys = keys;
      other.content = content;
      Choice choice;
      MSA_ASSIGN(choice.bytes, memory_bytes(model, other));
      choice.placement = place(choice.bytes, needs, request.machine);
      choice.routing = routing_time(model, request, choice.bytes, choice.placement);
      plan.choices.push_back(std::move(choice));
    }
  MSA_ASSIGN(plan.fits, find_fits(plan));
  return plan;
}

}  // namespace msa::plan
