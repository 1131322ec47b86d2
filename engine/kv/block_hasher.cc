#include <bit>
#include <cstddef>
#include <cstring>

#include "engine/kv/block_pool.h"

namespace spade {
namespace {

// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein), over whole 64-bit words.
class SipHash {
 public:
  SipHash(uint64_t key0, uint64_t key1)
      : v0_(key0 ^ 0x736f6d6570736575u),
        v1_(key1 ^ 0x646f72616e646f6du ^ 0xee),
        v2_(key0 ^ 0x6c7967656e657261u),
        v3_(key1 ^ 0x7465646279746573u) {}

  void Absorb(uint64_t word) {
    v3_ ^= word;
    Round();
    Round();
    v0_ ^= word;
  }

  BlockHash Finish() {
    BlockHash hash;
    v2_ ^= 0xee;
    hash.low = FinalRounds();
    v1_ ^= 0xdd;
    hash.high = FinalRounds();
    return hash;
  }

 private:
  void Round() {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v1_;
    v0_ += v3_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ = std::rotl(v2_, 32);
  }

  uint64_t FinalRounds() {
    for (int round = 0; round < 4; ++round) Round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

  uint64_t v0_, v1_, v2_, v3_;
};

// First word of a message: roots and blocks can never be taken for one another, and the lengths
// make the padding of the last word unambiguous.
uint64_t Header(uint64_t kind, size_t length) { return kind << 56 | static_cast<uint64_t>(length); }

}  // namespace

BlockHash BlockHasher::Root(std::string_view salt) const {
  SipHash hash(key0_, key1_);
  hash.Absorb(Header(/*kind=*/1, salt.size()));
  for (size_t at = 0; at < salt.size(); at += sizeof(uint64_t)) {
    const std::string_view part = salt.substr(at, sizeof(uint64_t));
    uint64_t word = 0;
    std::memcpy(&word, part.data(), part.size());
    hash.Absorb(word);
  }
  return hash.Finish();
}

BlockHash BlockHasher::Next(const BlockHash& parent, std::span<const TokenId> block_tokens) const {
  SipHash hash(key0_, key1_);
  hash.Absorb(Header(/*kind=*/2, block_tokens.size()));
  hash.Absorb(parent.low);
  hash.Absorb(parent.high);
  for (size_t i = 0; i < block_tokens.size(); i += 2) {
    uint64_t word = static_cast<uint32_t>(block_tokens[i]);
    if (i + 1 < block_tokens.size()) {
      word |= uint64_t{static_cast<uint32_t>(block_tokens[i + 1])} << 32;
    }
    hash.Absorb(word);
  }
  return hash.Finish();
}

}  // namespace spade
