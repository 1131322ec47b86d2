#include "tools/trace/token_tracer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/finite.h"
#include "engine/sampling/vocab_scan.h"
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

// 0 where no logit is a number; what is recorded tells.
TokenId MostProbable(std::span<const float> logits) { return std::max(ArgMax(logits), 0); }

// The start of a TokenEnd, but for its state. Returns the token.
TokenId WriteEnd(std::span<const float> logits, float* end) {
  const TokenId token = MostProbable(logits);
  end[0] = static_cast<float>(token);
  end[1] = LogSumExp(logits);
  return token;
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

absl::StatusOr<std::vector<float>> TokenTracer::Trace(std::span<const Prompt> prompts,
                                                      size_t index) {
  const int64_t record_floats = shape().record_floats();
  all_.resize(prompts.size() * static_cast<size_t>(options_.num_tokens * record_floats));
  std::vector<TokenId> tokens = Prefill(prompts);
  for (int32_t step = 0; step < options_.num_tokens; ++step) Decode(step, tokens);

  std::vector<float> records;
  std::vector<int32_t> positions;
  for (size_t p = 0; p < prompts.size(); ++p) {
    std::mt19937_64 random(options_.seed + index + p);
    std::vector<int32_t> steps = Count(std::max(num_rows_[p], 1));
    std::ranges::shuffle(steps, random);
    for (int32_t i = 0; i < options_.rows_per_prompt; ++i) {
      const int32_t step = steps[static_cast<size_t>(i) % steps.size()];
      const float* record = Record(p, step);
      records.insert(records.end(), record, record + record_floats);
      positions.push_back(lengths_[p] + step);
    }
  }
  RunTails(positions, records);
  if (!AllFinite(records)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model's hidden states or logits after one of prompts ", index + 1, " to ",
                     index + prompts.size(),
                     " are not finite: its weights are damaged, or too large for this type"));
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
    tokens.push_back(MostProbable(std::span(logits + p * vocab, vocab)));
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
    copy_hidden(last ? 2 : shape().hidden_offset(stage));
  }
  const auto vocab = static_cast<size_t>(config.vocab_size);
  const float* logits = model.Logits(Count(count));
  for (size_t p = 0; p < tokens.size(); ++p) {
    const bool is_eos = std::ranges::find(config.eos_ids, tokens[p]) != config.eos_ids.end();
    if (is_eos) num_rows_[p] = std::min(num_rows_[p], step);
    tokens[p] = WriteEnd(std::span(logits + p * vocab, vocab), Record(p, step));
  }
}

void TokenTracer::RunTails(std::span<const int32_t> positions, std::span<float> records) {
  const auto record_floats = static_cast<size_t>(shape().record_floats());
  const auto batch =
      static_cast<size_t>(std::max<int64_t>(1, loaded_.max_rows() / std::max(1, shape().exits())));
  for (size_t begin = 0; begin < positions.size(); begin += batch) {
    const size_t count = std::min(batch, positions.size() - begin);
    RunTailBatch(positions.subspan(begin, count),
                 records.subspan(begin * record_floats, count * record_floats));
  }
}

// One climb: the rows of each exit join as its layer is reached.
void TokenTracer::RunTailBatch(std::span<const int32_t> positions, std::span<float> records) {
  StagedModel& model = loaded_.model();
  const TokenTraces layout = shape();
  const auto hidden_size = static_cast<size_t>(layout.hidden_size);
  const auto record = [&](size_t i) {
    return records.data() + static_cast<int64_t>(i) * layout.record_floats();
  };
  RowBatch batch;
  std::vector<float> hidden;  // (rows, hidden_size): of the climb so far
  for (int32_t exit = 0; exit < layout.exits(); ++exit) {
    for (size_t i = 0; i < positions.size(); ++i) {
      const float* state = record(i) + layout.hidden_offset(exit);
      hidden.insert(hidden.end(), state, state + hidden_size);
      batch.ids.push_back(0);  // its embedding is replaced
      batch.positions.push_back(positions[i]);
      batch.wants_output.push_back(1);
      ++batch.spade_rows;
    }
    // Begin sizes the climb and its angles; the rows' states replace the embeddings it made.
    model.Begin(batch);
    const Tensor states = model.hidden();
    loaded_.backend().CopyFromHost(states.data, hidden.data(), states.bytes());
    model.RunStage(exit + 1, batch, loaded_.kv().views());
    loaded_.backend().CopyToHost(hidden.data(), model.hidden().data, states.bytes());
  }
  const auto vocab = static_cast<size_t>(model.config().vocab_size);
  const float* logits = model.Logits(Count(batch.rows()));
  for (size_t row = 0; row < static_cast<size_t>(batch.rows()); ++row) {
    const auto exit = static_cast<int32_t>(row / positions.size());
    float* end = record(row % positions.size()) + layout.spade_offset(exit);
    WriteEnd(std::span(logits + row * vocab, vocab), end);
    std::copy_n(hidden.data() + row * hidden_size, hidden_size, end + 2);
  }
}

}  // namespace spade
