// Climbs that are replayed as CUDA graphs give the bits of those whose operations are launched one
// by one.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/testing/model_runner.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace spade::testing {
namespace {

constexpr int32_t kSequences = 4;
constexpr int32_t kLayers = 5;
constexpr int32_t kBlockSize = 16;

// `count` rows of a sequence from position `first` on.
struct Run {
  int32_t sequence = 0;
  int32_t first = 0;
  int32_t count = 1;
};

struct Numbers {
  Compute compute = Compute::kF32;
  bool batch_invariant = true;
  DType kv_dtype = DType::kF32;
};

// A model whose climbs leave their logits in `logits`.
class Climber {
 public:
  Climber(const std::string& directory, const Numbers& numbers, int32_t cuda_graphs)
      : backend_(*MakeBackend({.device = "cuda",
                               .num_threads = 1,
                               .compute = numbers.compute,
                               .batch_invariant = numbers.batch_invariant,
                               .cuda_graphs = cuda_graphs})),
        model_(
            LoadModelOrDie(backend_.get(), directory,
                           {.weight_dtype = DType::kBF16, .max_rows = 32, .exit_layers = {1, 3}})),
        runner_(
            backend_.get(), model_.get(),
            {.num_sequences = kSequences, .block_size = kBlockSize, .kv_dtype = numbers.kv_dtype}),
        kv_(runner_.kv().begin(), runner_.kv().end()) {
    EXPECT_TRUE(model_->PrepareStart().ok());
    const ModelConfig& config = model_->config();
    parked_ = {nullptr, 4, config.hidden_size, DType::kF32};
    parked_memory_ = *backend_->Allocate(parked_.bytes());
    parked_.data = parked_memory_.data();
    for (Buffer& buffer : scratch_) {
      buffer = *backend_->Allocate(
          static_cast<size_t>(config.heads().kv_cols() * config.max_context * kSequences) *
          SizeOf(numbers.kv_dtype));
    }
    kv_.push_back({scratch_[0].data(), scratch_[1].data(), numbers.kv_dtype, kBlockSize});
  }

  StagedModel& model() { return *model_; }
  RowBatch& batch() { return runner_.batch(); }
  Tensor parked() const { return parked_; }

  void Begin(const std::vector<Run>& runs, ModelRunner::Outputs outputs) {
    batch().Clear();
    for (const Run& run : runs) {
      std::vector<TokenId> ids;
      for (int32_t i = 0; i < run.count; ++i) {
        ids.push_back((run.sequence * 53 + (run.first + i) * 89) % 250 + 2);
      }
      runner_.Add(run.sequence, run.first, ids, outputs);
    }
    model_->Begin(batch());
  }
  void RunStages(int32_t first, int32_t last) {
    for (int32_t stage = first; stage < last; ++stage) model_->RunStage(stage, batch(), kv_);
  }
  void End() {
    for (const std::vector<float>& row : runner_.LogitsOfAllRows()) logits.push_back(row);
  }
  void Climb(const std::vector<Run>& runs,
             ModelRunner::Outputs outputs = ModelRunner::Outputs::kAll) {
    Begin(runs, outputs);
    RunStages(0, 3);
    End();
  }

  std::vector<std::vector<float>> logits;

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StagedModel> model_;
  ModelRunner runner_;
  Buffer scratch_[2];
  std::vector<KvView> kv_;  // the pool's, and the scratch's
  Buffer parked_memory_;
  Tensor parked_;
};

class CudaGraphsTest : public ::testing::TestWithParam<Numbers> {
 protected:
  void SetUp() override {
    if (!HasCuda()) GTEST_SKIP() << "no GPU, or a build without it";
    WriteTinyModel(dir_.path(), {.num_layers = kLayers,
                                 .head_dim = 64,
                                 .max_context = 512,
                                 .tied_head = false,
                                 .dtype = DType::kBF16});
  }

  // The scenario without graphs and with them.
  void ExpectSameBits(const std::function<void(Climber&)>& scenario, int32_t cuda_graphs = 256) {
    Climber launched(dir_.path(), GetParam(), 0);
    scenario(launched);
    Climber replayed(dir_.path(), GetParam(), cuda_graphs);
    scenario(replayed);
    ASSERT_EQ(replayed.logits.size(), launched.logits.size());
    for (size_t i = 0; i < launched.logits.size(); ++i) {
      ASSERT_EQ(replayed.logits[i], launched.logits[i]) << "row " << i;
    }
  }

