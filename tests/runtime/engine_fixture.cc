#include "tests/runtime/engine_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <utility>

namespace spade::testing {
namespace {

constexpr auto kPatience = std::chrono::minutes(2);

}  // namespace

void Collector::OnDelta(GenerateDelta delta) {
  std::lock_guard lock(mutex_);
  EXPECT_EQ(num_done_, 0) << "a delta after OnDone";
  SequenceResult& sequence = sequences_.at(static_cast<size_t>(delta.index));
  EXPECT_FALSE(sequence.finish) << "a delta after the sequence's last";
  for (SampledToken& token : delta.tokens) {
    sequence.tokens.push_back(token.id);
    sequence.logprobs.push_back(token.logprob);
    sequence.sampled.push_back(std::move(token));
  }
  sequence.text += delta.text;
  if (!delta.prompt_logprobs.empty()) sequence.prompt_logprobs = std::move(delta.prompt_logprobs);
  sequence.finish = std::move(delta.finish);
  ++num_deltas_;
  changed_.notify_all();
}

void Collector::OnDone(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  EXPECT_EQ(num_done_, 0) << "a second OnDone";
  ++num_done_;
  status_ = status;
  changed_.notify_all();
}

absl::Status Collector::Wait() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kPatience, [this] { return status_.has_value(); })) {
    ADD_FAILURE() << "no OnDone came";
    return absl::InternalError("no OnDone came");
  }
  return *status_;
}

void Collector::WaitForDeltas(int count) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [&] { return status_.has_value() || num_deltas_ >= count; });
}

int Collector::num_done() const {
  std::lock_guard lock(mutex_);
  return num_done_;
}

int Collector::num_deltas() const {
  std::lock_guard lock(mutex_);
  return num_deltas_;
}

Outcome WaitForAll(const std::vector<std::shared_ptr<Collector>>& sinks) {
  Outcome outcome;
  for (const auto& sink : sinks) {
    EXPECT_TRUE(sink->Wait().ok());
    outcome.push_back(sink->sequences());
  }
  return outcome;
}

void DecisionCollector::OnDecision(DecisionKind kind, const Decision& decision) {
  std::lock_guard lock(mutex_);
  EXPECT_FALSE(status_) << "an answer after OnDone";
  answers_.push_back({kind, decision});
  changed_.notify_all();
}

void DecisionCollector::OnDone(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  EXPECT_FALSE(status_) << "a second OnDone";
  status_ = status;
  changed_.notify_all();
}

absl::Status DecisionCollector::Wait() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kPatience, [this] { return status_.has_value(); })) {
    ADD_FAILURE() << "no OnDone came";
    return absl::InternalError("no OnDone came");
  }
  return *status_;
}

std::string TicketsModel() { return std::string(SPADE_SOURCE_DIR) + "/models/tickets-5m"; }

EngineOptions SmallOptions(int32_t kv_blocks) {
  EngineOptions options;
  options.model_directory = TicketsModel();
  options.model_name = "tickets";
  options.compute = "f32";
  options.backend.num_threads = 2;
  options.backend.pin_threads = false;
  const KvShape shape{12, 1, 64, options.block_size, DType::kF32};
  options.kv_memory_bytes = shape.bytes_per_block() * kv_blocks;
  return options;
}

TestEngine MakeEngine(const EngineOptions& options) {
  TestEngine made;
  made.registry = std::make_unique<prometheus::Registry>();
  auto engine = Engine::Create(options, made.registry.get());
  EXPECT_TRUE(engine.ok()) << engine.status();
  if (engine.ok()) made.engine = *std::move(engine);
  return made;
}

std::vector<TokenId> MakePrompt(int length, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> prompt = {0};
  while (static_cast<int>(prompt.size()) < length) {
    prompt.push_back(static_cast<TokenId>(2 + random() % 4000));
  }
  return prompt;
}

GenerateRequest MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens) {
  GenerateRequest request;
  request.context.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.temperature = 0;
  return request;
}

std::vector<SequenceResult> RunToEnd(Engine& engine, GenerateRequest request) {
  auto sink = std::make_shared<Collector>(request.num_sequences);
  const auto handle = engine.Generate(std::move(request), sink);
  EXPECT_TRUE(handle.ok()) << handle.status();
  if (!handle.ok()) return {};
  const absl::Status status = sink->Wait();
  EXPECT_TRUE(status.ok()) << status;
  return sink->sequences();
}

double MetricValue(const prometheus::Registry& registry, const std::string& name,
                   const std::map<std::string, std::string>& labels) {
  double sum = 0;
  for (const auto& family : registry.Collect()) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      const bool matches = std::ranges::all_of(labels, [&](const auto& wanted) {
        return std::ranges::any_of(metric.label, [&](const auto& label) {
          return label.name == wanted.first && label.value == wanted.second;
        });
      });
      if (!matches) continue;
      sum += metric.counter.value + metric.gauge.value +
             static_cast<double>(metric.histogram.sample_count);
    }
  }
  return sum;
}

}  // namespace spade::testing
