#include <prometheus/counter.h>
#include <prometheus/histogram.h>

#include <algorithm>
#include <string_view>

#include "engine/runtime/engine_metrics.h"
#include "engine/runtime/metric_maker.h"

namespace spade {
namespace {

constexpr std::array<std::string_view, 2> kRpcNames = {"Generate", "Decide"};
constexpr std::array<std::string_view, 4> kFinishedNames = {"stop", "length", "abort", "error"};

// A forced generation scores the labels of a decision.
bool Generates(const RequestState& request) {
  return request.generation && !request.generation->is_forced();
}

Rpc RpcOf(const RequestState& request) {
  return Generates(request) ? Rpc::kGenerate : Rpc::kDecide;
}

}  // namespace

void EngineMetrics::MakeRequestCounters(const MetricMaker& make) {
  for (size_t rpc = 0; rpc < kRpcNames.size(); ++rpc) {
    for (size_t code = 0; code < kNumCodes; ++code) {
      const std::string name = absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
      requests_[rpc][code] =
          make.Counter("spade_requests_total", "Requests that ended or were refused, by gRPC code.",
                       {{"rpc", std::string(kRpcNames[rpc])}, {"code", name}});
    }
  }
  for (size_t reason = 0; reason < kFinishedNames.size(); ++reason) {
    finished_[reason] = make.Counter(
        "spade_sequences_finished_total",
        "Continuations and decisions that were accepted and are over, by how they ended.",
        {{"finished_reason", std::string(kFinishedNames[reason])}});
  }
  prompt_tokens_ = make.Counter("spade_prompt_tokens_total", "Prompt tokens of requests begun.");
  cached_tokens_ = make.Counter("spade_prompt_tokens_cached_total",
                                "Prompt tokens that came from the prefix cache.");
}

void EngineMetrics::MakeRequestHistograms(const MetricMaker& make, int32_t max_context) {
  first_token_ = make.Histogram(
      "spade_time_to_first_token_seconds",
      "From a request's arrival to a sequence's first token, or a decision's first answer.",
      FirstTokenBuckets());
  next_token_ = make.Histogram("spade_inter_token_latency_seconds",
                               "Between two tokens of a sequence.", TokenGapBuckets());
  token_seconds_ = make.Histogram("spade_request_time_per_output_token_seconds",
                                  "Mean of a sequence's gaps between tokens.", TokenGapBuckets());

  const Buckets times = RequestTimeBuckets();
  request_seconds_ = make.Histogram("spade_e2e_request_latency_seconds",
                                    "From a request's arrival to its end.", times);
  queue_seconds_ = make.Histogram("spade_request_queue_time_seconds",
                                  "From a request's arrival to its first schedule.", times);
  prefill_seconds_ =
      make.Histogram("spade_request_prefill_time_seconds",
                     "From the schedule to the first token, or a decision's last answer.", times);
  decode_seconds_ = make.Histogram("spade_request_decode_time_seconds",
                                   "From a sequence's first token to its last.", times);
  inference_seconds_ = make.Histogram("spade_request_inference_time_seconds",
                                      "From the schedule to the last token or answer.", times);

  const Buckets counts = TokenCountBuckets(max_context);
  prompt_lengths_ =
      make.Histogram("spade_request_prompt_tokens", "Tokens of a request's prompt.", counts);
  computed_lengths_ = make.Histogram("spade_request_prefill_computed_tokens",
                                     "Tokens of a prompt that the cache did not have.", counts);
  output_lengths_ =
      make.Histogram("spade_request_generation_tokens", "Tokens that a sequence drew.", counts);
  longest_output_ = make.Histogram("spade_request_max_num_generation_tokens",
                                   "Tokens of a generation's longest sequence.", counts);
  max_tokens_ = make.Histogram("spade_request_params_max_tokens",
                               "max_tokens of a generation, or what its context left.", counts);
  num_sequences_ =
      make.Histogram("spade_request_params_n", "n of a generation.", {1, 2, 5, 10, 20});
}

void EngineMetrics::OnRefused(Rpc rpc, absl::StatusCode code) {
  const auto index = static_cast<size_t>(code);
  if (index < kNumCodes) requests_[static_cast<size_t>(rpc)][index]->Increment();
}

void EngineMetrics::OnEnded(const RequestState& request, absl::StatusCode code,
                            Clock::time_point now) {
  OnRefused(RpcOf(request), code);
  request_seconds_->Observe(SecondsBetween(request.context().arrival, now));
  if (code != absl::StatusCode::kOk) {
    FinishedBy(code == absl::StatusCode::kInternal ? Finished::kError : Finished::kAbort)
        .Increment(request.num_unfinished);
    return;
  }
  if (!Generates(request)) return;
  int32_t longest = 0;
  for (const auto& sequence : request.generation->sequences()) {
    longest = std::max(longest, sequence->num_output());
  }
  longest_output_->Observe(longest);
}

void EngineMetrics::OnScheduled(const RequestState& request, int32_t cached_tokens,
                                Clock::time_point now) {
  const RequestContext& context = request.context();
  const auto prompt_tokens = static_cast<double>(context.prompt.size());
  queue_seconds_->Observe(SecondsBetween(context.arrival, now));
  prompt_tokens_->Increment(prompt_tokens);
  cached_tokens_->Increment(cached_tokens);
  prompt_lengths_->Observe(prompt_tokens);
  computed_lengths_->Observe(prompt_tokens - cached_tokens);
  if (!Generates(request)) return;
  max_tokens_->Observe(*request.generation->request().max_tokens);
  num_sequences_->Observe(request.generation->request().num_sequences);
}

void EngineMetrics::OnFirstToken(double seconds) { first_token_->Observe(seconds); }

void EngineMetrics::OnNextTokens(double seconds, int32_t count) {
  for (int32_t i = 0; i < count; ++i) next_token_->Observe(seconds / count);
}

void EngineMetrics::OnFinished(const SequenceFinish& finish) {
  FinishedBy(finish.reason == FinishReason::kStop ? Finished::kStop : Finished::kLength)
      .Increment();
  ObserveTimings(finish.timings);
  decode_seconds_->Observe(finish.timings.decode_s);
  output_lengths_->Observe(finish.usage.output_tokens);
  if (finish.usage.output_tokens < 2) return;
  token_seconds_->Observe(finish.timings.decode_s / (finish.usage.output_tokens - 1));
}

void EngineMetrics::ObserveTimings(const Timings& timings) {
  prefill_seconds_->Observe(timings.prefill_s);
  inference_seconds_->Observe(timings.prefill_s + timings.decode_s);
}

}  // namespace spade
