// Where a memory's parts fit on a machine, how long questions and encoding take there, and what
// would change that. Pure arithmetic: the same request gives the same plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "msa/result.h"
#include "plan/memory_bytes.h"

namespace msa::plan {

// `none`: nowhere. Compressed keys are made in memory when a bank is opened, and no disk holds
// them.
enum class Tier { gpu, ram, disk, none };
std::string_view name_of(Tier tier);

// A number of the plan, and where it comes from.
enum class Source { given, measured, assumed, derived };
std::string_view name_of(Source source);
struct Rate {
  double per_second = 0;
  Source source = Source::assumed;
};

// What is assumed of a machine where nothing is said: a desktop with two memory channels, a GPU of
// the 24 GB class, an NVMe disk.
struct Machine {
  uint64_t gpu_bytes = 0;  // of each GPU
  uint64_t gpus = 0;       // 0: the processor computes everything
  uint64_t ram_bytes = uint64_t{64} << 30;
  Source ram_source = Source::assumed;
  Rate gpu_bandwidth{1e12}, ram_bandwidth{40e9}, disk_bandwidth{3e9};  // bytes/s, of each GPU
  Rate gpu_flops{100e12}, cpu_flops{1e12};  // matrix products in bf16, of each GPU
};

struct CapacityRequest {
  MemoryRequest memory;
  Machine machine;
  uint64_t routing_tokens = 40;            // M, of a question and the text around it
  uint64_t context_tokens = 4096;          // question, retrieved text and answer
  std::optional<Rate> encode_tokens = {};  // tokens/s; default: derived from matrix products
};

// Of matrix products' rate, what encoding is taken to reach.
inline constexpr double kEncodeShare = 0.6;
// Of each memory, what is left to the system, to scratch space and to other programs.
inline constexpr uint64_t kReserveShare = 16;  // one sixteenth
// At most so many candidates does a scan over compressed keys score again, for each of the k
// documents it looks for.
inline constexpr double kMostCandidates = 256;
// How many they are, about: the documents whose scores are within the error of the keys of the k-th
// best, if scores are distributed normally. `keys` is int8 or int4. Grows slowly with the number of
// documents; docs/capacity.md says what it rests on.
double candidates_per_document(Format keys, uint64_t documents, uint64_t k);

// What lies in one tier's memory.
struct TierUse {
  uint64_t size = 0;     // of all GPUs together; 0: there is none
  uint64_t reserve = 0;  // kReserveShare of it
  uint64_t model = 0;    // weights in bf16; on each GPU
  uint64_t context = 0;  // of one question: keys and values of its tokens, and of its documents
  uint64_t memory = 0;   // parts of the memory placed here
  uint64_t index = 0;    // documents' places, in RAM

  uint64_t used() const { return reserve + model + context + memory + index; }
  uint64_t free() const { return used() < size ? size - used() : 0; }
};

// Where things are. The model and the keys go to GPU memory if they fit there as a whole, else to
// RAM, else the keys stay on disk, or nowhere if they are compressed. Then the uncompressed keys,
// then the content, go to RAM if they fit there, else they stay on disk. Texts and catalogue are on
// disk.
struct Placement {
  bool model_fits = false;  // somewhere
  Tier model = Tier::ram;
  bool gpu_too_small = false;  // there is one, but the model does not fit it
  Tier keys = Tier::disk, full_keys = Tier::disk, content = Tier::disk;
  TierUse gpu, ram;
};

// One question's routing, all router layers. Reading and computing overlap in the scan. Reading
// keys that are nowhere takes forever.
struct RoutingTime {
  uint64_t scanned_bytes = 0;  // routing keys
  double read_seconds = 0;     // over the bandwidth of the tier they are in
  double products = 0;         // floating-point operations
  double compute_seconds = 0;
  uint64_t rescored_bytes = 0;  // uncompressed keys of the candidates
  double rescore_seconds = 0;
  uint64_t fetched_bytes = 0;  // content of the documents chosen
  double fetch_seconds = 0;
  Rate bandwidth, flops;  // those used for the scan; of all GPUs together

  double scan_seconds() const {
    return read_seconds > compute_seconds ? read_seconds : compute_seconds;
  }
  double seconds() const { return scan_seconds() + rescore_seconds + fetch_seconds; }
};

struct EncodeTime {
  Rate tokens;  // per second
  double seconds = 0;
};

// The same memory in other formats.
struct Choice {
  MemoryBytes bytes;
  Placement placement;
  RoutingTime routing;
};

// One format in which something might fit one tier.
struct FitOption {
  Format format = Format::bf16;
  uint64_t bytes = 0;   // of the part itself
  uint64_t needed = 0;  // size of RAM or of one GPU's memory that would do, the rest counted
  bool fits = false;
  uint64_t tokens = 0;  // that fit what there is, about
  uint64_t gpus = 0;    // so many of this size would do; 0: none would. For GPU memory only
};

// What would make a part of the memory fit one tier.
struct Fit {
  enum class Part { keys_on_gpu, keys_in_ram, content_in_ram } part = Part::keys_on_gpu;
  uint64_t budget = 0;             // of one GPU, or RAM
  uint64_t gpus = 0;               // for Part::keys_on_gpu
  uint64_t beside = 0;             // model, context, reserve and whatever else is there already
  std::vector<FitOption> options;  // from the full format to the smallest
};

struct CapacityPlan {
  PlanModel model;
  CapacityRequest request;
  MemoryBytes bytes;
  uint64_t weight_bytes = 0;   // of the model in bf16
  uint64_t context_bytes = 0;  // TierUse::context
  Placement placement;
  RoutingTime routing;
  EncodeTime encode;
  std::vector<Choice> choices;
  // Keys on GPUs (one of 24 GiB if there is none), keys in RAM, content in RAM.
  std::vector<Fit> fits;
};

// Errors are those of memory_bytes(), and sizes above 2^60 bytes.
Result<CapacityPlan> plan_capacity(const PlanModel& model, const CapacityRequest& request);

}  // namespace msa::plan
