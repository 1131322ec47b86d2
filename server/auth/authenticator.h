#pragma once

#include <grpcpp/support/string_ref.h>
#include <prometheus/registry.h>
#include <spdlog/logger.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/auth/caller.h"
#include "server/auth/quota.h"
#include "server/auth/token_file.h"
#include "server/auth/watched_files.h"

namespace spade {

// Says who a caller is, and whether it may send a request now. Without a token file everybody may.
// Load and Reload from one thread at a time; the rest is thread-safe.
class Authenticator {
 public:
  using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

  // `registry` outlives this. An empty path: no token file.
  Authenticator(std::string token_file, prometheus::Registry* registry,
                std::shared_ptr<spdlog::logger> logger);

  bool required() const { return !path_.empty(); }

  // INVALID_ARGUMENT (naming the line) or NOT_FOUND: the token file.
  absl::Status Load();
  // Takes the file's new content, if there is one; a bad one is logged and not taken.
  void Reload();

  // By a call's metadata, or the values of its `authorization`. UNAUTHENTICATED says what to send.
  absl::StatusOr<Caller> IdentifyToken(const std::vector<std::string>& authorization) const;
  absl::StatusOr<Caller> Identify(const Metadata& metadata) const;
  // Counts a call that Identify refused.
  void CountRefusal() const { refusals_.Increment(); }

  // RESOURCE_EXHAUSTED: the tenant is at a limit; UNAUTHENTICATED: its token has been taken away.
  absl::StatusOr<Admission> Admit(const Caller& caller) const;

 private:
  struct Table {
    std::vector<TokenEntry> tokens;
    std::map<std::string, std::shared_ptr<Quota>> quotas;  // by tenant
  };

  void SetTokens(std::vector<TokenEntry> tokens);
  std::shared_ptr<const Table> table() const;
  // Null: unknown. Takes as long for every digest.
  static const TokenEntry* Find(const Table& table, const std::string& digest);

  const std::string path_;
  const std::shared_ptr<spdlog::logger> logger_;
  WatchedFiles file_;
  prometheus::Counter& refusals_;
  prometheus::Family<prometheus::Counter>& quota_refusals_;
  prometheus::Counter& reloads_;
  prometheus::Counter& failed_reloads_;

  mutable std::mutex mutex_;
  std::shared_ptr<const Table> table_ = std::make_shared<Table>();
};

}  // namespace spade
