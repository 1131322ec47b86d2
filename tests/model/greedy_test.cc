// Greedy continuations of models/tickets-5m, token for token as transformers gives them.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

using Json = nlohmann::json;

const std::string kRoot = SPADE_SOURCE_DIR;

Json Cases() {
  const auto text = ReadTextFile(kRoot + "/tests/model/goldens/tickets-5m.json", 1 << 20);
  SPADE_CHECK(text.ok());
  return Json::parse(*text);
}

TokenId Greatest(const std::vector<float>& logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

std::vector<TokenId> Greedy(Backend* backend, const std::vector<TokenId>& prompt, size_t count) {
  const auto model = LoadModelOrDie(backend, kRoot + "/models/tickets-5m",
                                    {.weight_dtype = DType::kBF16, .max_rows = 256});
  ModelRunner runner(backend, model.get(), {.num_sequences = 1});
  std::vector<TokenId> generated;
  runner.Add(0, 0, prompt, ModelRunner::Outputs::kLast);
  auto position = static_cast<int32_t>(prompt.size());
  while (true) {
    generated.push_back(Greatest(runner.Run().front()));
    if (generated.size() == count) return generated;
    runner.Add(0, position++, std::span(generated).last(1), ModelRunner::Outputs::kLast);
  }
}

TEST(GreedyTest, Bf16WeightsOnTheCpuEqualTransformers) {
  const auto backend = MakeTestBackend("cpu");
  for (const Json& item : Cases()) {
    const auto expected = item["generated"].get<std::vector<TokenId>>();
    EXPECT_EQ(Greedy(backend.get(), item["prompt"], expected.size()), expected) << item["text"];
  }
}

TEST(GreedyTest, TheCudaBackendBeginsTheSame) {
  if (!HasCuda()) GTEST_SKIP() << "no GPU, or a build without it";
  const auto backend = MakeTestBackend("cuda");
  const Json item = Cases()[2];
  auto expected = item["generated"].get<std::vector<TokenId>>();
  expected.resize(12);
  EXPECT_EQ(Greedy(backend.get(), item["prompt"], expected.size()), expected);
}

TEST(GreedyTest, TheReferenceBackendBeginsTheSame) {
  const auto backend = MakeTestBackend("reference");
  const Json item = Cases()[2];
  auto expected = item["generated"].get<std::vector<TokenId>>();
  expected.resize(12);
  EXPECT_EQ(Greedy(backend.get(), item["prompt"], expected.size()), expected);
}

}  // namespace
}  // namespace spade::testing
