#include "server/client/client_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>

#include "server/auth/tenant_name.h"
#include "server/version.h"

namespace spade {
namespace {

constexpr int kUsageError = 2;

// What CLI11 fills and Resolve turns into requests.
struct Flags {
  ClientOptions options;
  std::string prompt;
  std::string prompt_file;
  std::string token_file;
  std::vector<uint32_t> token_ids;
  bool no_special_tokens = false;
  std::string cache_salt;
  std::string request_id;
  std::string model;
  int32_t priority = 0;
  std::string labels;
  std::vector<std::string> label_list;
  std::vector<float> priors;
  std::vector<std::string> stop;
  v1::Mode mode = v1::MODE_EXACT;
  double max_mismatch = 0;
};

const std::map<std::string, v1::Mode> kModes = {
    {"exact", v1::MODE_EXACT}, {"verified", v1::MODE_VERIFIED}, {"fast", v1::MODE_FAST}};

void AddModeFlags(CLI::App* app, Flags& flags, const std::string& bound_help) {
  app->add_option("--mode", flags.mode, "exact, verified or fast")
      ->transform(CLI::CheckedTransformer(kModes).description("NAME"))
      ->default_str("exact");
  app->add_option("--max-mismatch", flags.max_mismatch, bound_help);
}

template <typename Value, typename Set>
CLI::Option* AddField(CLI::App* app, const std::string& name, Set set, const std::string& help) {
  return app->add_option_function<Value>(
      name, [set](const Value& value) { set(value); }, help);
}

void AddPromptFlags(CLI::App* app, Flags& flags) {
  app->add_option("-p,--prompt", flags.prompt, "Prompt (default: standard input)");
  app->add_option("-f,--prompt-file", flags.prompt_file, "File with the prompt; -: standard input")
      ->excludes("--prompt");
  app->add_flag("--no-special-tokens", flags.no_special_tokens, "Add no BOS and the like");
}

void AddRequestFlags(CLI::App* app, Flags& flags) {
  AddPromptFlags(app, flags);
  app->add_option("--token-ids", flags.token_ids, "Prompt as comma-separated ids")
      ->delimiter(',')
      ->excludes("--prompt")
      ->excludes("--prompt-file");
  app->add_option("--request-id", flags.request_id, "For the server's logs");
  app->add_option("--model", flags.model, "Refuse to be served by another one");
  app->add_option("--priority", flags.priority, "Lower runs sooner");
  app->add_option("--cache-salt", flags.cache_salt, "Share cached prefixes within it only");
  app->add_flag("--stats", flags.options.stats, "Usage and timings, to stderr");
}

void AddGenerate(CLI::App& app, Flags& flags) {
  CLI::App* generate = app.add_subcommand("generate", "Continue a prompt");
  generate->callback([&flags] { flags.options.command = Command::kGenerate; });
  AddRequestFlags(generate, flags);
  v1::GenerateRequest& request = flags.options.generate;
  v1::Sampling* sampling = request.mutable_sampling();
  v1::Stopping* stopping = request.mutable_stopping();
  AddField<uint32_t>(
      generate, "-n,--max-tokens", [=](uint32_t n) { stopping->set_max_tokens(n); },
      "Most output tokens");
  AddField<uint32_t>(
      generate, "--min-tokens", [=](uint32_t n) { stopping->set_min_tokens(n); },
      "Fewest output tokens");
  AddField<float>(
      generate, "-t,--temperature", [=](float t) { sampling->set_temperature(t); },
      "0: greedy (default 1)");
  AddField<uint32_t>(
      generate, "--top-k", [=](uint32_t k) { sampling->set_top_k(k); },
      "Draw from the k most probable");
  AddField<float>(
      generate, "--top-p", [=](float p) { sampling->set_top_p(p); },
      "Draw from the smallest set of this probability");
  AddField<float>(
      generate, "--min-p", [=](float p) { sampling->set_min_p(p); },
      "Draw from those at least this probable, relative to the top");
  AddField<float>(
      generate, "--repetition-penalty", [=](float p) { sampling->set_repetition_penalty(p); },
      "1: none");
  AddField<uint64_t>(
      generate, "--seed", [=](uint64_t seed) { sampling->set_seed(seed); },
      "Same seed, same output");
  AddField<uint32_t>(
      generate, "--count", [&request](uint32_t n) { request.set_n(n); },
      "Independent continuations");
  AddField<uint32_t>(
      generate, "--logprobs", [&request](uint32_t n) { request.mutable_output()->set_logprobs(n); },
      "With this many alternatives (needs --json to be seen)");
  AddModeFlags(generate, flags, "fast: bound on P(a token differs from full depth's)");
  generate->add_option("--stop", flags.stop, "End before this text; repeatable");
  generate->add_flag_callback(
      "--ignore-eos", [=] { stopping->set_ignore_eos(true); }, "Go on after the end-of-text token");
}

void AddDecide(CLI::App& app, Flags& flags) {
  CLI::App* decide = app.add_subcommand("decide", "Choose one label of a set");
  decide->callback([&flags] { flags.options.command = Command::kDecide; });
  AddRequestFlags(decide, flags);
  v1::DecideRequest& request = flags.options.decide;
  decide->add_option("--labels", flags.labels,
                     "Comma-separated, spaces kept: \" yes, no\" is two labels with a space each");
  decide->add_option("--label", flags.label_list, "One label, for those with commas; repeatable");
  AddModeFlags(decide, flags, "verified and fast: bound on P(label differs from full depth)");
  AddField<float>(
      decide, "--temperature", [&request](float t) { request.set_temperature(t); },
      "Of the probabilities (default 1)");
  decide->add_option("--priors", flags.priors, "A weight for each label")->delimiter(',');
}

void AddSmallCommands(CLI::App& app, Flags& flags) {
  CLI::App* tokenize = app.add_subcommand("tokenize", "Text to token ids");
  tokenize->callback([&flags] { flags.options.command = Command::kTokenize; });
  AddPromptFlags(tokenize, flags);
  tokenize->add_flag_callback(
      "--pieces", [&flags] { flags.options.tokenize.set_with_pieces(true); },
      "Show each id's piece");
  CLI::App* detokenize = app.add_subcommand("detokenize", "Token ids to text");
  detokenize->callback([&flags] { flags.options.command = Command::kDetokenize; });
  detokenize->add_option("ids", flags.token_ids, "Ids, separated by spaces or commas")
      ->delimiter(',')
      ->required();
  detokenize->add_flag_callback(
      "--keep-special", [&flags] { flags.options.detokenize.set_skip_special_tokens(false); },
      "Show special tokens");
  CLI::App* info = app.add_subcommand("info", "The model and the server's state");
  info->callback([&flags] { flags.options.command = Command::kInfo; });
  CLI::App* health = app.add_subcommand("health", "Exit code 0 if the server is SERVING");
  health->callback([&flags] { flags.options.command = Command::kHealth; });
  health->add_option("--service", flags.options.health_service, "Name to ask for")
      ->capture_default_str();
  CLI::App* requests = app.add_subcommand(
      "requests", "The last requests that ended, newest first (the server needs --admin)");
  requests->callback([&flags] { flags.options.command = Command::kRequests; });
  requests->add_option("-n,--count", flags.options.num_requests, "How many; 0: all that it kept")
      ->capture_default_str();
}

void AddMakeToken(CLI::App& app, Flags& flags) {
  CLI::App* make = app.add_subcommand(
      "make-token", "A new token, to stderr, and its line of a server's --token-file, to stdout");
  make->callback([&flags] { flags.options.command = Command::kMakeToken; });
  make->add_option("tenant", flags.options.tenant, "Whose it is")
      ->required()
      ->check(CLI::Validator(
          [](const std::string& name) {
            return IsTenantName(name) ? "" : "letters, digits, '-', '_' and '.', at most 64";
          },
          "NAME", "name"));
}

void AddConnectionFlags(CLI::App& app, Flags& flags) {
  ClientOptions& options = flags.options;
  app.add_option("--token-file", flags.token_file,
                 "File with the bearer token to send (default: the variable SPADE_TOKEN)")
      ->check(CLI::ExistingFile)
      ->group("Connection");
  app.add_option("--target", options.target, "host:port of the server")
      ->envname("SPADE_TARGET")
      ->capture_default_str()
      ->group("Connection");
  app.add_option("--tenant", options.tenant, "Whose share of a full server the call takes")
      ->envname("SPADE_TENANT")
      ->group("Connection");
  app.add_flag("--tls", options.tls, "Use TLS")->group("Connection");
  app.add_option("--tls-ca", options.tls_ca_file, "PEM authority (default: the system's)")
      ->check(CLI::ExistingFile)
      ->group("Connection");
  app.add_option("--tls-cert", options.tls_certificate_file, "PEM client certificate")
      ->check(CLI::ExistingFile)
      ->group("Connection");
  app.add_option("--tls-key", options.tls_key_file, "PEM client key")
      ->check(CLI::ExistingFile)
      ->group("Connection");
  app.add_option("--tls-name", options.tls_name,
                 "Name that the server's certificate must have (default: the target's host)")
      ->group("Connection");
  app.add_option("--deadline", options.deadline_s, "Seconds for the call; 0: none")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str()
      ->group("Connection");
  app.add_flag("--json", options.json, "Print messages as JSON, one a line");
}

std::string ReadAll(std::istream& in) {
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

// An empty optional: the file cannot be read.
std::optional<std::string> PromptText(const Flags& flags) {
  if (!flags.prompt.empty()) return flags.prompt;
  if (flags.prompt_file.empty() || flags.prompt_file == "-") return ReadAll(std::cin);
  std::ifstream file(flags.prompt_file, std::ios::binary);
  if (!file) return std::nullopt;
  return ReadAll(file);
}

template <typename Request>
void SetCommon(const Flags& flags, const std::string& prompt, Request& request) {
  request.set_request_id(flags.request_id);
  request.set_model(flags.model);
  request.set_priority(flags.priority);
  request.set_cache_salt(flags.cache_salt);
  request.set_mode(flags.mode);
  request.set_max_mismatch(flags.max_mismatch);
  if (flags.no_special_tokens) request.set_add_special_tokens(false);
  if (flags.token_ids.empty()) {
    request.set_text(prompt);
  } else {
    request.mutable_token_ids()->mutable_ids()->Add(flags.token_ids.begin(), flags.token_ids.end());
  }
}

void SetLabels(const Flags& flags, v1::DecideRequest& request) {
  std::istringstream labels(flags.labels);
  for (std::string label; std::getline(labels, label, ',');) request.add_labels(label);
  for (const std::string& label : flags.label_list) request.add_labels(label);
}

// Not a flag's value: every user of the machine can see those.
std::string Token(const std::string& file) {
  const char* variable = std::getenv("SPADE_TOKEN");
  if (file.empty()) return variable == nullptr ? "" : variable;
  std::ifstream in(file, std::ios::binary);
  std::string token;
  in >> token;
  return token;
}

// An empty string: all is well.
std::string Resolve(Flags& flags) {
  ClientOptions& options = flags.options;
  if (options.tls_certificate_file.empty() != options.tls_key_file.empty()) {
    return "--tls-cert and --tls-key go together";
  }
  options.tls =
      options.tls || !options.tls_ca_file.empty() || !options.tls_certificate_file.empty();
  options.token = Token(flags.token_file);
  if (!flags.token_file.empty() && options.token.empty()) return "no token in " + flags.token_file;
  std::string prompt;
  if (flags.token_ids.empty() && options.command <= Command::kTokenize) {
    auto text = PromptText(flags);
    if (!text.has_value()) return "cannot read " + flags.prompt_file;
    prompt = *std::move(text);
  }
  switch (options.command) {
    case Command::kGenerate:
      SetCommon(flags, prompt, options.generate);
      for (const auto& stop : flags.stop) options.generate.mutable_stopping()->add_stop(stop);
      break;
    case Command::kDecide:
      SetCommon(flags, prompt, options.decide);
      SetLabels(flags, options.decide);
      if (options.decide.labels_size() < 2) return "decide needs --labels with at least two";
      options.decide.mutable_label_priors()->Add(flags.priors.begin(), flags.priors.end());
      break;
    case Command::kTokenize:
      options.tokenize.set_text(prompt);
      if (flags.no_special_tokens) options.tokenize.set_add_special_tokens(false);
      break;
    case Command::kDetokenize:
      options.detokenize.mutable_token_ids()->Add(flags.token_ids.begin(), flags.token_ids.end());
      break;
    case Command::kInfo:
    case Command::kHealth:
    case Command::kMakeToken:
    case Command::kRequests:
      break;
  }
  return "";
}

}  // namespace

ParsedClientOptions ParseClientOptions(int argc, const char* const* argv) {
  Flags flags;
  CLI::App app(
      "spade-client: talks to spade-server.\n"
      "Exit codes: 0 done, 1 the call failed (code and message on stderr), 2 usage.",
      "spade-client");
  app.set_version_flag("--version", std::string("spade-client ") + kVersion);
  app.require_subcommand(1);
  app.fallthrough();
  AddConnectionFlags(app, flags);
  AddGenerate(app, flags);
  AddDecide(app, flags);
  AddSmallCommands(app, flags);
  AddMakeToken(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream out;
    std::ostringstream err;
    app.exit(success, out, err);
    return {std::nullopt, 0, out.str()};
  } catch (const CLI::Error& error) {
    return {std::nullopt, kUsageError,
            std::string("spade-client: ") + error.what() + " (see --help)\n"};
  }
  if (const std::string problem = Resolve(flags); !problem.empty()) {
    return {std::nullopt, kUsageError, "spade-client: " + problem + "\n"};
  }
  return {std::move(flags.options), 0, ""};
}

}  // namespace spade
