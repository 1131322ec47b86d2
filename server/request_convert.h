#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/runtime/engine.h"
#include "engine/runtime/request.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/random_source.h"
#include "spade/v1/inference.pb.h"

namespace spade {

inline constexpr size_t kMaxRequestIdBytes = 1024;

template <typename Request>
using Admit = absl::FunctionRef<absl::Status(Request& request)>;

struct AdmitAny {
  template <typename Request>
  absl::Status operator()(Request&) const {
    return absl::OkStatus();
  }
};

// Requests of the API to requests of the engine: tokenizes text and checks every range, so that
// nothing a client sends reaches the engine unchecked. Errors: INVALID_ARGUMENT naming the proto
// field, NOT_FOUND for another model's name. Deadlines are the caller's to set. Thread-safe.
class RequestConverter {
 public:
  // The pointers outlive this.
  RequestConverter(const Tokenizer* tokenizer, const ModelInfo* model, std::string model_name,
                   RandomSource* random);

  // `admit` sees the request without its prompt, and may complete or refuse it, before any text is
  // tokenized.
  absl::StatusOr<GenerateRequest> Convert(const v1::GenerateRequest& request,
                                          Admit<GenerateRequest> admit = AdmitAny()) const;
  absl::StatusOr<DecideRequest> Convert(const v1::DecideRequest& request,
                                        Admit<DecideRequest> admit = AdmitAny()) const;
  absl::StatusOr<std::vector<TokenId>> Convert(const v1::TokenizeRequest& request) const;
  // The token ids to decode.
  absl::StatusOr<std::vector<TokenId>> Convert(const v1::DetokenizeRequest& request) const;

 private:
  template <typename Request>
  absl::StatusOr<RequestContext> Context(const Request& request) const;
  template <typename Request>
  absl::StatusOr<std::vector<TokenId>> Prompt(const Request& request) const;
  absl::Status CheckText(const std::string& field, const std::string& text) const;

  const Tokenizer* tokenizer_;
  const ModelInfo* model_;
  std::string model_name_;
  RandomSource* random_;
};

// The id as logs may hold it: printable ASCII, at most 128 bytes.
std::string SanitizedId(std::string_view id);

}  // namespace spade
