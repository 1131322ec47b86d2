#include "server/metrics_endpoint.h"

#include <CivetServer.h>

#include <exception>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spade {
namespace {

// The exposer answers HEAD by 404 and a body, which HTTP forbids: tools that look with HEAD whether
// metrics are there take the connection for broken. Civetweb's: 0 is "not mine", else the code.
int AnswerHead(mg_connection* connection) {
  const mg_request_info* request = mg_get_request_info(connection);
  if (std::string_view(request->request_method) != "HEAD") return 0;
  const bool found =
      request->local_uri != nullptr && std::string_view(request->local_uri) == "/metrics";
  mg_printf(connection,
            "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n",
            found ? "200 OK" : "404 Not Found");
  return found ? 200 : 404;
}

const CivetCallbacks& Callbacks() {
  static const CivetCallbacks callbacks = [] {
    CivetCallbacks made;
    made.begin_request = AnswerHead;
    return made;
  }();
  return callbacks;
}

}  // namespace

MetricsEndpoint::MetricsEndpoint(const std::string& address,
                                 std::shared_ptr<prometheus::Registry> registry)
    : metrics_(std::make_shared<VllmMetrics>(std::move(registry))),
      exposer_(address, /*num_threads=*/2, &Callbacks()) {
  exposer_.RegisterCollectable(metrics_);
  exposer_.RegisterCollectable(process_);
}

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& address, std::shared_ptr<prometheus::Registry> registry) {
  if (address.empty()) return nullptr;
  try {
    return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(address, std::move(registry)));
  } catch (const std::exception& error) {  // civetweb's
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics on ", address, " (--metrics-listen): ", error.what()));
  }
}

}  // namespace spade
