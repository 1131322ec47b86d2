#include "kernels/cuda/cuda_logit_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"

namespace spade::cuda {
namespace {

constexpr size_t kFirstBytes = size_t{64} << 10;

// Of the Courier, which carries words.
template <class T>
std::span<const int32_t> WordsOf(std::span<const T> values) {
  static_assert(sizeof(T) % sizeof(int32_t) == 0);
  return {reinterpret_cast<const int32_t*>(values.data()), values.size_bytes() / sizeof(int32_t)};
}

void Grow(size_t bytes, absl::StatusOr<Buffer> (*allocate)(size_t), Buffer& buffer) {
  if (bytes <= buffer.size()) return;
  absl::StatusOr<Buffer> grown = allocate(std::max({bytes, 2 * buffer.size(), kFirstBytes}));
  SPADE_CHECK(grown.ok());
  buffer = *std::move(grown);
}

LogitAsk AskOf(const LogitQuery& query) {
  LogitAsk ask;
  ask.uniform = query.uniform;
  // Exact: a float less than 1 has 24 bits.
  if (query.top_p < 1.0f) ask.top_p = static_cast<Fixed>(std::ldexp(double{query.top_p}, 64));
  if (query.top_p < 1.0f && ask.top_p == 0) ask.top_p = 1;
  constexpr double kSlack = 1e-3;  // the cut itself is made on the weights
  ask.log_min_p = query.min_p > 0.0f ? std::log(double{query.min_p}) - kSlack : 0.0;
  ask.row = query.row;
  ask.scored = query.scored;
  ask.num_top = std::max(query.num_top, 0);
  ask.top_k = query.top_k;
  ask.first_edit = query.first_edit;
  ask.num_added = query.num_added;
  ask.num_penalised = query.num_penalised;
  ask.first_allowed = query.first_allowed;
  ask.num_allowed = query.num_allowed;
  ask.temperature = query.temperature;
  ask.min_p = query.min_p;
  ask.repetition_penalty = query.repetition_penalty;
  return ask;
}

float Logprob(float logit, double log_sum) {
  return static_cast<float>(static_cast<double>(logit) - log_sum);
}

void FillScore(const LogitScoreOut& score, LogitAnswer& answer) {
  answer.rank = score.rank;
  answer.num_top = score.num_top;
  if (score.sum == 0) {
    answer.logprob = -std::numeric_limits<float>::infinity();
    return;
  }
  const double log_sum =
      double{score.max} + std::log(static_cast<double>(score.sum) / double{kFixedOne});
  answer.logprob = Logprob(score.logit, log_sum);
  for (size_t i = 0; i < static_cast<size_t>(score.num_top); ++i) {
    answer.top[i] = {score.top_ids[i], Logprob(score.top_logits[i], log_sum)};
  }
}

}  // namespace

void CudaLogitReader::Reserve(size_t answer_bytes, const LogitReading& reading) {
  Grow(answer_bytes, AllocateDevice, answers_);
  Grow((reading.edits.size() + reading.allowed.size()) * sizeof(float), AllocateDevice, logits_);
  Grow(
      answer_bytes, [](size_t bytes) -> absl::StatusOr<Buffer> { return AllocatePinned(bytes); },
      received_);
}

// Returns the number of scores.
int32_t CudaLogitReader::ListAsks(const LogitReading& reading) {
  asks_.clear();
  int32_t scores = 0;
  for (const LogitQuery& query : reading.queries) {
    SPADE_CHECK(query.num_top <= kMaxTopLogits && query.top_k >= 0);
    SPADE_CHECK(query.first_edit >= 0 && query.first_edit + query.num_added + query.num_penalised <=
                                             std::ssize(reading.edits));
    SPADE_CHECK(query.first_allowed >= 0 &&
                query.first_allowed + query.num_allowed <= std::ssize(reading.allowed));
    asks_.push_back(AskOf(query));
    if (query.num_top >= 0) asks_.back().score = scores++;
  }
  return scores;
}

void CudaLogitReader::SendAsks(const LogitReading& reading, LogitArgs& args) {
  const std::span<const int32_t> parts[] = {WordsOf(std::span<const LogitAsk>(asks_)),
                                            WordsOf(reading.edits), reading.allowed};
  args.asks = reinterpret_cast<const LogitAsk*>(courier_.Send(parts));
  args.edits = reinterpret_cast<const LogitEdit*>(args.asks + asks_.size());
  args.allowed = reinterpret_cast<const int32_t*>(args.edits + reading.edits.size());
  args.saved = static_cast<float*>(logits_.data());
  args.gathered = args.saved + reading.edits.size();
}

void CudaLogitReader::Read(Tensor logits, const LogitReading& reading,
                           std::span<LogitAnswer> answers) {
  const size_t count = reading.queries.size();
  SPADE_CHECK(answers.size() == count && logits.dtype == DType::kF32);
  SPADE_CHECK(logits.cols > 0 && logits.cols <= kMaxReadTokens);
  if (count == 0) return;
  const int32_t scores = ListAsks(reading);
  const size_t bytes = count * (sizeof(int32_t) + sizeof(float)) +
                       static_cast<size_t>(scores) * sizeof(LogitScoreOut);
  Reserve(bytes, reading);
  LogitArgs args;
  args.logits = static_cast<float*>(logits.data);
  args.cols = logits.cols;
  args.num_tokens = static_cast<int32_t>(logits.cols - (reading.other ? 1 : 0));
  args.vectors = logits.cols % 4 == 0 && reinterpret_cast<uintptr_t>(logits.data) % 16 == 0;
  args.wants_entropy = reading.other.has_value();
  args.other = reading.other.value_or(OtherTokens{});
  args.count = static_cast<int64_t>(count);
  SendAsks(reading, args);
  args.tokens = static_cast<int32_t*>(answers_.data());
  args.entropies = reinterpret_cast<float*>(args.tokens + count);
  args.scores = reinterpret_cast<LogitScoreOut*>(args.entropies + count);
  ReadLogits(args, stream_);
  CheckCuda(
      cudaMemcpyAsync(received_.data(), answers_.data(), bytes, cudaMemcpyDeviceToHost, stream_),
      "copy from the GPU");
  CheckCuda(cudaStreamSynchronize(stream_), "an operation queued before");

  const auto* tokens = static_cast<const int32_t*>(received_.data());
  const auto* entropies = reinterpret_cast<const float*>(tokens + count);
  const auto* score_list = reinterpret_cast<const LogitScoreOut*>(entropies + count);
  for (size_t i = 0; i < count; ++i) {
    answers[i].token = tokens[i];
    answers[i].entropy = entropies[i];
    if (asks_[i].score >= 0) FillScore(score_list[asks_[i].score], answers[i]);
  }
}

}  // namespace spade::cuda
