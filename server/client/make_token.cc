#include "server/client/make_token.h"

#include <openssl/rand.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"
#include "kernels/check.h"

namespace spade {

std::string MakeToken() {
  std::array<unsigned char, 32> random;
  SPADE_CHECK(RAND_bytes(random.data(), static_cast<int>(random.size())) == 1);
  const auto* bytes = reinterpret_cast<const char*>(random.data());
  return absl::StrCat("spade_", absl::BytesToHexString({bytes, random.size()}));
}

std::string TokenFileLine(const std::string& tenant, const std::string& token) {
  return tenant + " " + Sha256Hex(token);
}

}  // namespace spade
