#pragma once

#include <array>
#include <cstdint>

namespace spade {

// Philox 4x32-10 (Salmon et al. 2011): a counter-based generator, so that a draw needs no state.
inline std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, uint64_t seed) {
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {
        static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
        static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// The number of a draw, in [0, 2^53).
inline uint64_t DrawNoise(uint64_t seed, uint32_t sequence_index, int32_t position) {
  const auto random = Philox({static_cast<uint32_t>(position), sequence_index, 0, 0}, seed);
  return (uint64_t{random[0]} << 32 | random[1]) >> 11;
}

// The same in [0, 1), of 53 bits.
inline double Uniform(uint64_t seed, uint32_t sequence_index, int32_t position) {
  return static_cast<double>(DrawNoise(seed, sequence_index, position)) * 0x1p-53;
}

}  // namespace spade
