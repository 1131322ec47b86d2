#include "server/auth/guarded_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/check.h"

namespace spade {
namespace {

// What gRPC's core holds through the processor, for as long as it may call back.
struct Guard {
  std::shared_ptr<Authenticator> authenticator;
  std::shared_ptr<TlsCertificates> certificates;
};

std::string_view View(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

bool IsHealth(std::string_view path) { return path.starts_with("/grpc.health.v1.Health/"); }

void CheckCall(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
               grpc_process_auth_metadata_done_cb done, void* user_data) {
  const Authenticator& authenticator = *static_cast<Guard*>(state)->authenticator;
  const auto end = [&](grpc_status_code code, const char* message) {
    done(user_data, nullptr, 0, nullptr, 0, code, message);
  };
  if (!authenticator.required()) return end(GRPC_STATUS_OK, nullptr);
  std::vector<std::string> authorization;
  for (size_t i = 0; i < count; ++i) {
    const std::string_view key = View(metadata[i].key);
    if (key == ":path" && IsHealth(View(metadata[i].value))) return end(GRPC_STATUS_OK, nullptr);
    if (key == "authorization") authorization.emplace_back(View(metadata[i].value));
  }
  const absl::Status status = authenticator.IdentifyToken(authorization).status();
  if (status.ok()) return end(GRPC_STATUS_OK, nullptr);
  authenticator.CountRefusal();
  end(GRPC_STATUS_UNAUTHENTICATED, std::string(status.message()).c_str());
}

grpc_ssl_certificate_config_reload_status FetchCertificate(
    void* certificates, grpc_ssl_server_certificate_config** config) {
  return static_cast<TlsCertificates*>(certificates)->Fetch(config);
}

grpc_server_credentials* MakeCore(TlsCertificates* certificates) {
  if (certificates == nullptr) return grpc_insecure_server_credentials_create();
  return grpc_ssl_server_credentials_create_with_options(
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          certificates->asks_clients() ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                       : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
          FetchCertificate, certificates));
}

class Credentials final : public grpc::ServerCredentials {
 public:
  explicit Credentials(Guard guard) : core_(MakeCore(guard.certificates.get())) {
    SPADE_CHECK(core_ != nullptr);
    grpc_auth_metadata_processor processor;
    processor.process = CheckCall;
    processor.destroy = [](void* state) { delete static_cast<Guard*>(state); };
    processor.state = new Guard(std::move(guard));
    grpc_server_credentials_set_auth_metadata_processor(core_, processor);
  }
  ~Credentials() override { grpc_server_credentials_release(core_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {
    SPADE_CHECK(false);  // it has one
  }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), core_);
  }

  grpc_server_credentials* const core_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> GuardedCredentials(
    std::shared_ptr<Authenticator> authenticator, std::shared_ptr<TlsCertificates> certificates) {
  return std::make_shared<Credentials>(Guard{std::move(authenticator), std::move(certificates)});
}

}  // namespace spade
