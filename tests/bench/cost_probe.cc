#include "tests/bench/cost_probe.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/bench/median.h"

namespace spade::bench {
namespace {

// Rows [first, first + count) of each of `sequences` sequences; `outputs` rows want theirs.
struct Shape {
  int32_t sequences = 1;
  int32_t first = 0;
  int32_t count = 1;
  int32_t outputs = 1;

  int32_t rows() const { return sequences * count; }
};

class Probe {
 public:
  Probe(EngineParts& parts, int32_t repeats)
      : model_(*parts.model), kv_(*parts.kv), repeats_(repeats) {}

  // Medians: a stage each, then the head over the rows that wanted outputs.
  std::vector<double> Measure(const Shape& shape) {
    std::vector<std::vector<double>> seconds(static_cast<size_t>(model_.num_stages()) + 1);
    for (int32_t repeat = 0; repeat < repeats_ + 1; ++repeat) Climb(shape, repeat > 0, seconds);
    std::vector<double> medians;
    for (std::vector<double>& samples : seconds) medians.push_back(Median(std::move(samples)));
    return medians;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Fill(const Shape& shape) {
    const int32_t block_size = kv_.shape().block_size;
    batch_.Clear();
    batch_.table_stride = (shape.first + shape.count + block_size - 1) / block_size;
    int32_t row = 0;
    for (int32_t sequence = 0; sequence < shape.sequences; ++sequence) {
      for (int32_t block = 0; block < batch_.table_stride; ++block) {
        batch_.block_tables.push_back((sequence * batch_.table_stride + block) % kv_.num_blocks());
      }
      for (int32_t i = 0; i < shape.count; ++i, ++row) {
        batch_.ids.push_back(5 + row % 200);
        batch_.positions.push_back(shape.first + i);
        batch_.sequences.push_back(sequence);
        batch_.wants_output.push_back(row >= shape.rows() - shape.outputs);
      }
    }
  }

  void Climb(const Shape& shape, bool counts, std::vector<std::vector<double>>& seconds) {
    Fill(shape);
    model_.Begin(batch_);
    const auto note = [&](size_t place, Clock::time_point begin) {
      if (!counts) return;
      seconds[place].push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    };
    for (int32_t stage = 0; stage < model_.num_stages(); ++stage) {
      const Clock::time_point begin = Clock::now();
      model_.RunStage(stage, batch_, kv_.views());
      note(static_cast<size_t>(stage), begin);
    }
    std::vector<int32_t> rows(static_cast<size_t>(batch_.rows()));
    std::iota(rows.begin(), rows.end(), 0);
    const Clock::time_point begin = Clock::now();
    model_.Logits(rows);
    note(seconds.size() - 1, begin);
  }

  StagedModel& model_;
  const KvCache& kv_;
  const int32_t repeats_;
  RowBatch batch_;
};

// The slope of each stage's seconds over the positions that its rows attend to.
std::vector<double> Slopes(const std::vector<double>& far, const std::vector<double>& near,
                           double positions, size_t num_stages) {
  std::vector<double> slopes;
  for (size_t stage = 0; stage < num_stages; ++stage) {
    slopes.push_back(std::max(0.0, (far[stage] - near[stage]) / positions));
  }
  return slopes;
}

}  // namespace

simulate::MeasuredCosts MeasureStages(const EngineOptions& options, EngineParts& parts,
                                      int32_t repeats) {
  const auto num_stages = static_cast<size_t>(parts.model->num_stages());
  simulate::MeasuredCosts costs;
  costs.device = parts.info.device;
  costs.num_layers = parts.info.config.num_layers;
  for (size_t stage = 0; stage + 1 < num_stages; ++stage) {
    costs.exit_layers.push_back(parts.model->stage(static_cast<int32_t>(stage)).last);
  }
  costs.stages.resize(num_stages);
  Probe probe(parts, repeats);
  const auto most_logits = static_cast<int32_t>(parts.model->max_output_rows());
  for (int32_t rows = 1; rows <= options.max_rows; rows *= 2) {
    const std::vector<double> all = probe.Measure({rows, 0, 1, std::min(rows, most_logits)});
    for (size_t stage = 0; stage < num_stages; ++stage) {
      costs.stages[stage].emplace_back(rows, all[stage]);
    }
    costs.head.emplace_back(rows, all[num_stages]);
    const std::vector<double> one = probe.Measure({rows, 0, 1, 1});
    costs.last_stage_one_output.emplace_back(rows, one[num_stages - 1]);
  }
  const int32_t context = std::min(parts.info.max_context, 256);
  constexpr int32_t kRows = 16;
  costs.decode_position_seconds =
      Slopes(probe.Measure({kRows, context - 1, 1, kRows}), probe.Measure({kRows, 0, 1, kRows}),
             kRows * (context - 1.0), num_stages);
  const int32_t chunk = std::min(context, options.max_rows);
  costs.prefill_position_seconds =
      Slopes(probe.Measure({1, 0, chunk, 1}), probe.Measure({chunk, 0, 1, 1}),
             chunk * (chunk - 1) / 2.0, num_stages);
  return costs;
}

simulate::MeasuredCosts MedianOf(std::span<const simulate::MeasuredCosts> rounds) {
  simulate::MeasuredCosts medians = rounds.front();
  // `of` a round is the place in it that `median` is in medians.
  const auto set = [&](double& median, const auto& of) {
    std::vector<double> values;
    for (const simulate::MeasuredCosts& round : rounds) values.push_back(of(round));
    median = Median(std::move(values));
  };
  using Costs = simulate::MeasuredCosts;
  for (size_t stage = 0; stage < medians.stages.size(); ++stage) {
    for (size_t i = 0; i < medians.stages[stage].size(); ++i) {
      set(medians.stages[stage][i].second,
          [&](const Costs& costs) { return costs.stages[stage][i].second; });
    }
    for (const auto slopes : {&Costs::decode_position_seconds, &Costs::prefill_position_seconds}) {
      set((medians.*slopes)[stage], [&](const Costs& costs) { return (costs.*slopes)[stage]; });
    }
  }
  for (const auto points : {&Costs::head, &Costs::last_stage_one_output}) {
    for (size_t i = 0; i < (medians.*points).size(); ++i) {
      set((medians.*points)[i].second,
          [&](const Costs& costs) { return (costs.*points)[i].second; });
    }
  }
  return medians;
}

}  // namespace spade::bench
