#include "engine/model/staged_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/testing/model_runner.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace spade::testing {
namespace {

using Rows = std::vector<std::vector<float>>;
using Outputs = ModelRunner::Outputs;

std::vector<TokenId> MakeIds(int32_t count, int32_t seed) {
  std::vector<TokenId> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((i * 37 + seed * 101) % 250 + 2);
  ids.front() = kTinyBos;
  return ids;
}

Rows Slice(const Rows& rows, size_t first, size_t count) {
  return Rows(rows.begin() + static_cast<std::ptrdiff_t>(first),
              rows.begin() + static_cast<std::ptrdiff_t>(first + count));
}

// Cosine of the angle between two rows.
double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

class StagedModelTest : public ::testing::TestWithParam<const char*> {
 protected:
  StagedModelTest() : backend_(MakeTestBackend(GetParam())) { WriteTinyModel(dir_.path(), {}); }

  std::unique_ptr<StagedModel> Load(ModelOptions options) {
    options.max_rows = 128;
    return LoadModelOrDie(backend_.get(), dir_.path(), options);
  }
  std::unique_ptr<StagedModel> Load() { return Load({.weight_dtype = DType::kF32}); }

  TempDir dir_;
  std::unique_ptr<Backend> backend_;
};

TEST_P(StagedModelTest, PrunedRowsLeaveTheOthersUnchanged) {
  const auto model = Load();
  const auto a = MakeIds(20, 1);
  const auto b = MakeIds(31, 2);
  ModelRunner whole(backend_.get(), model.get());
  whole.Add(0, 0, a, Outputs::kAll);
  whole.Add(1, 0, b, Outputs::kAll);
  const Rows all = whole.Run();
  ModelRunner pruned(backend_.get(), model.get());
  pruned.Add(0, 0, a, Outputs::kLast);
  pruned.Add(1, 0, b, Outputs::kLast);
  EXPECT_EQ(pruned.Run(), (Rows{all[a.size() - 1], all.back()}));
  // The rows that were dropped did store their keys and values.
  const TokenId next[] = {77};
  EXPECT_EQ(pruned.Prefill(0, 20, next), whole.Prefill(0, 20, next));
}

TEST_P(StagedModelTest, NoOutputAtAllStillFillsTheCache) {
  const auto model = Load();
  const auto ids = MakeIds(20, 1);
  ModelRunner whole(backend_.get(), model.get());
  const Rows expected = whole.Prefill(0, 0, ids);
  ModelRunner silent(backend_.get(), model.get());
  silent.Add(0, 0, std::span(ids).first(19), Outputs::kNone);
  EXPECT_TRUE(silent.Run().empty());
  EXPECT_EQ(silent.Prefill(0, 19, std::span(ids).last(1)).front(), expected.back());
}

TEST_P(StagedModelTest, StagesChangeNoBit) {
  const auto model = Load();
  const auto ids = MakeIds(25, 5);
  ModelRunner runner(backend_.get(), model.get());
  const Rows expected = runner.Prefill(0, 0, ids);
  for (const std::vector<int32_t>& exits : {std::vector<int32_t>{1}, {2}, {3}, {1, 2}, {1, 2, 3}}) {
    const auto staged = Load({.weight_dtype = DType::kF32, .exit_layers = exits});
    EXPECT_EQ(staged->num_stages(), static_cast<int32_t>(exits.size()) + 1);
    ModelRunner stages(backend_.get(), staged.get());
    EXPECT_EQ(stages.Prefill(0, 0, ids), expected);
  }
}

TEST_P(StagedModelTest, RowsKeptBetweenStagesAreUnchanged) {
  const auto model = Load({.weight_dtype = DType::kF32, .exit_layers = {2}});
  const auto a = MakeIds(20, 1);
  const auto b = MakeIds(9, 2);
  ModelRunner alone(backend_.get(), model.get());
  const Rows expected = alone.Prefill(1, 0, b);
  ModelRunner runner(backend_.get(), model.get());
  runner.Add(0, 0, a, Outputs::kAll);
  runner.Add(1, 0, b, Outputs::kAll);
  RowBatch& batch = runner.batch();
  model->Begin(batch);
  model->RunStage(0, batch, runner.kv());
  Regrouping regrouping;
  regrouping.Begin(batch);
  for (int32_t row = 20; row < 29; ++row) regrouping.Stay(row);
  model->Regroup(regrouping, batch, Tensor{});
  model->RunStage(1, batch, runner.kv());
  EXPECT_EQ(runner.LogitsOfAllRows(), expected);
}

// Rows parked at a boundary that join a later climb there, before a deeper row of their sequence,
// give the bits of a climb without interruption.
TEST_P(StagedModelTest, ParkedRowsJoinALaterClimb) {
  const auto model = Load({.weight_dtype = DType::kF32, .exit_layers = {2}});
  const auto a = MakeIds(9, 1);
  const auto b = MakeIds(5, 2);
  ModelRunner alone(backend_.get(), model.get());
  const Rows expected_a = alone.Prefill(0, 0, a);
  const Rows expected_b = alone.Prefill(1, 0, b);

  const Buffer memory = *backend_->Allocate(8 * 64 * sizeof(float));
  const Tensor parking{memory.data(), 8, 64, DType::kF32};
  ModelRunner runner(backend_.get(), model.get());
  runner.Prefill(0, 0, std::span(a).first(6));
  runner.Add(0, 6, std::span(a).subspan(6, 2), Outputs::kAll);
  model->Begin(runner.batch());
  model->RunStage(0, runner.batch(), runner.kv());
  const int32_t rows[] = {0, 1};
  const int32_t slots[] = {5, 2};
  model->Park(rows, slots, parking);
  runner.batch().Clear();

  runner.Add(1, 0, b, Outputs::kAll);
  runner.Add(0, 8, std::span(a).last(1), Outputs::kAll);
  RowBatch& batch = runner.batch();
  model->Begin(batch);
  model->RunStage(0, batch, runner.kv());
  Regrouping regrouping;
  regrouping.Begin(batch);
  for (int32_t row = 0; row < 5; ++row) regrouping.Stay(row);
  regrouping.Join({a[6], 6, 5}, batch.sequences[5], /*wants_output=*/true);
  regrouping.Join({a[7], 7, 2}, batch.sequences[5], /*wants_output=*/true);
  regrouping.Stay(5);
  model->Regroup(regrouping, batch, parking);
  model->RunStage(1, batch, runner.kv());
  Rows expected = expected_b;
  expected.insert(expected.end(), expected_a.end() - 3, expected_a.end());
  EXPECT_EQ(runner.LogitsOfAllRows(), expected);
}

TEST_P(StagedModelTest, LogitsOfEqualsTheColumnsOfLogits) {
  const auto model = Load();
  const auto ids = MakeIds(12, 6);
  ModelRunner runner(backend_.get(), model.get());
  const Rows logits = runner.Prefill(0, 0, ids);
  const std::vector<TokenId> columns = {0, 17, 3, 257, 100};
  const std::vector<int32_t> rows = {11, 4};
  const float* some = model->LogitsOf(rows, columns);
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < columns.size(); ++c) {
      EXPECT_EQ(some[r * columns.size() + c],
                logits[static_cast<size_t>(rows[r])][static_cast<size_t>(columns[c])]);
    }
  }
}

