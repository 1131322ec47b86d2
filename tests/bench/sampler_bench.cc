#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "engine/sampling/sampler.h"

namespace spade {
namespace {

// Logits as a language model's: most within a few units, a few tokens well above.
std::vector<float> Logits(int64_t vocab) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 2.5f);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& logit : logits) logit = normal(random);
  for (size_t i = 0; i < 20; ++i) logits[random() % logits.size()] += 12.0f;
  return logits;
}

void Run(benchmark::State& state, const SamplingParams& params) {
  const std::vector<float> logits = Logits(state.range(0));
  const TokenHistory history({});
  SamplerScratch scratch;
  int32_t position = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(Sample(logits, params, history, {}, 0, ++position, scratch));
  }
}

void BM_Greedy(benchmark::State& state) {
  SamplingParams params;
  params.temperature = 0.0f;
  Run(state, params);
}

void BM_GreedyWithLogprobs(benchmark::State& state) {
  SamplingParams params;
  params.temperature = 0.0f;
  params.num_logprobs = 5;
  Run(state, params);
}

void BM_TopKTopP(benchmark::State& state) {
  SamplingParams params;
  params.top_k = 40;
  params.top_p = 0.95f;
  Run(state, params);
}

void BM_TopP(benchmark::State& state) {
  SamplingParams params;
  params.top_p = 0.95f;
  Run(state, params);
}

void BM_MinP(benchmark::State& state) {
  SamplingParams params;
  params.min_p = 0.05f;
  Run(state, params);
}

void BM_Temperature(benchmark::State& state) { Run(state, SamplingParams{}); }

#define VOCABULARIES Arg(32000)->Arg(150000)->Unit(benchmark::kMicrosecond)
BENCHMARK(BM_Greedy)->VOCABULARIES;
BENCHMARK(BM_GreedyWithLogprobs)->VOCABULARIES;
BENCHMARK(BM_TopKTopP)->VOCABULARIES;
BENCHMARK(BM_TopP)->VOCABULARIES;
BENCHMARK(BM_MinP)->VOCABULARIES;
BENCHMARK(BM_Temperature)->VOCABULARIES;
#undef VOCABULARIES

}  // namespace
}  // namespace spade
