#pragma once

#include <grpc/grpc_security.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <spdlog/logger.h>

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "server/auth/watched_files.h"
#include "server/server_options.h"

namespace spade {

struct TlsMaterial {
  std::string certificates;  // PEM: the server's, then those between it and its authority
  std::string key;           // PEM, without a passphrase
  std::string client_ca;     // PEM; empty: clients need no certificate
};

// When the server's certificate expires (Unix time). INVALID_ARGUMENT, naming the flag: what is not
// PEM, or a key that is not the certificate's.
absl::StatusOr<int64_t> CheckTlsMaterial(const TlsMaterial& material);

// The server's certificate, as new connections get it. Connections that are open keep theirs.
// Load and Reload from one thread at a time; Fetch is thread-safe.
class TlsCertificates {
 public:
  // `registry` outlives this.
  TlsCertificates(const TlsOptions& options, prometheus::Registry* registry,
                  std::shared_ptr<spdlog::logger> logger);

  bool asks_clients() const { return asks_clients_; }

  // NOT_FOUND or INVALID_ARGUMENT: a file.
  absl::Status Load();
  // Takes the files' new contents, if there are any; bad ones are logged and not taken.
  void Reload();

  // gRPC asks at the start of every handshake, one at a time.
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config);

 private:
  absl::Status Set(WatchedFiles::Contents contents);

  const bool asks_clients_;
  const std::shared_ptr<spdlog::logger> logger_;
  WatchedFiles files_;
  prometheus::Gauge& expiry_;
  prometheus::Counter& reloads_;
  prometheus::Counter& failed_reloads_;

  std::mutex mutex_;
  TlsMaterial material_;
  bool fetched_ = false;  // gRPC has it
};

}  // namespace spade
