#include "plan/capacity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace msa::plan {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kGiB = uint64_t{1} << 30;
using Part = Fit::Part;

PlanModel msa_4b() {
  return *read_plan_model("msa-4b");
}

CapacityRequest request_100m(Format keys = Format::bf16, Format content = Format::bf16) {
  CapacityRequest request;
  request.memory.tokens = 100'000'000;
  request.memory.keys = keys;
  request.memory.content = content;
  return request;
}

CapacityPlan plan_of(const CapacityRequest& request, const PlanModel& model = msa_4b()) {
  auto plan = plan_capacity(model, request);
  EXPECT_TRUE(plan) << plan.error().message;
  return plan ? *std::move(plan) : CapacityPlan{};
}

const Fit& fit_of(const CapacityPlan& plan, Part part) {
  for (const Fit& fit : plan.fits)
    if (fit.part == part) return fit;
  ADD_FAILURE() << "no such part";
  return plan.fits.front();
}

const FitOption& option_of(const Fit& fit, Format format) {
  for (const FitOption& option : fit.options)
    if (option.format == format) return option;
  ADD_FAILURE() << "no such format";
  return fit.options.front();
}

// The published set-up: two GPUs of 80 GB hold the keys, RAM the content.
TEST(Capacity, ThePublishedMachineFits) {
  CapacityRequest request = request_100m();
  request.machine.gpu_bytes = 80 * kGiB;
  request.machine.gpus = 2;
  request.machine.ram_bytes = 256 * kGiB;
  request.machine.gpu_bandwidth = {2e12, Source::given};
  const CapacityPlan plan = plan_of(request);
  EXPECT_TRUE(plan.placement.model_fits);
  EXPECT_EQ(plan.placement.model, Tier::gpu);
  EXPECT_EQ(plan.placement.keys, Tier::gpu);
  EXPECT_EQ(plan.placement.content, Tier::ram);
  EXPECT_EQ(plan.placement.gpu.memory, 57'600'000'000u);
  EXPECT_EQ(plan.placement.gpu.model, 2 * plan.weight_bytes);  // one copy on each
  EXPECT_EQ(plan.placement.ram.memory, 115'200'000'000u);
  EXPECT_EQ(plan.placement.ram.model, 0u);
  // 57.6e9 bytes over two times 2e12 bytes/s.
  EXPECT_EQ(plan.routing.scanned_bytes, 57'600'000'000u);
  EXPECT_NEAR(plan.routing.read_seconds, 0.0144, 1e-9);
  EXPECT_EQ(plan.routing.rescored_bytes, 0u);
}

// What design and formula give for the two machines people have.
TEST(Capacity, SaysWhatMakes100MTokensFit24GiBOfGpuMemory) {
  const CapacityPlan plan = plan_of(request_100m());
  const Fit& gpu = fit_of(plan, Part::keys_on_gpu);
  EXPECT_EQ(gpu.budget, 24 * kGiB);  // the reference: none was given
  EXPECT_EQ(gpu.beside, 24 * kGiB / 16 + plan.weight_bytes + plan.context_bytes);
  EXPECT_FALSE(option_of(gpu, Format::bf16).fits);
  EXPECT_FALSE(option_of(gpu, Format::int8).fits);
  const FitOption& int4 = option_of(gpu, Format::int4);
  EXPECT_TRUE(int4.fits);
  EXPECT_EQ(int4.bytes, 14'850'000'000u);  // (64 + 2) bytes a head: a scale with 128 half bytes
  EXPECT_LE(int4.needed, 24 * kGiB);
  EXPECT_EQ(int4.gpus, 1u);
  EXPECT_GE(int4.tokens, 100'000'000u);
  // So many GPUs hold it in bf16, and one fewer does not.
  CapacityRequest several = request_100m();
  several.machine.gpu_bytes = 24 * kGiB;
  several.machine.gpus = option_of(gpu, Format::bf16).gpus;
  EXPECT_GT(several.machine.gpus, 1u);
  EXPECT_EQ(plan_of(several).placement.keys, Tier::gpu);
  several.machine.gpus -= 1;
  EXPECT_NE(plan_of(several).placement.keys, Tier::gpu);
}

TEST(Capacity, SaysWhatMakes100MTokensFit64GiBOfRam) {
  const CapacityPlan plan = plan_of(request_100m());
  EXPECT_EQ(plan.placement.model, Tier::ram);
  EXPECT_EQ(plan.placement.keys, Tier::disk);  // 57.6 GB beside 8.5 GB of weights and the reserve
  const Fit& ram = fit_of(plan, Part::keys_in_ram);
  EXPECT_EQ(ram.budget, 64 * kGiB);
  EXPECT_FALSE(option_of(ram, Format::bf16).fits);
  EXPECT_TRUE(option_of(ram, Format::int8).fits);
  EXPECT_EQ(option_of(ram, Format::bf16).gpus, 0u);
  EXPECT_EQ(plan_of(request_100m(Format::int8)).placement.keys, Tier::ram);
  const Fit& content = fit_of(plan, Part::content_in_ram);
  EXPECT_FALSE(option_of(content, Format::bf16).fits);
  EXPECT_FALSE(option_of(content, Format::int8).fits);
}

// What `needed` and `tokens` promise, planned.
TEST(Capacity, PromisesOfFitsAreKept) {
  for (const Format format : {Format::bf16, Format::int8, Format::int4}) {
    const CapacityPlan plan = plan_of(request_100m(format));
    for (const Part part : {Part::keys_on_gpu, Part::keys_in_ram}) {
      const FitOption option = option_of(fit_of(plan, part), format);
      CapacityRequest request = request_100m(format);
      const bool gpu = part == Part::keys_on_gpu;
      (gpu ? request.machine.gpu_bytes : request.machine.ram_bytes) = option.needed;
      request.machine.gpus = gpu ? 1 : 0;
      EXPECT_EQ(plan_of(request).placement.keys, gpu ? Tier::gpu : Tier::ram) << name_of(format);
      // Less than the reserve's rounding below it: no more.
      (gpu ? request.machine.gpu_bytes : request.machine.ram_bytes) = option.needed - 64;
      EXPECT_NE(plan_of(request).placement.keys, gpu ? Tier::gpu : Tier::ram) << name_of(format);

      CapacityRequest fewer = request_100m(format);
      fewer.memory.tokens = option.tokens * 999 / 1000;
      fewer.machine.gpu_bytes = gpu ? 24 * kGiB : 0;
      fewer.machine.gpus = gpu ? 1 : 0;
      EXPECT_EQ(plan_of(fewer).placement.keys, gpu ? Tier::gpu : Tier::ram) << name_of(format);
      fewer.memory.tokens = option.tokens * 1001 / 1000;
      EXPECT_NE(plan_of(fewer).placement.keys, gpu ? Tier::gpu : Tier::ram) << name_of(format);
    }
  }
}

TEST(Capacity, RamIsFilledInOrder) {
  CapacityRequest request = request_100m(Format::int4);
  request.machine.gpu_bytes = 24 * kGiB;
  request.machine.gpus = 1;
  // The compressed keys are on the GPU; the full ones go before the content, which is larger.
  request.machine.ram_bytes = 64 * kGiB;
  Placement p = plan_of(request).placement;
  EXPECT_EQ(p.keys, Tier::gpu);
  EXPECT_EQ(p.full_keys, Tier::ram);
  EXPECT_EQ(p.content, Tier::disk);
  EXPECT_EQ(p.ram.memory, 57'600'000'000u);
  request.machine.ram_bytes = 256 * kGiB;
  p = plan_of(request).placement;
  EXPECT_EQ(p.full_keys, Tier::ram);
  EXPECT_EQ(p.content, Tier::ram);
  // Compressed keys are never on disk: there they lie in full only.
  CapacityRequest no_gpu = request_100m(Format::int8);
  no_gpu.machine.ram_bytes = 32 * kGiB;
  const CapacityPlan nowhere = plan_of(no_gpu);
  EXPECT_TRUE(nowhere.placement.model_fits);
  EXPECT_EQ(nowhere.placement.keys, Tier::none);
  EXPECT_EQ(nowhere.placement.full_keys, Tier::disk);
  EXPECT_EQ(nowhere.placement.ram.memory, 0u);
  EXPECT_FALSE(std::isfinite(nowhere.routing.seconds()));
  no_gpu.memory.keys = Format::int4;
  EXPECT_EQ(plan_of(no_gpu).placement.keys, Tier::ram);
  no_gpu.memory.keys = Format::bf16;
  EXPECT_EQ(plan_of(no_gpu).placement.keys, Tier::disk);

  request.machine.ram_bytes = 8 * kGiB;
  p = plan_of(request).placement;
  EXPECT_EQ(p.full_keys, Tier::disk);
  EXPECT_EQ(p.content, Tier::disk);
  EXPECT_EQ(p.ram.memory, 0u);
  for (const TierUse& use : {p.gpu, p.ram}) EXPECT_LE(use.used(), use.size);
}

TEST(Capacity, MachinesThatAreTooSmallAreSaidToBe) {
  CapacityRequest request = request_100m();
  request.machine.gpu_bytes = 4 * kGiB;
  request.machine.gpus = 1;
  CapacityPlan plan = plan_of(request);
  EXPECT_TRUE(plan.placement.gpu_too_small);
  EXPECT_EQ(plan.placement.model, Tier::ram);
  EXPECT_TRUE(plan.placement.model_fits);
  EXPECT_NE(plan.placement.keys, Tier::gpu);
  EXPECT_EQ(option_of(fit_of(plan, Part::keys_on_gpu), Format::int4).gpus, 0u);  // no number helps
  EXPECT_EQ(option_of(fit_of(plan, Part::keys_on_gpu), Format::int4).tokens, 0u);
  request.machine.ram_bytes = 4 * kGiB;
  plan = plan_of(request);
  EXPECT_FALSE(plan.placement.model_fits);
  EXPECT_EQ(plan.placement.keys, Tier::disk);
  EXPECT_EQ(plan.placement.content, Tier::disk);
  EXPECT_EQ(plan.placement.ram.free(), 0u);
}

TEST(Capacity, RoutingIsTheSlowerOfReadingAndComputing) {
  CapacityRequest request = request_100m();
  request.machine.ram_bytes = 512 * kGiB;
  request.machine.ram_bandwidth = {50e9, Source::given};
  request.machine.cpu_flops = {1e12, Source::given};
  request.routing_tokens = 1;
  RoutingTime t = plan_of(request).routing;
  EXPECT_NEAR(t.read_seconds, 1.152, 1e-9);
  EXPECT_NEAR(t.products, 2.0 * 1'562'500 * 1024 * 18, 1);
  EXPECT_DOUBLE_EQ(t.scan_seconds(), t.read_seconds);
  request.routing_tokens = 100;
  t = plan_of(request).routing;
  EXPECT_NEAR(t.compute_seconds, 2.0 * 100 * 1'562'500 * 1024 * 18 / 1e12, 1e-6);
  EXPECT_DOUBLE_EQ(t.scan_seconds(), t.compute_seconds);
  // Without the fold every query head has its own product: four times as many.
  PlanModel unfolded = msa_4b();
  unfolded.folds = false;
  EXPECT_DOUBLE_EQ(plan_of(request, unfolded).routing.products, 4 * t.products);
  // 16 documents of 8 chunks, keys and values of 18 layers.
  EXPECT_EQ(t.fetched_bytes, 16u * 8 * 18 * 2 * 2048);
  EXPECT_EQ(t.bandwidth.source, Source::given);
}

TEST(Capacity, CompressedKeysCostARescoring) {
  CapacityRequest request = request_100m(Format::int8);
  request.machine.disk_bandwidth = {1e9, Source::given};
  const CapacityPlan plan = plan_of(request);
  EXPECT_EQ(plan.placement.full_keys, Tier::disk);
  const double candidates = candidates_per_document(Format::int8, plan.bytes.documents, 16);
  EXPECT_EQ(plan.routing.rescored_bytes,
            static_cast<uint64_t>(std::llround(16 * candidates)) * 8 * 18 * 2048);
  EXPECT_NEAR(plan.routing.rescore_seconds, static_cast<double>(plan.routing.rescored_bytes) / 1e9,
              1e-9);
  EXPECT_DOUBLE_EQ(
      plan.routing.seconds(),
      plan.routing.scan_seconds() + plan.routing.rescore_seconds + plan.routing.fetch_seconds);
}

TEST(Capacity, CandidatesAreThoseWithinTheErrorOfTheKeys) {
  // What was counted, to the digit that the errors are given with.
  EXPECT_NEAR(candidates_per_document(Format::int8, 25'000, 16), 8.9, 0.2);
  EXPECT_NEAR(candidates_per_document(Format::int4, 25'000, 16), 5.4, 0.1);
  EXPECT_EQ(candidates_per_document(Format::int4, 25'000, 1), 16);
  for (const Format format : {Format::int8, Format::int4}) {
    EXPECT_EQ(candidates_per_document(format, 1, 16), 1);
    EXPECT_EQ(candidates_per_document(format, 16, 16), 1);
    EXPECT_LE(candidates_per_document(format, 20, 16), 20.0 / 16);  // no more than there are
    double before = 1;
    for (uint64_t documents = 100; documents < 4'000'000'000; documents *= 10) {
      const double now = candidates_per_document(format, documents, 16);
      EXPECT_GE(now, before);
      EXPECT_LE(now, kMostCandidates);
      // Ten times the documents are by far not ten times the candidates.
      EXPECT_LT(now, 7 * before);
      before = now;
    }
  }
}

// One enormous document is all that there is to attend to.
TEST(Capacity, FetchedContentIsNeverMoreThanThereIs) {
  CapacityRequest request;
  request.memory.tokens = 1'000'000;
  request.memory.documents = 1;
  EXPECT_EQ(plan_of(request).routing.fetched_bytes, plan_of(request).bytes.content());
  request.memory.documents = 3;
  EXPECT_EQ(plan_of(request).routing.fetched_bytes, plan_of(request).bytes.content());
}

TEST(Capacity, EncodingTakesTokensOverARate) {
  CapacityRequest request = request_100m();
  request.encode_tokens = Rate{2000, Source::given};
  EXPECT_DOUBLE_EQ(plan_of(request).encode.seconds, 50'000);
  request.encode_tokens.reset();
  const CapacityPlan plan = plan_of(request);
  EXPECT_EQ(plan.encode.tokens.source, Source::derived);
  EXPECT_NEAR(plan.encode.tokens.per_second,
              1e12 * kEncodeShare / (2.0 * static_cast<double>(plan.model.layer_parameters)), 1e-6);
  request.machine.gpu_bytes = 24 * kGiB;
  request.machine.gpus = 2;
  EXPECT_NEAR(plan_of(request).encode.tokens.per_second / plan.encode.tokens.per_second, 200, 1e-6);
}

TEST(Capacity, ChoicesAreAllFormatsAndAgreeWithTheirOwnPlans) {
  const CapacityPlan plan = plan_of(request_100m());
  ASSERT_EQ(plan.choices.size(), 6u);
  size_t writable = 0;
  for (const Choice& choice : plan.choices) {
    const CapacityPlan own =
        plan_of(request_100m(choice.bytes.key_format, choice.bytes.content_format));
    EXPECT_EQ(choice.bytes.disk(), own.bytes.disk());
    EXPECT_EQ(choice.placement.keys, own.placement.keys);
    EXPECT_EQ(choice.placement.content, own.placement.content);
    EXPECT_DOUBLE_EQ(choice.routing.seconds(), own.routing.seconds());
    if (is_writable(choice.bytes.key_format, choice.bytes.content_format)) ++writable;
  }
  EXPECT_EQ(writable, 6u);  // content in bf16 and int8, keys in bf16, int8 and int4
  EXPECT_TRUE(is_writable(Format::f32, Format::f32));
  EXPECT_FALSE(is_writable(Format::f32, Format::bf16));
  EXPECT_TRUE(is_writable(Format::int4, Format::f32));
  EXPECT_TRUE(is_writable(Format::int8, Format::int8));
  EXPECT_TRUE(is_writable(Format::f32, Format::int8));
  EXPECT_FALSE(is_writable(Format::bf16, Format::int4));
  EXPECT_FALSE(is_writable(Format::int4, Format::int4));
  EXPECT_EQ(plan_of(request_100m(Format::f32, Format::f32)).choices.size(), 12u);
}

TEST(Capacity, CostsGrowLinearly) {
  CapacityRequest request = request_100m();
  request.machine.ram_bytes = 4096 * kGiB;
  const CapacityPlan small = plan_of(request);
  request.memory.tokens *= 10;
  const CapacityPlan large = plan_of(request);
  EXPECT_EQ(large.bytes.vectors(), 10 * small.bytes.vectors());
  EXPECT_NEAR(large.routing.scan_seconds() / small.routing.scan_seconds(), 10, 1e-9);
  EXPECT_NEAR(large.encode.seconds / small.encode.seconds, 10, 1e-9);
  EXPECT_EQ(large.routing.fetched_bytes, small.routing.fetched_bytes);  // generation is flat
  EXPECT_EQ(large.context_bytes, small.context_bytes);
}

TEST(Capacity, AbsurdMachinesAreErrors) {
  CapacityRequest request = request_100m();
  request.machine.gpu_bytes = uint64_t{1} << 40;
  request.machine.gpus = uint64_t{1} << 40;
  EXPECT_THAT(plan_capacity(msa_4b(), request).error().message, HasSubstr("a real one"));
  request.machine.gpus = 0;
  request.machine.ram_bytes = UINT64_MAX;
  EXPECT_THAT(plan_capacity(msa_4b(), request).error().message, HasSubstr("a real one"));
  request.machine.ram_bytes = kGiB;
  request.context_tokens = UINT64_MAX;
  EXPECT_THAT(plan_capacity(msa_4b(), request).error().message, HasSubstr("context of"));
  request.context_tokens = 1;
  request.memory.tokens = UINT64_MAX;
  EXPECT_FALSE(plan_capacity(msa_4b(), request));
}

}  // namespace
}  // namespace msa::plan
