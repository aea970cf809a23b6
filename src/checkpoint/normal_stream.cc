#include "checkpoint/normal_stream.h"

#include <array>
#include <bit>
#include <cmath>

namespace msa {
namespace {

// Spreads every bit of x over all bits of the result; a bijection (the finaliser of SplitMix64).
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// SplitMix64: 64 random bits per call from a counter.
class Bits {
 public:
  explicit Bits(uint64_t start) : state_(start) {}
  uint64_t next() { return mix(state_ += kOddStep); }
  double uniform() { return unit(next()); }
  // The upper 53 bits as a number in (0, 1).
  static double unit(uint64_t bits) {
    // By way of a signed number, for which processors have an instruction.
    return (static_cast<double>(static_cast<int64_t>(bits >> 11)) + 0.5) * 0x1p-53;
  }

  static constexpr uint64_t kOddStep = 0x9e3779b97f4a7c15u;  // 2^64 over the golden ratio

 private:
  uint64_t state_;
};

double density(double x) {
  return std::exp(-0.5 * x * x);
}

// Marsaglia and Tsang's ziggurat: the area under density(x), x >= 0, is cut into 256 layers of
// equal area. Layer i > 0 is the rectangle of width x[i] between the heights density(x[i]) and
// density(x[i + 1]); layer 0 is the bottom, the tail beyond x[1] included.
constexpr size_t kLayers = 256;
struct Ziggurat {
  std::array<double, kLayers + 1> x{}, height{};

  Ziggurat() {
    constexpr double kTail = 3.6541528853610088;      // where 256 layers come out even
    constexpr double kArea = 0.00492867323399141209;  // of each
    x[0] = kArea / density(kTail);
    x[1] = kTail;
    for (size_t i = 2; i < kLayers; ++i)
      x[i] = std::sqrt(-2 * std::log(density(x[i - 1]) + kArea / x[i - 1]));
    x[kLayers] = 0;
    for (size_t i = 0; i <= kLayers; ++i) height[i] = density(x[i]);
  }
};

// A number of the half distribution beyond `begin` (Marsaglia's method for the tail).
double tail(Bits& bits, double begin) {
  for (;;) {
    const double x = -std::log(bits.uniform()) / begin;
    const double y = -std::log(bits.uniform());
    if (2 * y >= x * x) return begin + x;
  }
}

// x >= 0, or -x if `sign` is kLayers and not 0; without a branch, which would be mispredicted half
// of the time.
double with_sign(double x, uint64_t sign) {
  return std::bit_cast<double>(std::bit_cast<uint64_t>(x) | sign << 55);
}
static_assert(kLayers << 55 == uint64_t{1} << 63);

double next_normal(const Ziggurat& ziggurat, Bits& bits) {
  for (;;) {
    const uint64_t random = bits.next();
    const size_t layer = random & (kLayers - 1);
    const uint64_t sign = random & kLayers;  // the bit above; unit() uses the upper ones
    const double x = Bits::unit(random) * ziggurat.x[layer];
    if (x < ziggurat.x[layer + 1]) return with_sign(x, sign);  // below the curve: nearly always
    if (layer == 0) return with_sign(tail(bits, ziggurat.x[1]), sign);
    const double low = ziggurat.height[layer], high = ziggurat.height[layer + 1];
    if (low + bits.uniform() * (high - low) < density(x)) return with_sign(x, sign);
  }
}

}  // namespace

void fill_normal(uint64_t seed, uint64_t block, std::span<float> out) {
  static const Ziggurat ziggurat;
  Bits bits(mix(mix(seed) + block * Bits::kOddStep));
  for (float& value : out) value = static_cast<float>(next_normal(ziggurat, bits));
}

}  // namespace msa
