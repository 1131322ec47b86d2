#include "loadtest/workload.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "loadtest/invalid_request.h"
#include "loadtest/rng.h"
#include "spade/v1/inference.pb.h"

namespace spade::loadtest {
namespace {

constexpr uint64_t kPrefixStream = ~uint64_t{0};
constexpr uint64_t kTokenStreams = uint64_t{1} << 63;
constexpr double kMaxCancelSeconds = 0.25;
constexpr double kMaxTinyDeadlineSeconds = 0.005;
constexpr double kMaxReadPauseSeconds = 0.2;

absl::Status CheckLengths(const WorkloadOptions& options, const ModelFacts& model) {
  const uint32_t longest = options.input_lens.max() + options.output_lens.max();
  if (!options.trace.empty() || longest <= model.max_context) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "up to ", options.input_lens.max(), " input and ", options.output_lens.max(),
      " output tokens exceed the model's context of ", model.max_context, "; lower the lengths"));
}

void AppendTokens(Rng rng, const ModelFacts& model, uint32_t end, std::vector<uint32_t>& tokens) {
  const auto is_special = [&](uint32_t id) {
    return (model.has_bos && id == model.bos_token_id) ||
           std::find(model.eos_token_ids.begin(), model.eos_token_ids.end(), id) !=
               model.eos_token_ids.end();
  };
  while (tokens.size() < end) {
    const uint32_t id = rng.Below(model.vocab_size);
    if (!is_special(id)) tokens.push_back(id);
  }
}

Mode OneOf(const std::vector<Mode>& modes, Rng& rng) {
  return modes[rng.Below(static_cast<uint32_t>(modes.size()))];
}

template <typename Message>
std::string Finish(const RequestSpec& spec, const std::string& cold_salt, const ModelFacts& model,
                   Message& request) {
  if (!cold_salt.empty()) request.set_cache_salt(absl::StrCat(cold_salt, "/", spec.index));
  if (spec.fault == Fault::kInvalid) return MakeInvalidPayload(spec.invalid, model, request);
  return request.SerializeAsString();
}

}  // namespace

absl::StatusOr<Workload> Workload::Make(WorkloadOptions options, ModelFacts model) {
  if (model.vocab_size < model.eos_token_ids.size() + 2 || model.max_context < 2) {
    return absl::InvalidArgumentError("the server reports no usable vocabulary or context length");
  }
  if (options.decide_share > 0 && options.labels.size() < 2) {
    return absl::InvalidArgumentError("Decide needs two labels or more: --labels ' yes, no'");
  }
  if (options.decide_modes.empty() || options.generate_modes.empty()) {
    return absl::InvalidArgumentError("name a mode with --mode and with --generate-mode");
  }
  if (absl::Status status = CheckLengths(options, model); !status.ok()) return status;
  return Workload(std::move(options), std::move(model));
}

RequestSpec Workload::MakeSpec(uint64_t index) const {
  Rng rng(options_.seed, index);
  RequestSpec spec;
  spec.index = index;
  spec.kind = rng.Uniform() < options_.decide_share ? Kind::kDecide : Kind::kGenerate;
  spec.input_len = options_.input_lens.Sample(rng);
  if (spec.kind == Kind::kDecide) {
    spec.mode = OneOf(options_.decide_modes, rng);
  } else {
    spec.mode = OneOf(options_.generate_modes, rng);
    SetLengths(rng, spec);
  }
  if (HasText(spec)) {
    spec.prompt_index = rng.Below(static_cast<uint32_t>(options_.decide_prompts.size()));
  }
  if (options_.chaos) ChooseFault(rng, spec);
  return spec;
}

bool Workload::HasText(const RequestSpec& spec) const {
  return !options_.decide_prompts.empty() &&
         (spec.kind == Kind::kDecide || options_.generate_from_prompts);
}

