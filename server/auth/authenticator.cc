#include "server/auth/authenticator.h"

#include <openssl/crypto.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "server/auth/reload_metrics.h"

namespace spade {
namespace {

constexpr size_t kMaxTokenBytes = 4096;

absl::Status Refusal() {
  return absl::UnauthenticatedError(
      "no valid token; send the metadata \"authorization: Bearer TOKEN\" with a token that this "
      "server's --token-file knows");
}

// The token of "Bearer TOKEN"; empty: it is not that. The scheme's case does not matter (RFC 9110).
std::string_view BearerToken(std::string_view value) {
  constexpr std::string_view kScheme = "bearer ";
  if (value.size() <= kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char lower =
        value[i] >= 'A' && value[i] <= 'Z' ? static_cast<char>(value[i] | 0x20) : value[i];
    if (lower != kScheme[i]) return {};
  }
  value.remove_prefix(kScheme.size());
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value.size() <= kMaxTokenBytes ? value : std::string_view();
}

}  // namespace

Authenticator::Authenticator(std::string token_file, prometheus::Registry* registry,
                             std::shared_ptr<spdlog::logger> logger)
    : path_(std::move(token_file)),
      logger_(std::move(logger)),
      file_({path_}, kMaxTokenFileBytes),
      refusals_(prometheus::BuildCounter()
                    .Name("spade_auth_refusals_total")
                    .Help("Calls refused for want of a valid token")
                    .Register(*registry)
                    .Add({})),
      quota_refusals_(prometheus::BuildCounter()
                          .Name("spade_quota_refusals_total")
                          .Help("Requests refused at a limit of their tenant's token")
                          .Register(*registry)),
      reloads_(ReloadCounter(registry, "tokens", "taken")),
      failed_reloads_(ReloadCounter(registry, "tokens", "refused")) {}

absl::Status Authenticator::Load() {
  if (!required()) return absl::OkStatus();
  SPADE_ASSIGN_OR_RETURN(const WatchedFiles::Contents contents, file_.Read());
  SPADE_ASSIGN_OR_RETURN(std::vector<TokenEntry> tokens, ParseTokenFile(path_, contents[0]));
  SetTokens(std::move(tokens));
  return absl::OkStatus();
}

void Authenticator::Reload() {
  if (!required()) return;
  const auto changed = file_.Changed();
  if (!changed.has_value()) return;
  auto tokens = changed->ok() ? ParseTokenFile(path_, (**changed)[0]) : changed->status();
  if (!tokens.ok()) {
    failed_reloads_.Increment();
    logger_->error("the old tokens stay: {}", std::string(tokens.status().message()));
    return;
  }
  const size_t count = tokens->size();
  SetTokens(*std::move(tokens));
  reloads_.Increment();
  logger_->info("{}: {} tokens", path_, count);
}

// A tenant's quota outlives changes of the file, so that what it has in flight goes on counting.
void Authenticator::SetTokens(std::vector<TokenEntry> tokens) {
  auto next = std::make_shared<Table>();
  const std::shared_ptr<const Table> last = table();
  for (const TokenEntry& entry : tokens) {
    std::shared_ptr<Quota>& quota = next->quotas[entry.tenant];
    const auto known = last->quotas.find(entry.tenant);
    if (quota == nullptr && known != last->quotas.end()) quota = known->second;
    if (quota == nullptr) {
      quota = std::make_shared<Quota>(
          entry.tenant,
          &quota_refusals_.Add({{"tenant", entry.tenant}, {"limit", "max-in-flight"}}),
          &quota_refusals_.Add({{"tenant", entry.tenant}, {"limit", "requests-per-second"}}));
    }
    quota->SetLimits(entry.limits);
  }
  next->tokens = std::move(tokens);
  std::lock_guard lock(mutex_);
  table_ = std::move(next);
}

std::shared_ptr<const Authenticator::Table> Authenticator::table() const {
  std::lock_guard lock(mutex_);
  return table_;
}

const TokenEntry* Authenticator::Find(const Table& table, const std::string& digest) {
  const TokenEntry* found = nullptr;
  for (const TokenEntry& entry : table.tokens) {
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) found = &entry;
  }
  return found;
}

absl::StatusOr<Caller> Authenticator::IdentifyToken(
    const std::vector<std::string>& authorization) const {
  if (!required()) return Caller{};
  const std::string_view token =
      authorization.size() == 1 ? BearerToken(authorization[0]) : std::string_view();
  if (token.empty()) return Refusal();
  std::string digest = Sha256Hex(token);
  const std::shared_ptr<const Table> known = table();
  const TokenEntry* entry = Find(*known, digest);
  if (entry == nullptr) return Refusal();
  return Caller{entry->tenant, std::move(digest), entry->admin};
}

absl::StatusOr<Caller> Authenticator::Identify(const Metadata& metadata) const {
  if (!required()) return Caller{};
  std::vector<std::string> authorization;
  const auto [begin, end] = metadata.equal_range("authorization");
  for (auto value = begin; value != end; ++value) {
    authorization.emplace_back(value->second.data(), value->second.size());
  }
  return IdentifyToken(authorization);
}

absl::StatusOr<Admission> Authenticator::Admit(const Caller& caller) const {
  if (!caller.authenticated()) return Admission();
  const std::shared_ptr<const Table> known = table();
  const TokenEntry* entry = Find(*known, caller.digest);
  if (entry == nullptr) return Refusal();
  return known->quotas.at(entry->tenant)->Admit(std::chrono::steady_clock::now());
}

}  // namespace spade