TEST_P(StagedModelTest, HalfPrecisionCacheStaysNear) {
  const auto model = Load();
  const auto ids = MakeIds(30, 7);
  ModelRunner exact(backend_.get(), model.get());
  const Rows expected = exact.Prefill(0, 0, ids);
  ModelRunner runner(backend_.get(), model.get(), {.block_size = 32, .kv_dtype = DType::kBF16});
  const Rows actual = runner.Prefill(0, 0, ids);
  EXPECT_NE(actual, expected);
  for (size_t r = 0; r < actual.size(); ++r) {
    EXPECT_GT(Cosine(actual[r], expected[r]), 0.999) << "row " << r;
  }
}

TEST_P(StagedModelTest, SmallerWeightsGiveNearbyLogits) {
  const auto exact = Load();
  const auto ids = MakeIds(30, 8);
  ModelRunner runner(backend_.get(), exact.get());
  const Rows expected = runner.Prefill(0, 0, ids);
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kI8}) {
    const auto model = Load({.weight_dtype = dtype});
    EXPECT_LT(model->weight_bytes(), exact->weight_bytes());
    ModelRunner small(backend_.get(), model.get());
    const Rows actual = small.Prefill(0, 0, ids);
    EXPECT_NE(actual, expected);
    for (size_t r = 0; r < actual.size(); ++r) {
      EXPECT_GT(Cosine(actual[r], expected[r]), 0.99) << NameOf(dtype) << " row " << r;
    }
  }
}

