#include "server/server_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <limits>
#include <map>

#include "absl/strings/numbers.h"
#include "server/auth/tenant_name.h"
#include "server/version.h"

namespace spade {
namespace {

constexpr int kUsageError = 2;
constexpr double kMaxSeconds = 7 * 24 * 3600;
constexpr double kMinTenantWeight = 0.001;
constexpr double kMaxTenantWeight = 1000;

// What CLI11 fills; becomes ServerOptions in Resolve.
struct Flags {
  ServerOptions options;
  uint64_t kv_memory = 0;
  double drain_timeout_s = 30;
  double liveness_timeout_s = 60;
  double max_queue_time_s = 0;
  double max_stall_s = 10;
  std::vector<std::string> tenant_weights;
  double max_connection_age_s = 0;
  bool no_prefix_cache = false;
  std::string kv_dtype = "auto";
  std::string log_format = "text";
};

const std::map<std::string, std::optional<DType>> kKvDtypes = {
    {"auto", std::nullopt}, {"f32", DType::kF32}, {"bf16", DType::kBF16}};

// "host:port", "[v6]:port" or "unix:path"; empty string: valid.
std::string CheckAddress(const std::string& address) {
  if (address.rfind("unix:", 0) == 0 && address.size() > 5) return "";
  const size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool numeric =
      !port.empty() && port.size() <= 5 &&
      std::all_of(port.begin(), port.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  if (colon != 0 && numeric && std::stoi(port) <= 65535) return "";
  return "\"" + address + "\" is not host:port";
}

CLI::Validator Address() { return CLI::Validator(CheckAddress, "HOST:PORT", "address"); }

CLI::Validator AddressOrOff() {
  return CLI::Validator(
      [](const std::string& value) { return value == "off" ? "" : CheckAddress(value); },
      "HOST:PORT|off", "address or off");
}

void AddModelFlags(CLI::App& app, Flags& flags) {
  EngineOptions& engine = flags.options.engine;
  app.add_option("-m,--model", engine.model_directory, "Folder in Hugging Face format")
      ->required()
      ->check(CLI::ExistingDirectory)
      ->group("Model");
  app.add_option("--model-name", engine.model_name, "Served name (default: the folder's)")
      ->group("Model");
  app.add_option("--weight-dtype", engine.weight_dtype, "Stored weights; auto: as in the files")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "int8"}))
      ->capture_default_str()
      ->group("Model");
  app.add_option("--calibration", engine.calibrations,
                 "Early-exit artifact of spade-calibrate; repeatable (default: "
                 "spade.safetensors and spade-generate.safetensors in the model's folder, where "
                 "they fit)")
      ->check(CLI::ExistingFile)
      ->delimiter(',')
      ->group("Model");
  app.add_option("--shadow-share", engine.shadow_share,
                 "Share of early answers that is also computed to full depth and compared")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group("Model");
  app.add_option("--max-context", engine.max_context, "Positions per request; 0: the model's")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str()
      ->group("Model");
}

void AddComputeFlags(CLI::App& app, Flags& flags) {
  EngineOptions& engine = flags.options.engine;
  app.add_option("--device", engine.backend.device, "cpu, or cuda where it was built in")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_option("--tensor-parallel", engine.backend.tensor_parallel,
                 "GPUs that the layers are split over; must divide heads, KV heads and "
                 "intermediate size (cpu: shards that take turns, for tests)")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_flag("--batch-invariant", engine.backend.batch_invariant,
               "cuda: the same bits whatever else runs, as on the CPU; slower prefill")
      ->group("Compute and memory");
  app.add_option("--cuda-graphs", engine.backend.cuda_graphs,
                 "cuda: stages kept to be launched as one, 1 MiB of the GPU each; 0: none")
      ->check(CLI::Range(0, 1 << 14))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_option(
         "--compute", engine.compute,
         "Type of products; bf16 is the fast one for bf16 weights (cuda: also for int8, as f16 is "
         "for "
         "f16), int8 for int8 weights (cpu; it rounds activations to 8 bits, so auto never takes "
         "it); "
         "auto: the calibration's, else the fast one on cuda and bf16 where the processor has "
         "AVX512-BF16, else f32")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "int8"}))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_option("--threads", engine.backend.num_threads,
                 "Compute threads; 0: what the CPU quota allows, less a few for RPCs")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_option(
         "--kv-dtype", flags.kv_dtype,
         "Stored keys and values; with bf16, and products not in f32, attention is in bf16 "
         "too where the device multiplies it by itself: AVX512-BF16, tensor cores. auto: the "
         "calibration's, else f32; on cuda bf16, unless products are in f32")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_option("--kv-memory", flags.kv_memory,
                 "KV cache (of each GPU), e.g. 2GiB; 0: a quarter of the memory left after "
                 "loading, most of "
                 "a GPU's")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_option("--block-size", engine.block_size, "Positions per KV block, a multiple of 8")
      ->check(CLI::Range(8, 1024))
      ->capture_default_str()
      ->group("Compute and memory");
  app.add_flag("--no-prefix-cache", flags.no_prefix_cache, "Compute shared prefixes every time")
      ->group("Compute and memory");
}

