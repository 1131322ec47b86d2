#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "server/auth/authenticator.h"
#include "server/auth/tls_certificates.h"

namespace spade {

// Credentials of a listening port whose every call, of whatever service, passes `authenticator`
// before its handler is looked for; but for grpc.health.v1, which probes ask without a token.
// `certificates` null: no TLS.
//
// Why here: gRPC's interceptors cannot refuse a call before its handler runs, and grpcpp's
// processors of metadata cannot be set on a port without TLS. Its core can do both. Its core also
// asks for the certificate at every handshake, so that only checked ones are handed over; its own
// watcher of files (1.51) turns every client away while a key does not fit its certificate.
std::shared_ptr<grpc::ServerCredentials> GuardedCredentials(
    std::shared_ptr<Authenticator> authenticator, std::shared_ptr<TlsCertificates> certificates);

}  // namespace spade
