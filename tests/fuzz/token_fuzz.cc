#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "kernels/check.h"
#include "server/auth/tenant_name.h"
#include "server/auth/token_file.h"

// Input: a token file. What is accepted must be what the server relies on; what is not has a
// reason.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spade;  // NOLINT
  const auto parsed =
      ParseTokenFile("tokens", std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) {
    SPADE_CHECK(parsed.status().message().substr(0, 6) == "tokens");
    return 0;
  }
  SPADE_CHECK(!parsed->empty() && parsed->size() <= kMaxTokens);
  std::set<std::string> digests;
  std::map<std::string, TenantLimits> limits;
  for (const TokenEntry& entry : *parsed) {
    SPADE_CHECK(IsTenantName(entry.tenant));
    SPADE_CHECK(entry.digest.size() == 64);
    SPADE_CHECK(entry.digest.find_first_not_of("0123456789abcdef") == std::string::npos);
    SPADE_CHECK(digests.insert(entry.digest).second);
    SPADE_CHECK(limits.emplace(entry.tenant, entry.limits).first->second == entry.limits);
    SPADE_CHECK(entry.limits.max_in_flight.value_or(1) >= 1);
    SPADE_CHECK(entry.limits.requests_per_second.value_or(1) > 0);
  }
  return 0;
}