void AddLoadFlags(CLI::App& app, Flags& flags) {
  EngineOptions& engine = flags.options.engine;
  app.add_option("--max-batch-rows", engine.max_rows, "Tokens of one step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group("Load");
  app.add_option("--max-sequences", engine.max_sequences, "Sequences that run at once")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str()
      ->group("Load");
  app.add_option("--max-queued-requests", engine.max_queued_requests,
                 "Requests that wait; more are refused")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str()
      ->group("Load");
  app.add_option("--max-queued-tokens", engine.max_queued_tokens,
                 "Prompt tokens that wait; more are refused")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str()
      ->group("Load");
  app.add_option(
         "--max-queue-time", flags.max_queue_time_s,
         "Seconds that a request may wait; then it is refused, and at once where that is to "
         "be seen; 0: until its deadline")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->capture_default_str()
      ->group("Load");
  app.add_option(
         "--max-hold", engine.hold.longest_wait,
         "Seconds that a FAST token which goes deeper may wait at an exit for others, where "
         "the measured costs say that all together give more tokens for it; 0: none waits")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->capture_default_str()
      ->group("Load");
  app.add_option("--tenant-weight", flags.tenant_weights,
                 "NAME=WEIGHT of a tenant (metadata x-spade-tenant); repeatable; others weigh 1")
      ->delimiter(',')
      ->group("Load");
  app.add_option("--max-tenants", engine.max_tenants,
                 "Tenants told apart; the names that come later share one place")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str()
      ->group("Load");
}

void AddServerFlags(CLI::App& app, Flags& flags) {
  ListenOptions& listen = flags.options.listen;
  app.add_option("-l,--listen", listen.address, "gRPC address; port 0: any free one")
      ->check(Address())
      ->capture_default_str()
      ->group("Server");
  app.add_option("--metrics-listen", flags.options.metrics_address,
                 "Prometheus address (/metrics), or off")
      ->check(AddressOrOff())
      ->capture_default_str()
      ->group("Server");
  app.add_option("--max-message-bytes", listen.max_message_bytes, "Largest request")
      ->check(CLI::Range(1024, 1 << 30))
      ->capture_default_str()
      ->group("Server");
  app.add_option("--max-connection-age", flags.max_connection_age_s,
                 "Seconds until a client must reconnect (rebalances load); 0: never")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->capture_default_str()
      ->group("Server");
  app.add_option("--drain-timeout", flags.drain_timeout_s,
                 "Seconds that running requests get after SIGTERM")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->capture_default_str()
      ->group("Server");
  app.add_option("--liveness-timeout", flags.liveness_timeout_s,
                 "Seconds without a finished step until health reports NOT_SERVING")
      ->check(CLI::Range(0.1, kMaxSeconds))
      ->capture_default_str()
      ->group("Server");
  app.add_option("--max-unread-bytes", listen.max_unread_bytes,
                 "Output of one stream that may wait for its client longer than --max-stall")
      ->check(CLI::Range(int64_t{1} << 16, int64_t{1} << 32))
      ->capture_default_str()
      ->group("Server");
  app.add_option("--max-stall", flags.max_stall_s,
                 "Seconds after which a client that leaves that much unread is cut off; six times "
                 "that, one that leaves anything unread")
      ->check(CLI::Range(0.1, kMaxSeconds))
      ->capture_default_str()
      ->group("Server");
  app.add_flag("--admin", listen.admin,
               "Serve spade.v1.Admin: the last requests' timelines, to whoever can reach the port")
      ->group("Server");
  app.add_option("--max-recent-requests", flags.options.engine.max_recent_requests,
                 "Requests whose timelines are kept for it")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str()
      ->group("Server");
}

void AddTlsAndLogFlags(CLI::App& app, Flags& flags) {
  TlsOptions& tls = flags.options.listen.tls;
  app.add_option("--tls-cert", tls.certificate_file, "PEM certificate chain; turns TLS on")
      ->check(CLI::ExistingFile)
      ->group("TLS");
  app.add_option("--tls-key", tls.key_file, "PEM private key")
      ->check(CLI::ExistingFile)
      ->group("TLS");
  app.add_option("--tls-client-ca", tls.client_ca_file,
                 "PEM authority that must have signed the clients' certificates")
      ->check(CLI::ExistingFile)
      ->group("TLS");
  app.add_option("--token-file", flags.options.listen.token_file,
                 "Bearer tokens that clients must send, one a line: NAME SHA256 "
                 "[max-in-flight=N] [requests-per-second=R]; spade-client make-token writes them")
      ->check(CLI::ExistingFile)
      ->group("Tokens");
  app.add_option("--log-format", flags.log_format, "text, or json: one object a line")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group("Logging");
  app.add_option("--log-level", flags.options.log.level, "What to log, to stderr")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str()
      ->group("Logging");
}

// --kv-memory is also SPADE_KV_MEMORY, and so on.
void NameVariables(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (name == "help" || name == "version" || name == "config") continue;
    std::string variable = "SPADE_" + name;
    for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
    option->envname(variable);
  }
}

