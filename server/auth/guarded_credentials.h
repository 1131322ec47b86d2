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
// asks for the certificate at every handshake and goes on with the last good one, where its watcher
// of files serves whatever lies there, or nothing.
std::shared_ptr<grpc::ServerCredentials> GuardedCredentials(
    std::shared_ptr<Authenticator> authenticator, std::shared_ptr<TlsCertificates> certificates);

}  // namespace spade
