#include "server/client/client.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <ostream>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/client/make_token.h"
#include "server/client/print.h"
#include "spade/v1/admin.grpc.pb.h"
#include "spade/v1/error_details.pb.h"
#include "spade/v1/inference.grpc.pb.h"

namespace spade {
namespace {

constexpr int kDone = 0;
constexpr int kCallFailed = 1;
constexpr int kMaxConnectMs = 5000;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

std::shared_ptr<grpc::Channel> MakeChannel(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxConnectMs);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!options.tls_name.empty()) arguments.SetSslTargetNameOverride(options.tls_name);
  if (options.tls) {
    grpc::SslCredentialsOptions tls;
    if (!options.tls_ca_file.empty()) tls.pem_root_certs = ReadFile(options.tls_ca_file);
    if (!options.tls_certificate_file.empty()) {
      tls.pem_cert_chain = ReadFile(options.tls_certificate_file);
      tls.pem_private_key = ReadFile(options.tls_key_file);
    }
    credentials = grpc::SslCredentials(tls);
  }
  return grpc::CreateCustomChannel(options.target, credentials, arguments);
}

// One invocation: a channel, where to print, and how.
class Session {
 public:
  Session(const ClientOptions& options, std::ostream& out, std::ostream& err)
      : options_(options),
        out_(out),
        err_(err),
        channel_(MakeChannel(options)),
        stub_(v1::InferenceService::NewStub(channel_)) {
    AddToken(context_);
    if (!options.tenant.empty()) context_.AddMetadata("x-spade-tenant", options.tenant);
    if (options.deadline_s > 0) {
      context_.set_deadline(
          std::chrono::system_clock::now() +
          std::chrono::microseconds(static_cast<int64_t>(options.deadline_s * 1e6)));
    }
  }

  int Generate() {
    auto reader = stub_->Generate(&context_, options_.generate);
    GeneratePrinter printer(out_, err_, options_.stats);
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
      if (options_.json) {
        PrintJson(response);
      } else {
        printer.Add(response);
      }
    }
    if (!options_.json) printer.End();
    return Finish(reader->Finish());
  }

  int Decide() {
    auto reader = stub_->Decide(&context_, options_.decide);
    v1::DecideResponse response;
    while (reader->Read(&response)) {
      if (options_.json) {
        PrintJson(response);
        continue;
      }
      PrintDecision(response, options_.decide, out_);
      if (options_.stats) PrintDecisionStats(response, err_);
    }
    return Finish(reader->Finish());
  }

  int Tokenize() {
    v1::TokenizeResponse response;
    const grpc::Status status = stub_->Tokenize(&context_, options_.tokenize, &response);
    if (!status.ok()) return Finish(status);
    if (options_.json) {
      PrintJson(response);
    } else {
      PrintTokens(response, out_);
    }
    return kDone;
  }

  int Detokenize() {
    v1::DetokenizeResponse response;
    const grpc::Status status = stub_->Detokenize(&context_, options_.detokenize, &response);
    if (!status.ok()) return Finish(status);
    if (options_.json) {
      PrintJson(response);
    } else {
      out_ << response.text() << "\n";
    }
    return kDone;
  }

  int Info() {
    v1::GetModelResponse model;
    v1::GetServerInfoResponse server;
    grpc::Status status = stub_->GetModel(&context_, {}, &model);
    grpc::ClientContext second;
    second.set_deadline(context_.deadline());
    AddToken(second);
    if (status.ok()) status = stub_->GetServerInfo(&second, {}, &server);
    if (!status.ok()) return Finish(status);
    if (options_.json) {
      PrintJson(model);
      PrintJson(server);
    } else {
      PrintInfo(model, server, out_);
    }
    return kDone;
  }

  int Requests() {
    const auto stub = v1::Admin::NewStub(channel_);
    v1::ListRequestsRequest request;
    request.set_limit(options_.num_requests);
    v1::ListRequestsResponse response;
    const grpc::Status status = stub->ListRequests(&context_, request, &response);
    if (!status.ok()) return Finish(status);
    if (options_.json) {
      for (const v1::RequestRecord& record : response.requests()) PrintJson(record);
    } else {
      PrintRequests(response, out_);
    }
    return kDone;
  }

  int Health() {
    const auto stub = grpc::health::v1::Health::NewStub(channel_);
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(options_.health_service);
    grpc::health::v1::HealthCheckResponse response;
    const grpc::Status status = stub->Check(&context_, request, &response);
    if (!status.ok()) return Finish(status);
    if (options_.json) {
      PrintJson(response);
    } else {
      out_ << grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status()) << "\n";
    }
    return response.status() == grpc::health::v1::HealthCheckResponse::SERVING ? kDone
                                                                               : kCallFailed;
  }

 private:
  void AddToken(grpc::ClientContext& context) {
    if (!options_.token.empty()) context.AddMetadata("authorization", "Bearer " + options_.token);
  }

  void PrintJson(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    options.always_print_primitive_fields = true;
    std::string json;
    if (google::protobuf::util::MessageToJsonString(message, &json, options).ok()) {
      out_ << json << std::endl;
    }
  }

  int Finish(const grpc::Status& status) {
    if (status.ok()) return kDone;
    PrintError(status, err_);
    return kCallFailed;
  }

  const ClientOptions& options_;
  std::ostream& out_;
  std::ostream& err_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::InferenceService::Stub> stub_;
  grpc::ClientContext context_;
};

}  // namespace

int RunClient(const ClientOptions& options, std::ostream& out, std::ostream& err) {
  if (options.command == Command::kMakeToken) {
    const std::string token = MakeToken();
    out << TokenFileLine(options.tenant, token) << std::endl;
    err << token << std::endl;
    return kDone;
  }
  Session session(options, out, err);
  switch (options.command) {
    case Command::kGenerate:
      return session.Generate();
    case Command::kDecide:
      return session.Decide();
    case Command::kTokenize:
      return session.Tokenize();
    case Command::kDetokenize:
      return session.Detokenize();
    case Command::kInfo:
      return session.Info();
    case Command::kHealth:
      return session.Health();
    case Command::kMakeToken:
      break;
    case Command::kRequests:
      return session.Requests();
  }
  return kCallFailed;
}

}  // namespace spade
