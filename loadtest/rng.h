#pragma once

#include <cstdint>
#include <limits>

namespace spade::loadtest {

// SplitMix64: costs nothing to seed, so every request has a generator of its own and is the same
// whichever thread makes it, and whenever. A UniformRandomBitGenerator. Not thread-safe.
class Rng final {
 public:
  using result_type = uint64_t;

  Rng(uint64_t seed, uint64_t stream) : state_(Mix(seed) ^ Mix(~stream)) {}

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }

  uint64_t operator()() {
    state_ += kIncrement;
    return Mix(state_);
  }

  // In [0, 1).
  double Uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  double Uniform(double low, double high) { return low + (high - low) * Uniform(); }

  // In [0, n); n > 0. The bias is below n / 2^32.
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>((((*this)() >> 32) * n) >> 32); }

 private:
  static constexpr uint64_t kIncrement = 0x9e3779b97f4a7c15;

  static constexpr uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

}  // namespace spade::loadtest