void Workload::SetLengths(Rng& rng, RequestSpec& spec) const {
  if (options_.trace.empty()) {
    spec.output_len = options_.output_lens.Sample(rng);
    return;
  }
  const TraceRow& row = options_.trace[spec.index % options_.trace.size()];
  spec.input_len = row.input_len;
  spec.output_len = row.output_len;
}

void Workload::ChooseFault(Rng& rng, RequestSpec& spec) const {
  spec.fault = options_.chaos_mix.Sample(rng);
  double seconds = 0;
  switch (spec.fault) {
    case Fault::kCancel:
      seconds = rng.Uniform() < 0.3 ? -1 : rng.Uniform(0, kMaxCancelSeconds);
      break;
    case Fault::kDeadline:
      seconds = rng.Uniform(0, kMaxTinyDeadlineSeconds);
      break;
    case Fault::kSlowReader:
      seconds = rng.Uniform(0, kMaxReadPauseSeconds);
      break;
    case Fault::kBurst:
      spec.num_copies = options_.burst;
      break;
    case Fault::kInvalid:
      spec.invalid = ChooseInvalidRequest(rng, spec.kind);
      break;
    case Fault::kNone:
      break;
  }
  spec.fault_seconds = static_cast<float>(seconds);
}

std::vector<uint32_t> Workload::MakeTokens(const RequestSpec& spec) const {
  std::vector<uint32_t> tokens;
  tokens.reserve(spec.input_len);
  if (model_.has_bos) tokens.push_back(model_.bos_token_id);
  const uint32_t prefix_len = std::min(options_.shared_prefix_len, spec.input_len);
  AppendTokens(Rng(options_.seed, kPrefixStream), model_, prefix_len, tokens);
  AppendTokens(Rng(options_.seed, kTokenStreams | spec.index), model_, spec.input_len, tokens);
  return tokens;
}

template <typename Message>
void Workload::SetPrompt(const RequestSpec& spec, Message& request) const {
  if (HasText(spec)) {
    request.set_text(options_.decide_prompts[spec.prompt_index].text);
    return;
  }
  const std::vector<uint32_t> tokens = MakeTokens(spec);
  request.mutable_token_ids()->mutable_ids()->Assign(tokens.begin(), tokens.end());
}

std::string Workload::MakePayload(const RequestSpec& spec) const {
  if (spec.kind == Kind::kGenerate) {
    v1::GenerateRequest request;
    SetPrompt(spec, request);
    request.mutable_sampling()->set_temperature(options_.temperature);
    request.mutable_sampling()->set_seed(spec.index);
    request.mutable_stopping()->set_max_tokens(spec.output_len);
    request.mutable_stopping()->set_ignore_eos(options_.ignore_eos);
    request.set_mode(static_cast<v1::Mode>(spec.mode));
    if (spec.mode == Mode::kFast) request.set_max_mismatch(options_.max_mismatch);
    return Finish(spec, options_.cold_salt, model_, request);
  }
  v1::DecideRequest request;
  SetPrompt(spec, request);
  request.mutable_labels()->Assign(options_.labels.begin(), options_.labels.end());
  request.set_mode(static_cast<v1::Mode>(spec.mode));
  if (spec.mode != Mode::kExact) request.set_max_mismatch(options_.max_mismatch);
  return Finish(spec, options_.cold_salt, model_, request);
}

absl::StatusOr<std::vector<DecidePrompt>> ReadDecidePrompts(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open the prompts ", path));
  std::vector<DecidePrompt> prompts;
  std::string line;
  for (int line_number = 1; std::getline(file, line); ++line_number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const nlohmann::json row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object() || !row.contains("prompt") || !row["prompt"].is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " line ", line_number, ": no object with the text \"prompt\""));
    }
    DecidePrompt prompt{row["prompt"].get<std::string>(), ""};
    if (row.contains("label") && row["label"].is_string()) prompt.label = row["label"];
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return absl::InvalidArgumentError(absl::StrCat(path, " has no prompts"));
  return prompts;
}

}  // namespace spade::loadtest