 private:
  TempDir dir_;
};

TEST_P(CudaGraphsTest, ContextsGrowOverTheBordersOfSplitsAndBlocks) {
  ExpectSameBits([](Climber& climber) {
    for (int32_t i = 0; i < 9; ++i) climber.Climb({{0, 123 + i}, {1, 251 + i}});
  });
}

TEST_P(CudaGraphsTest, OtherSequencesAtOtherPositionsShareAGraph) {
  ExpectSameBits([](Climber& climber) {
    for (int32_t i = 0; i < 3; ++i) {
      climber.Climb({{0, i}, {1, 9 + i}});
      climber.Climb({{2, 30 + i}, {3, i}});
      climber.Climb({{1, 12 + i}, {3, 70 + i}});
    }
  });
}

TEST_P(CudaGraphsTest, AsManyRowsOfOtherSequencesDoNot) {
  ExpectSameBits([](Climber& climber) {
    for (int32_t i = 0; i < 3; ++i) {
      climber.Climb({{0, 4 * i, 4}});
      climber.Climb({{1, 2 * i, 2}, {2, 2 * i, 2}});
      climber.Climb({{0, 40 + i}, {1, 40 + i}, {2, 40 + i}, {3, 40 + i}});
      climber.Climb({{2, 3 * i + 50, 3}, {3, i}});
    }
  });
}

TEST_P(CudaGraphsTest, FewerGraphsThanAreAskedFor) {
  const auto scenario = [](Climber& climber) {
    for (int32_t i = 0; i < 9; ++i) climber.Climb({{i % 2, i, 1 + i / 2 % 2}});
  };
  ExpectSameBits(scenario, 4);
}

// On the tensor cores, where they are used, and in products by cuBLAS.
TEST_P(CudaGraphsTest, ManyRowsOfASequence) {
  ExpectSameBits([](Climber& climber) {
    for (int32_t i = 0; i < 4; ++i) climber.Climb({{0, 11 * i, 11}, {1, 60 + i}});
  });
}

TEST_P(CudaGraphsTest, RowsThatWantNoOutputAreDropped) {
  ExpectSameBits([](Climber& climber) {
    for (int32_t i = 0; i < 4; ++i) {
      climber.Climb({{0, 3 * i, 3}, {1, i}}, ModelRunner::Outputs::kLast);
    }
  });
}

// In turn, one row waits at an exit, and the next climb takes it along.
TEST_P(CudaGraphsTest, RowsLeaveAndJoinBetweenStages) {
  ExpectSameBits([](Climber& climber) {
    Regrouping regrouping;
    for (int32_t i = 0; i < 8; ++i) {
      climber.Begin({{0, i}, {1, i}, {2, i}}, ModelRunner::Outputs::kAll);
      climber.RunStages(0, 1);
      const int32_t leaving = i / 2 % 2;
      regrouping.Begin(climber.batch());
      if (i % 2 == 0) {
        const int32_t row[] = {leaving};
        const int32_t slot[] = {3};
        climber.model().Park(row, slot, climber.parked());
      }
      for (int32_t row = 0; row < 3; ++row) {
        if (row == leaving && i % 2 == 0) continue;
        if (row == leaving) {
          const ParkedRow parked = {climber.batch().ids[static_cast<size_t>(row)], i - 1, 3};
          regrouping.Join(parked, row, /*wants_output=*/i % 4 == 1);
        }
        regrouping.Stay(row);
      }
      climber.model().Regroup(regrouping, climber.batch(), climber.parked());
      climber.RunStages(1, 3);
      climber.End();
    }
  });
}

TEST_P(CudaGraphsTest, RowsTurnIntoSpadeRows) {
  ExpectSameBits([](Climber& climber) {
    Regrouping regrouping;
    for (int32_t i = 0; i < 6; ++i) {
      climber.Begin({{0, 2 * i, 2}, {1, i}, {2, 2 * i, 2}}, ModelRunner::Outputs::kAll);
      climber.RunStages(0, 1);
      regrouping.Begin(climber.batch());
      for (int32_t row = 0; row < 2 + i % 2; ++row) regrouping.Stay(row);
      if (i % 2 == 0) regrouping.BecomeSpade(2, i);
      regrouping.BecomeSpade(4, 2 * i);
      climber.model().Regroup(regrouping, climber.batch(), Tensor{});
      climber.RunStages(1, 3);
      climber.End();
    }
  });
}

TEST_P(CudaGraphsTest, RowsOfThePoolAndOfTheScratch) {
  ExpectSameBits([](Climber& climber) {
    for (int32_t i = 0; i < 4; ++i) {
      climber.Begin({{0, i}, {1, 20 + i}, {2, 0, 3}, {3, 0, 2}}, ModelRunner::Outputs::kAll);
      climber.batch().first_scratch_table = 2;
      climber.RunStages(0, 3);
      climber.End();
      climber.Begin({{2, 0, 3}, {3, 0, 2}}, ModelRunner::Outputs::kAll);
      climber.batch().first_scratch_table = 2;
      climber.RunStages(0, 3);
      climber.End();
    }
  });
}

INSTANTIATE_TEST_SUITE_P(All, CudaGraphsTest,
                         ::testing::Values(Numbers{}, Numbers{Compute::kBF16, false, DType::kBF16}),
                         [](const auto& info) {
                           return std::string(info.param.batch_invariant ? "invariant" : "fast");
                         });

}  // namespace
}  // namespace spade::testing