std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

// A model's folder may be served in another numeric type than its calibrations were made in.
void AddFoundCalibrations(const std::filesystem::path& folder, EngineOptions& engine) {
  engine.skip_unfit_calibrations = true;
  for (const char* name : {"spade.safetensors", "spade-generate.safetensors"}) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(folder / name, error)) continue;
    engine.calibrations.push_back((folder / name).string());
  }
}

// "name=2" each; an empty string: all is well.
std::string SetTenantWeights(const std::vector<std::string>& flags, EngineOptions& engine) {
  std::map<std::string, double> weights;
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    double weight = 0;
    if (equals == std::string::npos || !IsTenantName(flag.substr(0, equals)) ||
        !absl::SimpleAtod(flag.substr(equals + 1), &weight) ||
        !(weight >= kMinTenantWeight && weight <= kMaxTenantWeight)) {
      return "--tenant-weight: \"" + flag + "\" is not NAME=WEIGHT, with 0.001 to 1000";
    }
    weights[flag.substr(0, equals)] = weight;
  }
  engine.tenant_weights = TenantWeights(std::move(weights));
  return "";
}

// Checks that need more than one flag; an empty string: all is well.
std::string Resolve(Flags& flags) {
  ServerOptions& options = flags.options;
  EngineOptions& engine = options.engine;
  const TlsOptions& tls = options.listen.tls;
  if (tls.certificate_file.empty() != tls.key_file.empty()) {
    return "--tls-cert and --tls-key go together";
  }
  if (!tls.client_ca_file.empty() && tls.certificate_file.empty()) {
    return "--tls-client-ca needs --tls-cert and --tls-key";
  }
  if (flags.kv_memory > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return "--kv-memory: too large";
  }
  engine.kv_memory_bytes = static_cast<int64_t>(flags.kv_memory);
  engine.kv_dtype = kKvDtypes.at(flags.kv_dtype);
  engine.prefix_cache = !flags.no_prefix_cache;
  options.log.json = flags.log_format == "json";
  options.listen.drain_timeout = Milliseconds(flags.drain_timeout_s);
  options.listen.liveness_timeout = Milliseconds(flags.liveness_timeout_s);
  if (!options.listen.admin) engine.max_recent_requests = 0;  // nobody could ask
  options.listen.max_stall = Milliseconds(flags.max_stall_s);
  engine.max_queue_time = Milliseconds(flags.max_queue_time_s);
  if (std::string problem = SetTenantWeights(flags.tenant_weights, engine); !problem.empty()) {
    return problem;
  }
  options.listen.max_connection_age = Milliseconds(flags.max_connection_age_s);
  if (options.metrics_address == "off") options.metrics_address.clear();

  std::error_code error;
  const auto folder = std::filesystem::canonical(engine.model_directory, error);
  if (error) return "--model: " + error.message();
  if (engine.model_name.empty()) engine.model_name = folder.filename().string();
  if (engine.calibrations.empty()) AddFoundCalibrations(folder, engine);
  return "";
}

}  // namespace

ParsedServerOptions ParseServerOptions(int argc, const char* const* argv) {
  Flags flags;
  CLI::App app(
      "spade-server: LLM inference over gRPC with early exit.\n"
      "Every option is also a variable (--kv-memory: SPADE_KV_MEMORY) and a key of the --config "
      "file.",
      "spade-server");
  app.set_version_flag("--version", std::string("spade-server ") + kVersion);
  app.set_config("-c,--config", "", "TOML or INI file of options")->check(CLI::ExistingFile);
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddModelFlags(app, flags);
  AddComputeFlags(app, flags);
  AddLoadFlags(app, flags);
  AddServerFlags(app, flags);
  AddTlsAndLogFlags(app, flags);
  NameVariables(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream out;
    std::ostringstream err;
    app.exit(success, out, err);
    return {std::nullopt, 0, out.str()};
  } catch (const CLI::Error& error) {
    return {std::nullopt, kUsageError,
            std::string("spade-server: ") + error.what() + " (see --help)\n"};
  }
  if (const std::string problem = Resolve(flags); !problem.empty()) {
    return {std::nullopt, kUsageError, "spade-server: " + problem + "\n"};
  }
  return {std::move(flags.options), 0, ""};
}

}  // namespace spade
