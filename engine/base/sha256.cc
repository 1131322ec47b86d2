#include "engine/base/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "kernels/check.h"

namespace spade {

std::string Sha256Hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int digest_size = 0;
  const int ok = EVP_Digest(bytes.data(), bytes.size(), digest.data(), &digest_size, EVP_sha256(),
                            /*impl=*/nullptr);
  SPADE_CHECK(ok == 1);
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * digest_size);
  for (unsigned int i = 0; i < digest_size; ++i) {
    hex += kHexDigits[digest[i] >> 4];
    hex += kHexDigits[digest[i] & 0xF];
  }
  return hex;
}

}  // namespace spade
