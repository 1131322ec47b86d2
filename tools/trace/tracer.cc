#include "tools/trace/tracer.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "kernels/check.h"

namespace spade {
namespace {

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

// The last row of each prompt in a batch of whole prompts.
std::vector<int32_t> LastRows(std::span<const Prompt> prompts) {
  std::vector<int32_t> rows;
  int32_t end = 0;
  for (const Prompt& prompt : prompts) {
    end += static_cast<int32_t>(prompt.ids.size());
    rows.push_back(end - 1);
  }
  return rows;
}

std::vector<int32_t> FirstRows(int64_t count) {
  std::vector<int32_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace

Tracer::Tracer(LoadedModel& loaded, int32_t first_layer, std::vector<TokenId> label_ids)
    : loaded_(loaded), label_ids_(std::move(label_ids)) {
  const ModelConfig& config = loaded.model().config();
  shape_ = {first_layer, config.num_layers, config.hidden_size,
            static_cast<int32_t>(label_ids_.size())};
  SPADE_CHECK(loaded.model().num_stages() == shape_.exits() + 1);
}

size_t Tracer::BatchSize(std::span<const Prompt> prompts) const {
  const int64_t most = std::max<int64_t>(1, loaded_.max_rows() / (2 * shape_.exits()));
  int64_t rows = 0;
  size_t count = 0;
  while (count < prompts.size() && static_cast<int64_t>(count) < most) {
    rows += static_cast<int64_t>(prompts[count].ids.size());
    if (rows > loaded_.max_rows() && count > 0) break;
    ++count;
  }
  return count;
}

std::vector<float> Tracer::Trace(std::span<const Prompt> prompts) {
  std::vector<float> records(prompts.size() * static_cast<size_t>(shape_.record_floats()));
  TraceFullDepth(prompts, records);
  TraceSpade(prompts, records);
  return records;
}

float* Tracer::ExitRecord(std::span<float> records, size_t prompt, int32_t exit) const {
  return records.data() + static_cast<int64_t>(prompt) * shape_.record_floats() + shape_.labels +
         exit * shape_.exit_floats();
}

void Tracer::TraceFullDepth(std::span<const Prompt> prompts, std::span<float> records) {
  StagedModel& model = loaded_.model();
  const auto labels = static_cast<size_t>(shape_.labels);
  const auto hidden_size = static_cast<size_t>(shape_.hidden_size);
  std::vector<const std::vector<TokenId>*> ids;
  for (const Prompt& prompt : prompts) ids.push_back(&prompt.ids);
  RowBatch batch = loaded_.BatchOf(ids);
  const std::vector<int32_t> last_rows = LastRows(prompts);
  model.Begin(batch);
  for (int32_t exit = 0; exit < shape_.exits(); ++exit) {
    const auto start = std::chrono::steady_clock::now();
    model.RunStage(exit, batch, loaded_.kv().views());
    const float* hidden = loaded_.backend().HostView(model.hidden());
    seconds_ += Seconds(start);
    const StageRange stage = model.stage(exit);
    layer_rows_ += double(batch.rows()) * (stage.last - stage.first);
    for (size_t p = 0; p < prompts.size(); ++p) {
      const float* row = hidden + static_cast<size_t>(last_rows[p]) * hidden_size;
      std::copy_n(row, hidden_size, ExitRecord(records, p, exit));
    }
    const float* lens = model.LogitsOf(last_rows, label_ids_);
    for (size_t p = 0; p < prompts.size(); ++p) {
      std::copy_n(lens + p * labels, labels, ExitRecord(records, p, exit) + hidden_size);
    }
  }
  model.RunStage(shape_.exits(), batch, loaded_.kv().views());
  SPADE_CHECK(batch.rows() == static_cast<int64_t>(prompts.size()));
  const float* full = model.LogitsOf(FirstRows(batch.rows()), label_ids_);
  for (size_t p = 0; p < prompts.size(); ++p) {
    std::copy_n(full + p * labels, labels,
                records.data() + p * static_cast<size_t>(shape_.record_floats()));
  }
}

void Tracer::TraceSpade(std::span<const Prompt> prompts, std::span<float> records) {
  StagedModel& model = loaded_.model();
  const auto labels = static_cast<size_t>(shape_.labels);
  const auto hidden_size = static_cast<size_t>(shape_.hidden_size);
  RowBatch batch;
  std::vector<float> hidden;  // (rows, hidden_size): of the climb so far
  for (int32_t exit = 0; exit < shape_.exits(); ++exit) {
    for (size_t p = 0; p < prompts.size(); ++p) {
      const float* state = ExitRecord(records, p, exit);
      for (const int32_t position : {static_cast<int32_t>(prompts[p].ids.size()) - 1, 1}) {
        batch.ids.push_back(prompts[p].ids.back());
        batch.positions.push_back(position);
        batch.wants_output.push_back(1);
        ++batch.spade_rows;
        hidden.insert(hidden.end(), state, state + hidden_size);
      }
    }
    // Begin sizes the climb and its angles; the rows' states replace the embeddings it made.
    model.Begin(batch);
    const Tensor states = model.hidden();
    loaded_.backend().CopyFromHost(states.data, hidden.data(), states.bytes());
    model.RunStage(exit + 1, batch, loaded_.kv().views());
    loaded_.backend().CopyToHost(hidden.data(), model.hidden().data, states.bytes());
  }
  const float* logits = model.LogitsOf(FirstRows(batch.rows()), label_ids_);
  for (int32_t exit = 0; exit < shape_.exits(); ++exit) {
    for (size_t p = 0; p < prompts.size(); ++p, logits += 2 * labels) {
      std::copy_n(logits, 2 * labels, ExitRecord(records, p, exit) + hidden_size + labels);
    }
  }
}

double Tracer::seconds_per_layer_row() const {
  return layer_rows_ > 0 ? seconds_ / layer_rows_ : 0;
}

std::vector<int32_t> WatchedLayers(int32_t first_layer, int32_t num_layers) {
  std::vector<int32_t> layers;
  for (int32_t layer = first_layer; layer < num_layers; ++layer) layers.push_back(layer);
  return layers;
}

LayerCosts CostsOf(const ModelConfig& config) {
  const double keys_and_values = 2.0 * double(config.heads().kv_cols()) * config.hidden_size;
  return {config.num_layers, keys_and_values / double(config.layer_parameters()), 0};
}

}  // namespace spade
