#include <fmt/format.h>

#include <cassert>
#include <utility>

#include "base/random.h"
#include "samples/sample_source.h"

namespace msa {
namespace {

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
      : sources_(std::move(sources)), seed_(seed), taken_(sources_.size(), 0) {
    for (const WeightedSource& source : sources_) total_ += source.weight;
  }

  Result<Sample> next() override {
    const size_t chosen = choose(position_);
    MSA_ASSIGN(Sample sample, sources_[chosen].source->next());
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
    for (size_t s = 0; s + 1 < sources_.size(); ++s) {
      at -= sources_[s].weight;
      if (at < 0) return s;
    }
    return sources_.size() - 1;
  }

  std::vector<WeightedSource> sources_;
  uint64_t seed_;
  double total_ = 0;
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
