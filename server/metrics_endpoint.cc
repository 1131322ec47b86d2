#include "server/metrics_endpoint.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spade {

MetricsEndpoint::MetricsEndpoint(const std::string& address,
                                 std::shared_ptr<prometheus::Registry> registry)
    : metrics_(std::make_shared<VllmMetrics>(std::move(registry))),
      exposer_(address, /*num_threads=*/2) {
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
