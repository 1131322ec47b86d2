#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "engine/runtime/engine.h"

namespace spade {

struct TlsOptions {
  std::string certificate_file;  // PEM; empty: no TLS
  std::string key_file;
  std::string client_ca_file;  // not empty: clients must present a certificate that it signed
};

struct ListenOptions {
  std::string address = "0.0.0.0:50051";  // host:port or unix:path; port 0: any free one
  TlsOptions tls = {};
  std::string token_file = {};  // bearer tokens; empty: everybody is let in
  // How often certificates and tokens are looked at for changes.
  std::chrono::milliseconds reload_interval{1000};
  int32_t max_message_bytes = 4 << 20;
  std::chrono::milliseconds max_connection_age{0};  // 0: no limit
  std::chrono::milliseconds drain_timeout{30'000};
  std::chrono::milliseconds liveness_timeout{60'000};
  bool admin = false;  // serve spade.v1.Admin
  // A client that leaves so much of a stream unread for so long is cut off.
  int64_t max_unread_bytes = 8 << 20;
  std::chrono::milliseconds max_stall{10'000};
};

struct LogOptions {
  bool json = false;
  std::string level = "info";
};

struct ServerOptions {
  EngineOptions engine;
  ListenOptions listen;
  LogOptions log;
  std::string metrics_address = "0.0.0.0:9090";  // empty: no metrics endpoint
};

// Options, or what to print and the code to exit with instead (--help, --version, errors).
struct ParsedServerOptions {
  std::optional<ServerOptions> options;
  int exit_code = 0;
  std::string output;
};

// The one place where flags, SPADE_* variables and the --config file are read and checked. Flags
// win over the file, the file over the environment.
ParsedServerOptions ParseServerOptions(int argc, const char* const* argv);

}  // namespace spade