TEST_P(StagedModelTest, WeightBytesCountEveryParameter) {
  const auto model = Load();
  EXPECT_GE(model->weight_bytes(), 4 * model->config().total_parameters());
  EXPECT_LT(model->weight_bytes(), 5 * model->config().total_parameters());
}

TEST_P(StagedModelTest, LoadRefusesBadOptions) {
  const auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok());
  const ModelConfig config = LoadConfigOrDie(dir_.path());
  const auto code = [&](const ModelOptions& options) {
    return StagedModel::Load(backend_.get(), config, *checkpoint, options).status().code();
  };
  EXPECT_EQ(code({.exit_layers = {0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.exit_layers = {4}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.exit_layers = {2, 2}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.max_rows = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.weight_dtype = DType::kI32}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.exit_layers = {1, 3}}), absl::StatusCode::kOk);
}

// The types of a backend's products, of the weights and of the cache.
struct Numbers {
  const char* name;
  const char* backend;
  Compute compute = Compute::kF32;
  DType weights = DType::kF32;
  DType cache = DType::kF32;
};

// A row's bits are its own, however its sequence is cut and whatever else is in the batch.
class StagedModelBitsTest : public ::testing::TestWithParam<Numbers> {
 protected:
  StagedModelBitsTest() : backend_(MakeTestBackend(GetParam().backend, GetParam().compute)) {
    WriteTinyModel(dir_.path(), {});
    model_ = LoadModelOrDie(backend_.get(), dir_.path(),
                            {.weight_dtype = GetParam().weights, .max_rows = 128});
  }
  ModelRunner Runner() {
    return ModelRunner(backend_.get(), model_.get(), {.kv_dtype = GetParam().cache});
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StagedModel> model_;
};

TEST_P(StagedModelBitsTest, ChunkedPrefillEqualsWholePrefillToTheBit) {
  const auto ids = MakeIds(75, 1);
  ModelRunner whole = Runner();
  const Rows expected = whole.Prefill(0, 0, ids);
  for (const size_t chunk : {1u, 2u, 7u, 16u, 33u}) {
    ModelRunner chunked = Runner();
    Rows actual;
    for (size_t first = 0; first < ids.size(); first += chunk) {
      const auto part = std::span(ids).subspan(first, std::min(chunk, ids.size() - first));
      for (auto& row : chunked.Prefill(0, static_cast<int32_t>(first), part)) {
        actual.push_back(std::move(row));
      }
    }
    EXPECT_EQ(actual, expected) << "chunks of " << chunk;
  }
}

TEST_P(StagedModelBitsTest, SequenceInABatchEqualsTheSequenceAlone) {
  const auto a = MakeIds(20, 1);
  const auto b = MakeIds(31, 2);
  const auto c = MakeIds(3, 3);
  ModelRunner alone = Runner();
  const Rows expected = alone.Prefill(2, 0, b);
  ModelRunner together = Runner();
  together.Add(0, 0, a, Outputs::kAll);
  together.Add(2, 0, b, Outputs::kAll);
  together.Add(1, 0, c, Outputs::kAll);
  EXPECT_EQ(Slice(together.Run(), a.size(), b.size()), expected);
}

TEST_P(StagedModelBitsTest, DecodeStepsEqualPrefill) {
  const auto ids = MakeIds(40, 4);
  ModelRunner whole = Runner();
  const Rows expected = whole.Prefill(0, 0, ids);
  ModelRunner steps = Runner();
  steps.Prefill(0, 0, std::span(ids).first(10));
  for (size_t i = 10; i < ids.size(); ++i) {
    const Rows row = steps.Prefill(0, static_cast<int32_t>(i), std::span(ids).subspan(i, 1));
    ASSERT_EQ(row.front(), expected[i]) << "position " << i;
  }
}

// The last is also in attention in BF16 where the processor has dot products of pairs.
INSTANTIATE_TEST_SUITE_P(
    All, StagedModelBitsTest,
    ::testing::Values(Numbers{"cpu", "cpu"}, Numbers{"cpu_portable", "cpu:portable"},
                      Numbers{"reference", "reference"}, Numbers{"cpu_2", "cpu*2"},
                      Numbers{"cpu_bf16", "cpu", Compute::kBF16, DType::kBF16, DType::kBF16}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(Backends, StagedModelTest,
                         ::testing::Values("cpu", "cpu:portable", "reference", "cpu*2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, ':', '_');
                           std::ranges::replace(name, '*', '_');
                           return name;
                         });

}  // namespace
}  // namespace spade::testing
