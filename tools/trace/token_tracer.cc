#include "tools/trace/token_tracer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/check.h"
#include "tools/trace/traces.h"

namespace spade {
namespace {

float LogSumExp(std::span<const float> logits) {
  const float top = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - top);
  return top + static_cast<float>(std::log(sum));
}

std::vector<int32_t> Count(int64_t rows) {
  std::vector<int32_t> list(static_cast<size_t>(rows));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

}  // namespace

TokenTracer::TokenTracer(LoadedModel& loaded, const TokenTraceOptions& options)
    : loaded_(loaded), options_(options) {
  SPADE_CHECK(loaded.model().num_stages() == shape().exits() + 1);
}

TokenTraces TokenTracer::shape() const {
  const ModelConfig& config = loaded_.model().config();
  return {
      options_.first_layer, config.num_layers, config.hidden_size, options_.rows_per_prompt, {}};
}

size_t TokenTracer::BatchSize(std::span<const Prompt> prompts) const {
  int64_t rows = 0;
  size_t count = 0;
  while (count < prompts.size()) {
    rows += static_cast<int64_t>(prompts[count].ids.size()) + options_.num_tokens;
    if (rows > loaded_.max_rows() && count > 0) break;
    ++count;
  }
  return count;
}

std::vector<float> TokenTracer::Trace(std::span<const Prompt> prompts, size_t index) {
  const int64_t record_floats = shape().record_floats();
  all_.resize(prompts.size() * static_cast<size_t>(options_.num_tokens * record_floats));
  std::vector<TokenId> tokens = Prefill(prompts);
  for (int32_t step = 0; step < options_.num_tokens; ++step) Decode(step, tokens);

  std::vector<float> records;
  for (size_t p = 0; p < prompts.size(); ++p) {
    std::mt19937_64 random(options_.seed + index + p);
    std::vector<int32_t> steps = Count(std::max(num_rows_[p], 1));
    std::ranges::shuffle(steps, random);
    for (int32_t i = 0; i < options_.rows_per_prompt; ++i) {
      const float* record = Record(p, steps[static_cast<size_t>(i) % steps.size()]);
      records.insert(records.end(), record, record + record_floats);
    }
  }
  return records;
}

// Runs the prompts; returns the first generated token of each.
std::vector<TokenId> TokenTracer::Prefill(std::span<const Prompt> prompts) {
  StagedModel& model = loaded_.model();
  std::vector<const std::vector<TokenId>*> ids;
  for (const Prompt& prompt : prompts) ids.push_back(&prompt.ids);
  batch_ = loaded_.BatchOf(ids, options_.num_tokens);
  lengths_.clear();
  for (const Prompt& prompt : prompts) lengths_.push_back(static_cast<int32_t>(prompt.ids.size()));
  num_rows_.assign(prompts.size(), options_.num_tokens);
  model.Begin(batch_);
  for (int32_t stage = 0; stage < model.num_stages(); ++stage) {
    model.RunStage(stage, batch_, loaded_.kv().views());
  }
  const auto vocab = static_cast<size_t>(model.config().vocab_size);
  const float* logits = model.Logits(Count(batch_.rows()));
  std::vector<TokenId> tokens;
  for (size_t p = 0; p < prompts.size(); ++p) {
    tokens.push_back(ArgMax(std::span(logits + p * vocab, vocab)));
  }
  return tokens;
}

// Runs the row of each sequence's newest token, and replaces it by the next.
void TokenTracer::Decode(int32_t step, std::vector<TokenId>& tokens) {
  StagedModel& model = loaded_.model();
  const ModelConfig& config = model.config();
  const auto count = static_cast<int32_t>(tokens.size());
  const auto hidden_size = static_cast<size_t>(config.hidden_size);
  batch_.ids = tokens;
  batch_.positions.clear();
  for (const int32_t length : lengths_) batch_.positions.push_back(length + step);
  batch_.sequences = Count(count);
  batch_.wants_output.assign(tokens.size(), 1);
  const auto copy_hidden = [&](int64_t offset) {
    const float* hidden = loaded_.backend().HostView(model.hidden());
    for (size_t p = 0; p < tokens.size(); ++p) {
      std::copy_n(hidden + p * hidden_size, hidden_size, Record(p, step) + offset);
    }
  };
  model.Begin(batch_);
  for (int32_t stage = 0; stage < model.num_stages(); ++stage) {
    model.RunStage(stage, batch_, loaded_.kv().views());
    const bool last = stage + 1 == model.num_stages();
    copy_hidden(2 + (last ? 0 : int64_t{1 + stage} * config.hidden_size));
  }
  const auto vocab = static_cast<size_t>(config.vocab_size);
  const float* logits = model.Logits(Count(count));
  for (size_t p = 0; p < tokens.size(); ++p) {
    const std::span<const float> row(logits + p * vocab, vocab);
    const bool is_eos = std::ranges::find(config.eos_ids, tokens[p]) != config.eos_ids.end();
    if (is_eos) num_rows_[p] = std::min(num_rows_[p], step);
    tokens[p] = ArgMax(row);
    Record(p, step)[0] = static_cast<float>(tokens[p]);
    Record(p, step)[1] = LogSumExp(row);
  }
}

}  // namespace spade
