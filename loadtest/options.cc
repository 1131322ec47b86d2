#include "loadtest/options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace spade::loadtest {
namespace {

constexpr char kDescription[] =
    "Load generator for spade.v1.InferenceService.\n\n"
    "  closed loop   spade-loadtest --concurrency 16 --requests 1000\n"
    "  open loop     spade-loadtest --rate 50 --duration 60 --goodput ttft:200 tpot:50\n"
    "  saturation    spade-loadtest --sweep 10 --duration 20 --html sweep.html\n"
    "  decisions     spade-loadtest --decide 1 --prompts p.jsonl --labels ' yes, no' --rate 100\n"
    "  trace replay  spade-loadtest --trace azure.csv --duration 120\n"
    "  soak          spade-loadtest --chaos --rate 20 --duration 600\n"
    "  comparison    spade-loadtest --compare before.json after.json\n";

constexpr char kFooter[] =
    "Latencies are those of vLLM's benchmark: TTFT from send to the first message with content, "
    "E2EL to the last one, ITL the gaps between them, TPOT = (E2EL - TTFT) / (output_len - 1).\n"
    "Exit code: 0, or 1 if a stream ended with an unexpected code, a broken content or not at all, "
    "or if after --chaos the server is not idle; 2 for a wrong command line or no server.";

// What CLI11 stores as text and Options does not.
struct RawFlags {
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string token_file;
  bool tls = false;
  std::string input_len = "128";
  std::string output_len = "64";
  std::string labels;
  std::string decide_modes = "exact";
  std::string generate_modes = "exact";
  std::string chaos_mix = "cancel:0.15,deadline:0.1,burst:0.005,invalid:0.1,slow:0.05";
  bool stop_at_eos = false;
  bool cold = false;
  std::vector<std::string> goodput;
};

void AddServerFlags(CLI::App& app, Options& options, RawFlags& raw) {
  constexpr char kGroup[] = "Server";
  ClientOptions& client = options.client;
  app.add_option("-t,--target", client.target, "HOST:PORT")->capture_default_str()->group(kGroup);
  app.add_option("-m,--model", options.model, "Fail unless the server serves this model")
      ->group(kGroup);
  app.add_flag("--tls", raw.tls, "TLS with the system's root certificates")->group(kGroup);
  app.add_option("--tls-ca", raw.tls_ca, "PEM roots for the server's certificate; implies --tls")
      ->check(CLI::ExistingFile)
      ->group(kGroup);
  app.add_option("--tls-cert", raw.tls_cert, "PEM certificate chain of this client")
      ->check(CLI::ExistingFile)
      ->group(kGroup);
  app.add_option("--tls-key", raw.tls_key, "PEM private key of this client")
      ->check(CLI::ExistingFile)
      ->group(kGroup);
  app.add_option("--token-file", raw.token_file,
                 "File with the bearer token to send (default: the variable SPADE_TOKEN)")
      ->check(CLI::ExistingFile)
      ->group(kGroup);
  app.add_option("--client-threads", client.num_threads, "Threads that drive streams")
      ->check(CLI::Range(1, 256))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--connections", client.num_connections, "HTTP/2 connections of each thread")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--timeout", client.timeout_s, "Deadline of each request in seconds; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(kGroup);
}

void AddLoadFlags(CLI::App& app, Options& options) {
  constexpr char kGroup[] = "Load";
  app.add_option("-r,--rate", options.rate, "Open loop: requests per second on average")
      ->check(CLI::PositiveNumber)
      ->group(kGroup);
  app.add_option("--burstiness", options.burstiness,
                 "Shape of the gamma-distributed gaps: 1 Poisson, less is burstier, inf constant")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("-c,--concurrency", options.concurrency,
                 "Closed loop: streams kept running (default 1); open loop: at most as many run")
      ->check(CLI::Range(1, 1'000'000))
      ->group(kGroup);
  app.add_option("-n,--requests", options.num_requests,
                 "Requests to send (default 1000 unless --duration)")
      ->check(CLI::Range(1, 1'000'000'000))
      ->group(kGroup);
  app.add_option("-d,--duration", options.duration_s, "Seconds to send for")
      ->check(CLI::PositiveNumber)
      ->group(kGroup);
  app.add_option("--warmup", options.num_warmups, "Requests sent before, one by one, not measured")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--sweep", options.sweep.start_rate,
                 "Open-loop runs at rising rates, from this one until the server saturates")
      ->check(CLI::PositiveNumber)
      ->group(kGroup);
  app.add_option("--sweep-factor", options.sweep.factor, "Each rate over the one before")
      ->check(CLI::Range(1.01, 10.0))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--sweep-steps", options.sweep.max_steps, "Runs at most")
      ->check(CLI::Range(1, 100))
      ->capture_default_str()
      ->group(kGroup);
}

void AddRequestFlags(CLI::App& app, Options& options, RawFlags& raw) {
  constexpr char kGroup[] = "Requests";
  WorkloadOptions& workload = options.workload;
  app.add_option("--seed", workload.seed, "The same seed makes the same requests and times")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("-i,--input-len", raw.input_len,
                 "Tokens of random prompts: N, LOW:HIGH or lognormal:MEAN:STDDEV")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("-o,--output-len", raw.output_len, "Tokens to generate; as --input-len")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--shared-prefix-len", workload.shared_prefix_len,
                 "The same first tokens in every random prompt, for prefix caching")
      ->capture_default_str()
      ->group(kGroup);
  app.add_flag("--check-repeats", options.client.check_repeats,
               "Repeated EXACT decisions, and copies of a burst, must get the same bits")
      ->group(kGroup);
  app.add_flag("--cold", raw.cold, "No request finds a prefix that another one left in the cache")
      ->group(kGroup);
  app.add_flag("--stop-at-eos", raw.stop_at_eos, "Outputs may end early, at EOS")->group(kGroup);
  app.add_option("--temperature", workload.temperature, "Of Generate; 0 is greedy")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--trace", options.trace.path,
                 "CSV of TIMESTAMP,ContextTokens,GeneratedTokens to replay; with --rate or "
                 "--concurrency only its lengths")
      ->check(CLI::ExistingFile)
      ->group(kGroup);
  app.add_option("--trace-scale", options.trace.scale,
                 "Factor on the trace's lengths (default: so that every row fits the context)")
      ->check(CLI::PositiveNumber)
      ->group(kGroup);
  app.add_option("--trace-speed", options.trace.speed, "Replay so many times as fast")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(kGroup);
}

