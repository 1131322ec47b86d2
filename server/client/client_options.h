#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spade/v1/inference.pb.h"

namespace spade {

enum class Command {
  kGenerate,
  kDecide,
  kTokenize,
  kDetokenize,
  kInfo,
  kHealth,
  kRequests,
  kMakeToken,
};

struct ClientOptions {
  Command command = Command::kGenerate;
  std::string target = "localhost:50051";
  bool tls = false;
  std::string tls_ca_file;           // empty: the system's
  std::string tls_certificate_file;  // empty: none
  std::string tls_key_file;
  std::string tls_name;   // what the server's certificate must name; empty: the target's host
  std::string token;      // sent as a bearer token; empty: none
  std::string tenant;     // in whose name; kMakeToken: whose token; empty: none
  double deadline_s = 0;  // 0: none
  bool json = false;      // messages as JSON, one a line
  bool stats = false;     // usage and timings on stderr

  v1::GenerateRequest generate;
  v1::DecideRequest decide;
  v1::TokenizeRequest tokenize;
  v1::DetokenizeRequest detokenize;
  std::string health_service;
  uint32_t num_requests = 50;  // to list
};

// Options, or what to print and the code to exit with instead (--help, errors).
struct ParsedClientOptions {
  std::optional<ClientOptions> options;
  int exit_code = 0;
  std::string output;
};

// Reads --prompt-file and standard input where they are asked for.
ParsedClientOptions ParseClientOptions(int argc, const char* const* argv);

}  // namespace spade
