#include <prometheus/registry.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "engine/runtime/engine.h"
#include "server/cpu_cores.h"
#include "server/crash_report.h"
#include "server/grpc_server.h"
#include "server/logging.h"
#include "server/metrics_endpoint.h"
#include "server/server_options.h"
#include "server/shutdown_signals.h"
#include "server/version.h"

namespace spade {
namespace {

constexpr int kLoadError = 1;

// The engine's loader starts from all cores, whatever this thread was confined to.
absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const EngineOptions& options,
                                                   const CorePlan& cores,
                                                   prometheus::Registry* registry) {
  RunOn(cores.allowed);
  return Engine::Create(options, registry);
}

int Run(ServerOptions options, ShutdownSignals& signals) {
  const auto logger = MakeLogger(options.log);
  spdlog::set_default_logger(logger);  // the engine's
  const CorePlan cores = PlanCores(options.engine.backend.num_threads, AllowedCores(), CpuQuota());
  options.engine.backend.num_threads = cores.compute_threads;
  options.engine.backend.pin_threads = cores.pin;
  RunOn(cores.rpc_cores);  // gRPC's and the exposer's threads inherit this

  const auto registry = std::make_shared<prometheus::Registry>();
  const auto metrics = MetricsEndpoint::Start(options.metrics_address, registry);
  if (!metrics.ok()) {
    logger->error("{}", std::string(metrics.status().message()));
    return kLoadError;
  }
  GrpcServer server(options.listen,
                    ServerIdentity{kVersion, options.engine.block_size,
                                   options.engine.max_sequences, options.engine.max_rows,
                                   std::filesystem::absolute(options.engine.model_directory)},
                    registry.get(), logger);
  if (const absl::Status status = server.Start(); !status.ok()) {
    logger->error("{}", std::string(status.message()));
    return kLoadError;
  }
  logger->info("spade-server {} listening on port {}, {} compute threads; loading {}", kVersion,
               server.port(), cores.compute_threads, options.engine.model_directory);

  absl::StatusOr<std::unique_ptr<Engine>> engine = absl::UnknownError("loading");
  std::thread loader([&] {
    engine = LoadEngine(options.engine, cores, registry.get());
    signals.LoadingDone();
  });
  if (signals.WaitForLoading() == ShutdownSignals::Event::kSignal) {
    logger->info("stopped while loading");
    std::_Exit(EXIT_SUCCESS);  // loading cannot be interrupted, and nothing is being served
  }
  loader.join();
  if (!engine.ok()) {
    logger->error("{}", engine.status().ToString());
    return kLoadError;
  }
  crash_report::SetEngine(&(*engine)->facts());
  server.Serve(std::make_unique<LoadedEngine>(*std::move(engine)), options.engine.model_name);
  logger->info("serving {}", options.engine.model_name);
  signals.Wait();
  logger->info("draining for up to {} ms", options.listen.drain_timeout.count());
  const int cut_off = server.Drain();
  crash_report::SetEngine(nullptr);
  logger->info("stopped; {} requests cut off", cut_off);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace spade

int main(int argc, char** argv) {
  // A debug aid of abseil's that Debian's build leaves on: gRPC's locks would be looked up in a
  // graph, which costs a twentieth of a call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  spade::ParsedServerOptions parsed = spade::ParseServerOptions(argc, argv);
  if (!parsed.options.has_value()) {
    std::fputs(parsed.output.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  spade::crash_report::Install(spade::kVersion, parsed.options->engine.model_name);
  spade::ShutdownSignals signals;  // before any other thread
  return spade::Run(*std::move(parsed.options), signals);
}