void AddDecideFlags(CLI::App& app, Options& options, RawFlags& raw) {
  constexpr char kGroup[] = "Decide";
  WorkloadOptions& workload = options.workload;
  app.add_option("--decide", workload.decide_share, "Share of Decide among the requests, 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--prompts", options.prompts_path,
                 "JSON lines with \"prompt\" and, to measure accuracy, \"label\"; without it "
                 "random tokens")
      ->check(CLI::ExistingFile)
      ->group(kGroup);
  app.add_flag("--generate-from-prompts", workload.generate_from_prompts,
               "Generate continues the prompts of --prompts as well; else random tokens")
      ->group(kGroup);
  app.add_option("--labels", raw.labels, "Comma-separated; spaces count: ' yes, no'")
      ->group(kGroup);
  app.add_option("--mode", raw.decide_modes,
                 "Of Decide: exact, verified or fast; several, comma-separated: a mix")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--generate-mode", raw.generate_modes, "Of Generate, in the same way")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--max-mismatch", workload.max_mismatch, "For modes verified and fast")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(kGroup);
}

void AddChaosFlags(CLI::App& app, Options& options, RawFlags& raw) {
  constexpr char kGroup[] = "Chaos";
  app.add_flag("--chaos", options.workload.chaos,
               "Misbehave: cancels, tiny deadlines, bursts, invalid requests, slow readers; check "
               "that every stream ends with a fitting code and that the server is idle at the end")
      ->group(kGroup);
  app.add_option("--chaos-mix", raw.chaos_mix, "Probability of each")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--burst", options.workload.burst, "Requests of one burst")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str()
      ->group(kGroup);
}

void AddReportFlags(CLI::App& app, Options& options, RawFlags& raw) {
  constexpr char kGroup[] = "Report";
  app.add_option("--goodput", raw.goodput, "SLO in ms, any of ttft:MS tpot:MS e2el:MS")
      ->group(kGroup);
  app.add_option("--json", options.json_path, "Write the report there")->group(kGroup);
  app.add_option("--html", options.html_path, "Write a page with plots there")->group(kGroup);
  app.add_option("--compare", options.compare, "Compare two JSON reports and send nothing")
      ->expected(2)
      ->group(kGroup);
  app.add_flag("-q,--quiet", options.quiet, "No progress line")->group(kGroup);
}

