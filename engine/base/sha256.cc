#include "engine/base/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "absl/strings/escaping.h"
#include "kernels/check.h"

namespace spade {

std::string Sha256Hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int digest_size = 0;
  const int ok = EVP_Digest(bytes.data(), bytes.size(), digest.data(), &digest_size, EVP_sha256(),
                            /*impl=*/nullptr);
  SPADE_CHECK(ok == 1);
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), digest_size});
}

}  // namespace spade
