// A whole model with products, cache and attention in BF16, where the processor has dot products of
// pairs: what the pass promises holds there too.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "tests/testing/model_runner.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace spade::testing {
namespace {

using Rows = std::vector<std::vector<float>>;

std::vector<TokenId> MakeIds(int32_t count, int32_t seed) {
  std::vector<TokenId> ids = {kTinyBos};
  for (int32_t i = 1; i < count; ++i) ids.push_back((i * 37 + seed * 101) % 250 + 2);
  return ids;
}

class BF16AttentionTest : public ::testing::Test {
 protected:
  BF16AttentionTest() {
    WriteTinyModel(dir_.path(), {});
    model_ = LoadModelOrDie(backend_.get(), dir_.path(), {.max_rows = 160});
  }
  ModelRunner Runner() {
    return ModelRunner(backend_.get(), model_.get(), {.kv_dtype = DType::kBF16});
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_ = MakeTestBackend("cpu", Compute::kBF16);
  std::unique_ptr<StagedModel> model_;
};

TEST_F(BF16AttentionTest, ChunksOfAnyLengthEqualTheWholeToTheBit) {
  const auto ids = MakeIds(75, 1);
  const Rows expected = Runner().Prefill(0, 0, ids);
  for (const size_t chunk : {1u, 2u, 7u, 16u, 33u}) {
    ModelRunner runner = Runner();
    Rows actual;
    for (size_t first = 0; first < ids.size(); first += chunk) {
      const auto part = std::span(ids).subspan(first, std::min(chunk, ids.size() - first));
      for (auto& row : runner.Prefill(0, static_cast<int32_t>(first), part)) {
        actual.push_back(std::move(row));
      }
    }
    EXPECT_EQ(actual, expected) << "chunks of " << chunk;
  }
}

TEST_F(BF16AttentionTest, ASequenceBesideOthersEqualsTheSequenceAlone) {
  const auto ids = MakeIds(41, 2);
  const Rows alone = Runner().Prefill(1, 0, ids);
  ModelRunner runner = Runner();
  runner.Add(0, 0, MakeIds(50, 3), ModelRunner::Outputs::kAll);
  runner.Add(1, 0, ids, ModelRunner::Outputs::kAll);
  runner.Add(2, 0, MakeIds(3, 4), ModelRunner::Outputs::kAll);
  const Rows together = runner.Run();
  EXPECT_EQ(Rows(together.begin() + 50, together.begin() + 91), alone);
}

}  // namespace
}  // namespace spade::testing
