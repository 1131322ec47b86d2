#pragma once

#include <grpcpp/support/status.h>

#include <iosfwd>
#include <map>
#include <string>

#include "spade/v1/admin.pb.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// Text as it arrives; with several continuations one after the other, each under its number, once
// it is complete. Statistics to `err`.
class GeneratePrinter {
 public:
  GeneratePrinter(std::ostream& out, std::ostream& err, bool with_stats)
      : out_(out), err_(err), with_stats_(with_stats) {}

  void Add(const v1::GenerateResponse& response);
  void End();

 private:
  std::ostream& out_;
  std::ostream& err_;
  const bool with_stats_;
  std::map<uint32_t, std::string> later_;  // continuations after the first
  std::map<uint32_t, v1::Finish> finishes_;
  bool any_ = false;
};

void PrintDecision(const v1::DecideResponse& response, const v1::DecideRequest& request,
                   std::ostream& out);
void PrintDecisionStats(const v1::DecideResponse& response, std::ostream& err);
void PrintTokens(const v1::TokenizeResponse& response, std::ostream& out);
void PrintInfo(const v1::GetModelResponse& model, const v1::GetServerInfoResponse& server,
               std::ostream& out);
void PrintRequests(const v1::ListRequestsResponse& response, std::ostream& out);
// "RESOURCE_EXHAUSTED: message (retry in 1.2 s)"
void PrintError(const grpc::Status& status, std::ostream& err);

}  // namespace spade
