#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/quantize.h"

namespace spade {

// What the instructions for I8 products share: see matmul_words.h. A word of weights is a quad of
// inputs; a group of a packed row is kPerQuad words for each, then its scale, then what its
// integer sums start from: -128 * (sum of its steps), for weights that are 128 too large.
template <int64_t kPerQuad>
struct QuadWords {
  static constexpr int64_t kWordInputs = 4;
  static constexpr int64_t kBlockWords = kBlockInputs / kWordInputs;
  static constexpr int64_t kGroupWords = kInt8Group / kWordInputs;

  static constexpr int64_t XWords(int64_t words) {
    return words * kPerQuad + (words + kGroupWords - 1) / kGroupWords * 2;
  }

  // `expand` writes the kPerQuad words of each quad of a whole group.
  template <class Expand>
  static void PackGroups(const float* x, int64_t inputs, QuantizeGroup quantize, uint32_t* words,
                         const Expand& expand) {
    QuantizedGroup group;
    uint32_t expanded[kGroupWords * kPerQuad];
    for (int64_t first = 0; first < inputs; first += kInt8Group) {
      const int64_t count = std::min(kInt8Group, inputs - first);
      quantize(x + first, count, &group);
      expand(group, expanded);
      words = std::copy_n(expanded, (count + kWordInputs - 1) / kWordInputs * kPerQuad, words);
      *words++ = std::bit_cast<uint32_t>(group.scale);
      *words++ = 0 - uint32_t{kQuadBias} * static_cast<uint32_t>(group.sum);
    }
  }
};

}  // namespace spade
