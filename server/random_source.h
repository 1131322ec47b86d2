#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <string>

namespace spade {

// Seeds, request ids and jitter: distinct within a process, unpredictable enough between processes;
// not for secrets. Thread-safe.
class RandomSource {
 public:
  RandomSource() {
    std::random_device device;
    state_ = (static_cast<uint64_t>(device()) << 32) | device();
  }

  uint64_t Next() {
    uint64_t bits = state_.fetch_add(0x9E3779B97F4A7C15u, std::memory_order_relaxed);
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;  // SplitMix64's finaliser
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
    return bits ^ (bits >> 31);
  }

  // 16 hex digits.
  std::string NextId() {
    static constexpr char kDigits[] = "0123456789abcdef";
    uint64_t bits = Next();
    std::string id(16, '0');
    for (char& digit : id) {
      digit = kDigits[bits & 15];
      bits >>= 4;
    }
    return id;
  }

 private:
  std::atomic<uint64_t> state_;
};

}  // namespace spade
