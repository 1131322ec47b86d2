#include "server/client/make_token.h"

#include <openssl/rand.h>

#include <array>

#include "engine/base/sha256.h"
#include "kernels/check.h"

namespace spade {

std::string MakeToken() {
  std::array<unsigned char, 32> random;
  SPADE_CHECK(RAND_bytes(random.data(), static_cast<int>(random.size())) == 1);
  constexpr char kHexDigits[] = "0123456789abcdef";
  std::string token = "spade_";
  for (const unsigned char byte : random) {
    token += kHexDigits[byte >> 4];
    token += kHexDigits[byte & 0xF];
  }
  return token;
}

std::string TokenFileLine(const std::string& tenant, const std::string& token) {
  return tenant + " " + Sha256Hex(token);
}

}  // namespace spade