absl::StatusOr<std::vector<Mode>> ParseModes(const std::string& flag, const std::string& text) {
  std::vector<Mode> modes;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(text, ','))) {
    if (name == "exact") {
      modes.push_back(Mode::kExact);
    } else if (name == "verified") {
      modes.push_back(Mode::kVerified);
    } else if (name == "fast") {
      modes.push_back(Mode::kFast);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " '", name, "': write exact, verified or fast"));
    }
  }
  return modes;
}

// Not a flag's value: every user of the machine can see those.
absl::Status SetToken(const RawFlags& raw, ClientOptions& client) {
  const char* variable = std::getenv("SPADE_TOKEN");
  if (raw.token_file.empty()) {
    client.token = variable == nullptr ? "" : variable;
    return absl::OkStatus();
  }
  std::ifstream(raw.token_file, std::ios::binary) >> client.token;
  if (!client.token.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("--token-file: no token in " + raw.token_file);
}

absl::Status SetCredentials(const RawFlags& raw, ClientOptions& client) {
  if (!raw.tls && raw.tls_ca.empty() && raw.tls_cert.empty()) return absl::OkStatus();
  if (raw.tls_cert.empty() != raw.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  const auto read = [](const std::string& path) {
    std::ostringstream text;
    if (!path.empty()) text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  };
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = read(raw.tls_ca);
  ssl.pem_cert_chain = read(raw.tls_cert);
  ssl.pem_private_key = read(raw.tls_key);
  client.credentials = grpc::SslCredentials(ssl);
  return absl::OkStatus();
}

absl::Status Convert(const RawFlags& raw, Options& options) {
  WorkloadOptions& workload = options.workload;
  absl::StatusOr<Lengths> input = Lengths::Parse(raw.input_len);
  absl::StatusOr<Lengths> output = Lengths::Parse(raw.output_len);
  absl::StatusOr<std::vector<Mode>> decide_modes = ParseModes("--mode", raw.decide_modes);
  absl::StatusOr<std::vector<Mode>> generate_modes =
      ParseModes("--generate-mode", raw.generate_modes);
  absl::StatusOr<ChaosMix> mix = ChaosMix::Parse(raw.chaos_mix);
  absl::StatusOr<Slo> slo = Slo::Parse(raw.goodput);
  for (const absl::Status& status :
       {input.status(), output.status(), decide_modes.status(), generate_modes.status(),
        mix.status(), slo.status(), SetCredentials(raw, options.client),
        SetToken(raw, options.client)}) {
    if (!status.ok()) return status;
  }
  workload.input_lens = *input;
  workload.output_lens = *output;
  workload.decide_modes = *decide_modes;
  workload.generate_modes = *generate_modes;
  workload.chaos_mix = *mix;
  workload.ignore_eos = !raw.stop_at_eos;
  // Another one in each run, or the second run would find the first one's prefixes.
  if (raw.cold) workload.cold_salt = absl::StrCat(absl::ToUnixNanos(absl::Now()));
  if (!raw.labels.empty()) workload.labels = absl::StrSplit(raw.labels, ',');
  options.slo = *slo;
  if (options.num_requests == 0 && options.duration_s == 0 && options.trace.path.empty()) {
    options.num_requests = 1000;
  }
  if (options.sweep.start_rate > 0 && options.rate > 0) {
    return absl::InvalidArgumentError("--sweep sets the rates; drop --rate");
  }
  return absl::OkStatus();
}

}  // namespace

ParsedOptions ParseOptions(int argc, const char* const* argv) {
  Options options;
  RawFlags raw;
  CLI::App app(kDescription, "spade-loadtest");
  app.footer(kFooter);
  AddServerFlags(app, options, raw);
  AddLoadFlags(app, options);
  AddRequestFlags(app, options, raw);
  AddDecideFlags(app, options, raw);
  AddChaosFlags(app, options, raw);
  AddReportFlags(app, options, raw);
  ParsedOptions parsed;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    parsed.exit_code = app.exit(error, out, out) == 0 ? 0 : 2;
    parsed.output = out.str();
    return parsed;
  }
  if (absl::Status status = Convert(raw, options); !status.ok()) {
    parsed.exit_code = 2;
    parsed.output = absl::StrCat(status.message(), "\n");
    return parsed;
  }
  options.command = absl::StrJoin(argv, argv + argc, " ");
  parsed.options = std::move(options);
  return parsed;
}

}  // namespace spade::loadtest
