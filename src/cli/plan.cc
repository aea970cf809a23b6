// msa plan: what a memory of a given size needs, before anything is encoded.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "cli/options.h"
#include "cli/plan_report.h"
#include "plan/bandwidth.h"
#include "plan/capacity.h"
#include "plan/model.h"
#include "plan/quantity.h"

namespace msa::cli {
namespace {

struct PlanArguments {
  std::string model, tokens, documents, keys = "bf16", content = "bf16";
  std::string ram, gpu, bandwidth, gpu_bandwidth, disk_bandwidth, flops, gpu_flops, encode_rate;
  uint64_t gpus = 1, routing_tokens = plan::CapacityRequest().routing_tokens;
  double text_bytes_per_token = plan::kTextBytesPerToken;
  bool json = false;
};

using Parse = Result<double>(std::string_view text, std::string_view what);

// Replaces `rate` if something was given.
Result<void> read_rate(const std::string& text, const char* option, Parse* parse,
                       plan::Rate& rate) {
  if (text.empty()) return {};
  MSA_ASSIGN(rate.per_second, parse(text, option));
  rate.source = plan::Source::given;
  return {};
}

Result<plan::MemoryRequest> memory_of(const PlanArguments& a) {
  plan::MemoryRequest memory;
  MSA_ASSIGN(memory.tokens, plan::parse_count(a.tokens, "--tokens"));
  if (!a.documents.empty()) {
    MSA_ASSIGN(memory.documents, plan::parse_count(a.documents, "--documents"));
  }
  MSA_ASSIGN(memory.keys, plan::parse_format(a.keys, "--keys"));
  MSA_ASSIGN(memory.content, plan::parse_format(a.content, "--content"));
  memory.text_bytes_per_token = a.text_bytes_per_token;
  return memory;
}

Result<plan::Machine> machine_of(Session& session, const PlanArguments& a) {
  plan::Machine machine;
  if (!a.ram.empty()) {
    MSA_ASSIGN(machine.ram_bytes, plan::parse_bytes(a.ram, "--ram"));
    machine.ram_source = plan::Source::given;
  }
  if (!a.gpu.empty()) {
    MSA_ASSIGN(machine.gpu_bytes, plan::parse_bytes(a.gpu, "--gpu"));
    machine.gpus = a.gpus;
  }
  MSA_TRY(
      read_rate(a.gpu_bandwidth, "--gpu-bandwidth", plan::parse_bandwidth, machine.gpu_bandwidth));
  MSA_TRY(read_rate(a.disk_bandwidth, "--disk-bandwidth", plan::parse_bandwidth,
                    machine.disk_bandwidth));
  MSA_TRY(read_rate(a.flops, "--flops", plan::parse_rate, machine.cpu_flops));
  MSA_TRY(read_rate(a.gpu_flops, "--gpu-flops", plan::parse_rate, machine.gpu_flops));
  if (a.bandwidth == "measure") {
    MSA_ASSIGN(machine.ram_bandwidth.per_second,
               plan::measure_memory_bandwidth(session.global.threads));
    machine.ram_bandwidth.source = plan::Source::measured;
  } else {
    MSA_TRY(read_rate(a.bandwidth, "--bandwidth", plan::parse_bandwidth, machine.ram_bandwidth));
  }
  return machine;
}

Result<ExitCode> run_plan(Session& session, const PlanArguments& a) {
  if (a.model.empty())
    return Error{Code::invalid_argument,
                 "no model given; pass --model FOLDER, or --model msa-4b for the published shape"};
  if (a.gpu.empty() && a.gpus != 1)
    return Error{Code::invalid_argument,
                 fmt::format("--gpus: {} GPUs of no size; pass --gpu SIZE as well", a.gpus)};
  plan::CapacityRequest request;
  MSA_ASSIGN(const plan::PlanModel model, plan::read_plan_model(a.model));
  MSA_ASSIGN(request.memory, memory_of(a));
  request.routing_tokens = a.routing_tokens;
  if (!a.encode_rate.empty()) {
    request.encode_tokens.emplace();
    MSA_TRY(read_rate(a.encode_rate, "--encode-rate", plan::parse_rate, *request.encode_tokens));
  }
  MSA_ASSIGN(request.machine, machine_of(session, a));
  MSA_ASSIGN(const plan::CapacityPlan capacity, plan::plan_capacity(model, request));
  session.out.write(a.json ? dump(to_json(capacity)) + "\n" : plan_text(capacity));
  return ExitCode::ok;
}

}  // namespace

void add_plan(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<PlanArguments>();
  PlanArguments& a = *arguments;
  CLI::App& command =
      *app.add_subcommand("plan", "What a memory of a given size needs, and where it fits");
  const auto text = [&](const char* name, std::string& value, const char* type,
                        const char* description) {
    return command.add_option(name, value, description)->type_name(type);
  };
  text("-m,--model", a.model, "FOLDER",
       "Model folder, of which config.json alone is read; or msa-4b, the published shape")
      ->envname("MSA_MODEL");
  text("--tokens", a.tokens, "N", "Tokens of all documents: 250000, 100M, 1.5G")->required();
  text("--documents", a.documents, "N", "How many documents they are in [512 tokens each]");
  text("--keys", a.keys, "FORMAT", "Routing keys that are scanned: f32, bf16, int8 or int4")
      ->check(one_of({"f32", "bf16", "int8", "int4"}))
      ->capture_default_str();
  text("--content", a.content, "FORMAT", "Pooled keys and values: f32, bf16 or int8")
      ->check(one_of({"f32", "bf16", "int8"}))
      ->capture_default_str();
  text("--ram", a.ram, "SIZE", "RAM: 64G or 64GiB, 64GB [64G]");
  text("--gpu", a.gpu, "SIZE", "Memory of a GPU: 24G [no GPU]");
  command.add_option("--gpus", a.gpus, "How many such GPUs")
      ->type_name("N")
      ->check(whole_number(1, 65536))
      ->capture_default_str();
  text("--bandwidth", a.bandwidth, "RATE",
       "Bytes per second from RAM, or measure: on this machine [40GB/s]");
  text("--gpu-bandwidth", a.gpu_bandwidth, "RATE", "The same from a GPU's memory [1TB/s]");
  text("--disk-bandwidth", a.disk_bandwidth, "RATE", "The same from disk [3GB/s]");
  text("--flops", a.flops, "RATE", "Of the processor's matrix products in bf16 [1T]");
  text("--gpu-flops", a.gpu_flops, "RATE", "Of a GPU's [100T]");
  text("--encode-rate", a.encode_rate, "RATE",
       "Tokens encoded per second [60% of the matrix products]");
  command.add_option("--routing-tokens", a.routing_tokens, "Tokens of a question that route")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  command.add_option("--bytes-per-token", a.text_bytes_per_token, "Bytes of text per token")
      ->type_name("X")
      ->check(real_number(0, 1000))
      ->capture_default_str();
  add_json_flag(command, a.json);
  command.footer(
      "Nothing is read but the model's config.json, and nothing is written. What is not given is\n"
      "assumed, and the plan says so; docs/capacity.md explains every line of it.\n\n"
      "Examples:\n"
      "  msa plan --model msa-4b --tokens 100M\n"
      "  msa plan --model models/MSA-4B --tokens 100M --keys int4 --gpu 24G --ram 64G\n"
      "  msa plan --model models/demo --tokens 10M --documents 40K --bandwidth measure --json\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_plan(session, *arguments); };
  });
}

}  // namespace msa::cli
