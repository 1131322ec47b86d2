#include "server/auth/tls_certificates.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/auth/reload_metrics.h"

namespace spade {
namespace {

constexpr size_t kMaxPemBytes = 1u << 20;

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free>>;
using X509Pointer = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

Bio Memory(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// OpenSSL would ask for a passphrase at the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

// Null where the file holds none, or one that cannot be read: gRPC takes all of a file or nothing.
X509Pointer FirstCertificate(const std::string& pem) {
  const Bio bio = Memory(pem);
  X509Pointer first(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
  X509Pointer next;
  while (first != nullptr) {
    next.reset(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
    if (next == nullptr) break;
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  return at_end ? std::move(first) : nullptr;
}

int64_t UnixTime(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts) : 0;
}

std::vector<std::string> Paths(const TlsOptions& options) {
  std::vector<std::string> paths = {options.certificate_file, options.key_file};
  if (!options.client_ca_file.empty()) paths.push_back(options.client_ca_file);
  return paths;
}

}  // namespace

absl::StatusOr<int64_t> CheckTlsMaterial(const TlsMaterial& material) {
  const X509Pointer certificate = FirstCertificate(material.certificates);
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(
        "--tls-cert: no PEM certificate in the file, or one that is broken");
  }
  const Key key(
      PEM_read_bio_PrivateKey(Memory(material.key).get(), nullptr, NoPassphrase, nullptr));
  const bool fits = key != nullptr && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        "--tls-key: no PEM private key in the file, or one with a passphrase");
  }
  if (!fits) {
    return absl::InvalidArgumentError("--tls-key is not the key of the certificate in --tls-cert");
  }
  if (!material.client_ca.empty() && FirstCertificate(material.client_ca) == nullptr) {
    return absl::InvalidArgumentError(
        "--tls-client-ca: no PEM certificate in the file, or one that is broken");
  }
  return UnixTime(X509_get0_notAfter(certificate.get()));
}

TlsCertificates::TlsCertificates(const TlsOptions& options, prometheus::Registry* registry,
                                 std::shared_ptr<spdlog::logger> logger)
    : asks_clients_(!options.client_ca_file.empty()),
      logger_(std::move(logger)),
      files_(Paths(options), kMaxPemBytes),
      expiry_(prometheus::BuildGauge()
                  .Name("spade_tls_certificate_expiry_timestamp_seconds")
                  .Help("Unix time at which the certificate in use expires")
                  .Register(*registry)
                  .Add({})),
      reloads_(ReloadCounter(registry, "tls", "taken")),
      failed_reloads_(ReloadCounter(registry, "tls", "refused")) {}

absl::Status TlsCertificates::Load() {
  SPADE_ASSIGN_OR_RETURN(WatchedFiles::Contents contents, files_.Read());
  return Set(std::move(contents));
}

void TlsCertificates::Reload() {
  auto changed = files_.Changed();
  if (!changed.has_value()) return;
  const absl::Status status = changed->ok() ? Set(**std::move(changed)) : changed->status();
  if (!status.ok()) {
    failed_reloads_.Increment();
    logger_->error("the old TLS certificate stays: {}", std::string(status.message()));
    return;
  }
  reloads_.Increment();
  logger_->info("new connections get the new TLS certificate");
}

absl::Status TlsCertificates::Set(WatchedFiles::Contents contents) {
  TlsMaterial material{std::move(contents[0]), std::move(contents[1]), ""};
  if (asks_clients_) {
    material.client_ca = std::move(contents[2]);
    // An empty authority would mean that clients need no certificate.
    if (material.client_ca.empty()) {
      return absl::InvalidArgumentError("--tls-client-ca: the file is empty");
    }
  }
  SPADE_ASSIGN_OR_RETURN(const int64_t expiry, CheckTlsMaterial(material));
  if (expiry <= static_cast<int64_t>(std::time(nullptr))) {
    logger_->warn("the certificate in --tls-cert has expired: clients will refuse it");
  }
  expiry_.Set(static_cast<double>(expiry));
  std::lock_guard lock(mutex_);
  material_ = std::move(material);
  fetched_ = false;
  return absl::OkStatus();
}

grpc_ssl_certificate_config_reload_status TlsCertificates::Fetch(
    grpc_ssl_server_certificate_config** config) {
  std::lock_guard lock(mutex_);
  if (fetched_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair = {material_.key.c_str(), material_.certificates.c_str()};
  // gRPC wants an authority even where it asks clients for nothing; it is not used then.
  const std::string& authority = asks_clients_ ? material_.client_ca : material_.certificates;
  *config = grpc_ssl_server_certificate_config_create(authority.c_str(), &pair, 1);
  fetched_ = true;
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

}  // namespace spade
