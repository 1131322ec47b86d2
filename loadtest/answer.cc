#include "loadtest/answer.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "loadtest/rng.h"

namespace spade::loadtest {
namespace {

constexpr double kProbabilityTolerance = 1e-3;

bool IsExpectedRefusal(InvalidRequest variant, grpc::StatusCode code) {
  switch (variant) {
    case InvalidRequest::kGarbageBytes:
      // gRPC refuses it itself; its callback server says UNIMPLEMENTED.
      return code == grpc::UNIMPLEMENTED || code == grpc::INTERNAL ||
             code == grpc::INVALID_ARGUMENT;
    case InvalidRequest::kUnknownModel:
      return code == grpc::INVALID_ARGUMENT || code == grpc::NOT_FOUND;
    default:
      return code == grpc::INVALID_ARGUMENT;
  }
}

uint64_t Extend(uint64_t fingerprint, uint32_t value) { return Rng(fingerprint, value)(); }

}  // namespace

bool IsExpectedCode(const RequestSpec& spec, grpc::StatusCode code) {
  if (code == grpc::RESOURCE_EXHAUSTED) return true;
  if (spec.fault == Fault::kInvalid) return IsExpectedRefusal(spec.invalid, code);
  if (code == grpc::OK) return true;
  if (spec.fault == Fault::kCancel && code == grpc::CANCELLED) return true;
  if (spec.fault == Fault::kDeadline && code == grpc::DEADLINE_EXCEEDED) return true;
  // Early exits need a calibration that covers them.
  return spec.kind == Kind::kDecide && spec.mode != Mode::kExact &&
         code == grpc::FAILED_PRECONDITION;
}

void AnswerReader::Read(grpc::ByteBuffer& message, double now, AnswerScratch& scratch,
                        RunLog& log) {
  grpc::Status parsed;
  if (spec_.kind == Kind::kGenerate) {
    parsed = grpc::GenericDeserialize<grpc::ProtoBufferReader, v1::GenerateResponse>(
        &message, &scratch.generate);
    if (parsed.ok()) ReadGenerate(scratch.generate, now, log);
  } else {
    parsed = grpc::GenericDeserialize<grpc::ProtoBufferReader, v1::DecideResponse>(&message,
                                                                                   &scratch.decide);
    if (parsed.ok()) ReadDecide(scratch.decide, now);
  }
  if (!parsed.ok()) wrong_ = "a message that is no valid response";
}

void AnswerReader::ReadGenerate(const v1::GenerateResponse& response, double now, RunLog& log) {
  if (num_ends_ > 0) wrong_ = "a message after the one with `finish`";
  if (!response.token_ids().empty()) {
    if (record_.first == 0) {
      record_.first = now;
    } else if (spec_.fault != Fault::kSlowReader) {
      log.itls.push_back(static_cast<float>(now - record_.last));
    }
    record_.last = now;
    tokens_seen_ += static_cast<uint32_t>(response.token_ids_size());
    for (uint32_t id : response.token_ids()) fingerprint_ = Extend(fingerprint_, id);
  }
  if (!response.has_finish()) return;
  ++num_ends_;
  const v1::Usage& usage = response.finish().usage();
  record_.prompt_tokens = usage.prompt_tokens();
  record_.cached_tokens = usage.cached_tokens();
  record_.output_tokens = usage.output_tokens();
}

void AnswerReader::ReadDecide(const v1::DecideResponse& response, double now) {
  if (num_ends_ > 0) wrong_ = "a message after the final answer";
  if (record_.first == 0) record_.first = now;
  record_.last = now;
  const WorkloadOptions& options = workload_.options();
  const bool label_ok = response.label_index() < options.labels.size() &&
                        options.labels[response.label_index()] == response.label();
  if (!label_ok) wrong_ = absl::StrCat("the label '", response.label(), "' was not asked for");
  double sum = 0;
  for (float probability : response.probabilities()) sum += probability;
  if (static_cast<size_t>(response.probabilities_size()) != options.labels.size() ||
      !(std::abs(sum - 1) < kProbabilityTolerance)) {
    wrong_ = absl::StrCat(response.probabilities_size(), " probabilities that sum to ", sum);
  }
  if (response.kind() == v1::DecideResponse::KIND_EARLY) {
    if (spec_.mode != Mode::kVerified) wrong_ = "an early answer outside mode VERIFIED";
    record_.early = true;
    return;
  }
  ++num_ends_;
  record_.prompt_tokens = response.usage().prompt_tokens();
  record_.cached_tokens = response.usage().cached_tokens();
  record_.exit_layer = response.exit_layer();
  record_.compute_saved = static_cast<float>(response.compute_saved());
  record_.corrected = response.corrected();
  for (float probability : response.probabilities()) {
    fingerprint_ = Extend(fingerprint_, std::bit_cast<uint32_t>(probability));
  }
  if (options.decide_prompts.empty()) return;
  const std::string& truth = options.decide_prompts[spec_.prompt_index].label;
  if (!truth.empty()) record_.correct = static_cast<int8_t>(response.label() == truth);
}

std::string AnswerReader::CheckGenerate() const {
  if (tokens_seen_ != record_.output_tokens) {
    return absl::StrCat("usage counts ", record_.output_tokens, " output tokens, the stream had ",
                        tokens_seen_);
  }
  const bool exact = workload_.options().ignore_eos;
  if (tokens_seen_ > spec_.output_len || (exact && tokens_seen_ != spec_.output_len)) {
    return absl::StrCat(tokens_seen_, " output tokens of ", spec_.output_len, " asked for");
  }
  return "";
}

bool AnswerReader::IsRepeatable() const {
  if (spec_.kind == Kind::kGenerate) return spec_.num_copies > 1;
  return spec_.mode == Mode::kExact && !workload_.options().decide_prompts.empty();
}

std::string AnswerReader::Check(AnswerMemory* memory) const {
  if (!wrong_.empty()) return wrong_;
  if (num_ends_ != 1) return "OK, but no last message with `finish` or a final answer";
  if (spec_.kind == Kind::kGenerate) {
    if (std::string wrong = CheckGenerate(); !wrong.empty()) return wrong;
  }
  if (!memory || !IsRepeatable()) return "";
  // Generate and Decide share the memory: even and odd keys.
  const uint64_t key =
      spec_.kind == Kind::kGenerate ? 2 * spec_.index : 2 * uint64_t{spec_.prompt_index} + 1;
  return memory->Agrees(key, fingerprint_) ? "" : "another answer than the same request got before";
}

}  // namespace spade::loadtest
