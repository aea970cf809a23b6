#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "base/random.h"
#include "samples/sample_source.h"

namespace msa {
namespace {

// The sources may have the same seed: keeps the random numbers apart.
constexpr uint64_t kSeedOfChoices = 0x63686f6963657321;

class MadeSamples final : public SampleSource {
 public:
  explicit MadeSamples(MakeSample make) : make_(std::move(make)) {}
  Result<Sample> next() override { return make_(position_++); }
  uint64_t position() const override { return position_; }
  Result<void> skip_to(uint64_t position) override {
    position_ = position;
    return {};
  }

 private:
  MakeSample make_;
  uint64_t position_ = 0;
};

class Mix final : public SampleSource {
 public:
  Mix(std::vector<WeightedSource> sources, uint64_t seed)
      : sources_(std::move(sources)), seed_(seed ^ kSeedOfChoices), taken_(sources_.size(), 0) {
    for (size_t s = 0; s < sources_.size(); ++s) {
      assert(sources_[s].weight >= 0 && std::isfinite(sources_[s].weight));
      total_ += sources_[s].weight;
      if (sources_[s].weight > 0) last_ = s;
    }
    assert(total_ > 0);
  }

  Result<Sample> next() override {
    const size_t chosen = choose(position_);
    MSA_ASSIGN(Sample sample, sources_[chosen].source->next());
    if (sources_[chosen].reading_share) sample.reading_share = sources_[chosen].reading_share;
    ++position_;
    ++taken_[chosen];
    return sample;
  }
  uint64_t position() const override { return position_; }

  // Choices depend on the position only, so they are made again, without the samples.
  Result<void> skip_to(uint64_t position) override {
    std::fill(taken_.begin(), taken_.end(), 0);
    for (uint64_t p = 0; p < position; ++p) ++taken_[choose(p)];
    for (size_t s = 0; s < sources_.size(); ++s) MSA_TRY(sources_[s].source->skip_to(taken_[s]));
    position_ = position;
    return {};
  }

 private:
  size_t choose(uint64_t position) const {
    double at = Random(seed_, position).uniform() * total_;
    for (size_t s = 0; s < last_; ++s) {
      at -= sources_[s].weight;
      if (at < 0) return s;
    }
    return last_;  // also where rounding left something over
  }

  std::vector<WeightedSource> sources_;
  uint64_t seed_;
  double total_ = 0;  // of the weights
  size_t last_ = 0;   // source that has a weight
  uint64_t position_ = 0;
  std::vector<uint64_t> taken_;  // samples drawn from each
};

}  // namespace

std::unique_ptr<SampleSource> make_sample_source(MakeSample make) {
  return std::make_unique<MadeSamples>(std::move(make));
}

std::unique_ptr<SampleSource> mix_sources(std::vector<WeightedSource> sources, uint64_t seed) {
  assert(!sources.empty());
  return std::make_unique<Mix>(std::move(sources), seed);
}

}  // namespace msa
