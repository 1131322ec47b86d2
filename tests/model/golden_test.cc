// Logits against transformers', for every architecture, on every backend (see make_goldens.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

using Json = nlohmann::json;

const std::string kGoldens = std::string(SPADE_SOURCE_DIR) + "/tests/model/goldens/";

std::string ReadOrDie(const std::string& path) {
  auto text = ReadTextFile(path, 1 << 20);
  SPADE_CHECK(text.ok());
  return *text;
}

// The largest difference of a row of logits, relative to the row's largest magnitude.
double RelativeError(const std::vector<float>& actual, const float* expected) {
  double difference = 0;
  double magnitude = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    difference = std::max(difference, std::fabs(double{actual[i]} - expected[i]));
    magnitude = std::max(magnitude, std::fabs(double{expected[i]}));
  }
  return difference / magnitude;
}

struct GoldenCase {
  std::string name;
  DType weight_dtype;  // F32 holds F16 and BF16 checkpoints exactly, as their own dtype does
};

class GoldenTest : public ::testing::TestWithParam<std::tuple<std::string, GoldenCase>> {
 protected:
  void SetUp() override {
    const auto& [name, golden] = GetParam();
    const size_t star = name.find('*');
    if (star == std::string::npos) return;
    const ModelConfig config = LoadConfigOrDie(kGoldens + golden.name);
    const absl::Status status = ShardOf(config, std::stoi(name.substr(star + 1))).status();
    if (!status.ok()) GTEST_SKIP() << status;
  }
};

// The largest RelativeError of the golden prompts' logits, which the test's record keeps.
double WorstError(Backend& backend, const GoldenCase& golden) {
  const std::string folder = kGoldens + golden.name;
  ModelOptions options;
  options.weight_dtype = golden.weight_dtype;
  const auto model = LoadModelOrDie(&backend, folder, options);
  ModelRunner runner(&backend, model.get());
  const Json expected = Json::parse(ReadOrDie(folder + "/expected.json"));
  const std::string bytes = ReadOrDie(folder + "/logits.f32");
  std::vector<float> logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), bytes.size());

  double worst = 0;
  size_t offset = 0;
  for (size_t i = 0; i < expected["prompts"].size(); ++i) {
    const auto ids = expected["prompts"][i].get<std::vector<TokenId>>();
    const auto rows = runner.Prefill(0, 0, ids);
    for (const size_t position : expected["positions"][i].get<std::vector<size_t>>()) {
      SPADE_CHECK(offset + rows[position].size() <= logits.size());
      worst = std::max(worst, RelativeError(rows[position], logits.data() + offset));
      offset += rows[position].size();
    }
  }
  EXPECT_EQ(offset, logits.size());
  ::testing::Test::RecordProperty("max_relative_error", absl::StrCat(worst));
  return worst;
}

TEST_P(GoldenTest, LogitsEqualTransformers) {
  const auto& [backend, golden] = GetParam();
  EXPECT_LT(WorstError(*MakeTestBackend(backend), golden), 2e-5)
      << "largest difference of a row relative to its largest logit";
}

// Eight bits of mantissa, rounded four times a layer.
TEST_P(GoldenTest, BF16ProductsStayNear) {
  const auto& [name, golden] = GetParam();
  if (golden.weight_dtype != DType::kBF16 || name == "reference") return;
  const double worst = WorstError(*MakeTestBackend(name, Compute::kBF16), golden);
  EXPECT_LT(worst, 0.02);
  EXPECT_GT(worst, 2e-5) << "nothing was rounded";
}

// The golden prompts' logits with weights and products in int8.
std::vector<std::vector<float>> Int8Logits(Backend& backend, const std::string& golden) {
  const std::string folder = kGoldens + golden;
  const auto model = LoadModelOrDie(&backend, folder, {.weight_dtype = DType::kI8});
  ModelRunner runner(&backend, model.get());
  std::vector<std::vector<float>> logits;
  const Json expected = Json::parse(ReadOrDie(folder + "/expected.json"));
  for (const Json& prompt : expected["prompts"]) {
    for (auto& row : runner.Prefill(0, 0, prompt.get<std::vector<TokenId>>())) {
      logits.push_back(std::move(row));
    }
  }
  return logits;
}

// Products in int8 against those in f32 of the same weights. These models are small and random: one
// input that is rounded the other way changes others in the layers above.
TEST_P(GoldenTest, Int8ProductsStayNear) {
  const auto& [name, golden] = GetParam();
  if (name.starts_with("cuda")) return;
  const auto logits = Int8Logits(*MakeTestBackend(name, Compute::kI8), golden.name);
  const auto in_f32 = Int8Logits(*MakeTestBackend(name), golden.name);
  ASSERT_FALSE(logits.empty());
  double worst = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    worst = std::max(worst, RelativeError(logits[i], in_f32[i].data()));
  }
  EXPECT_LT(worst, 0.25);
  EXPECT_GT(worst, 0.01) << "nothing was rounded";
}

const GoldenCase kCases[] = {
    {"llama-mha", DType::kF32},
    {"llama-gqa-llama3", DType::kF32},
    {"llama-mqa-linear", DType::kF32},
    {"mistral", DType::kF32},
    {"qwen2", DType::kF32},
    {"qwen3", DType::kF32},
    {"llama-f16", DType::kF16},
    {"llama-bf16", DType::kBF16},
    {"llama-sharded", DType::kBF16},
    {"llama-gqa-llama3", DType::kBF16},
    {"llama-mqa-linear", DType::kF16},
    {"mistral", DType::kBF16},
    {"qwen2", DType::kBF16},
    {"qwen3", DType::kBF16},
};

std::vector<std::string> Backends() {
  std::vector<std::string> names = {"cpu", "cpu:portable", "reference", "cpu*2", "cpu*4"};
  if (HasCuda()) names.push_back("cuda");
  if (HasCuda(2)) names.push_back("cuda*2");
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest,
                         ::testing::Combine(::testing::ValuesIn(Backends()),
                                            ::testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           const GoldenCase& golden = std::get<1>(info.param);
                           std::string name = std::get<0>(info.param) + "_" + golden.name + "_" +
                                              std::string(NameOf(golden.weight_dtype));
                           std::ranges::replace(name, '-', '_');
                           std::ranges::replace(name, ':', '_');
                           std::ranges::replace(name, '*', '_');
                           return name;
                         });

}  // namespace
}  // namespace spade::testing
