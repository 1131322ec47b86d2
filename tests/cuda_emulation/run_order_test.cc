// A kernel whose result hangs on the order of its threads has a race.
#include <functional>

#include "emulator/block.h"
#include "tests/kernels/kv_fixture.h"

namespace spade::testing {
namespace {

using cuda_emulation::RunOrder;
using cuda_emulation::SetRunOrder;

class RunOrderTest : public DeviceTest {
 protected:
  void TearDown() override { SetRunOrder(RunOrder::kForward); }

  // The same bits in every order; and something was launched.
  void ExpectOneResult(const std::function<std::vector<float>()>& run) {
    SetRunOrder(RunOrder::kForward);
    const int64_t launches = cuda_emulation::NumLaunches();
    const std::vector<float> forward = run();
    EXPECT_GT(cuda_emulation::NumLaunches(), launches);
    SetRunOrder(RunOrder::kReverse);
    EXPECT_EQ(run(), forward) << "reverse";
    for (const uint32_t seed : {1u, 2u}) {
      SetRunOrder(RunOrder::kShuffled, seed);
      EXPECT_EQ(run(), forward) << "shuffled by " << seed;
    }
  }
};

TEST_P(RunOrderTest, Attention) {
  for (const HeadLayout heads :
       {HeadLayout{8, 2, 64}, HeadLayout{3, 3, 16}, HeadLayout{9, 1, 128}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      KvFixture kv(backend(), {heads, 16, dtype, {150, 3}}, 1);
      ExpectOneResult([&] {
        kv.Poison();
        kv.StoreAll();
        return kv.Attend({{0, 140}, {0, 141}, {0, 149}, {1, 2}});
      });
    }
  }
}

TEST_P(RunOrderTest, AttentionOfLongRuns) {
  KvFixture kv(backend(), {{4, 2, 64}, 16, DType::kBF16, {70}}, 1);
  ExpectOneResult([&] {
    kv.Poison();
    kv.StoreAll();
    return kv.Attend(kv.AllRows());
  });
}

TEST_P(RunOrderTest, Products) {
  const std::vector<float> x = RandomFloats(9 * 300, 1);
  for (const DType dtype : kWeightTypes) {
    const std::vector<float> values = RandomFloats(40 * 300, 2);
    ExpectOneResult([&] { return MatMul(x, 9, Pack(values, 40, 300, dtype)); });
  }
}

TEST_P(RunOrderTest, RowOperations) {
  const DeviceTensor weight = Upload(1, 390, RandomFloats(390, 8));
  const std::vector<float> values = RandomFloats(5 * 390, 7);
  ExpectOneResult([&] {
    const DeviceTensor x = Upload(5, 390, values);
    backend().RmsNorm(x.view(), weight.data(), 1e-6f, x.view());
    return x.Read();
  });
  const std::vector<int32_t> rows = {0, 2, 3, 4};
  ExpectOneResult([&] {
    const DeviceTensor x = Upload(5, 390, values);
    backend().GatherRows(x.view(), rows, x.view().Slice(0, 4));
    return x.Read();
  });
}

TEST_P(RunOrderTest, RotationAndStartSelf) {
  const HeadLayout heads = {4, 2, 72};
  const DeviceTensor norm = Upload(1, 72, RandomFloats(72, 1));
  const DeviceTensor angles = Upload(3, 72, RandomFloats(3 * 72, 2));
  const DeviceTensor start = Upload(2, heads.kv_cols(), RandomFloats(2 * heads.kv_cols(), 3));
  const std::vector<float> values = RandomFloats(3 * heads.qkv_cols(), 4);
  ExpectOneResult([&] {
    const DeviceTensor qkv = Upload(3, heads.qkv_cols(), values);
    const DeviceTensor out = Empty(3, heads.q_cols());
    backend().Rope(qkv.view(), heads, {norm.data(), norm.data(), 1e-6f}, angles.view());
    backend().StartSelfAttention(qkv.view(), heads, {start.data(), start.data() + heads.kv_cols()},
                                 out.view());
    return out.Read();
  });
}

// One query a row: draws by each way to cut, an edit, scores, entropies.
TEST_P(RunOrderTest, DrawsAndScores) {
  constexpr int64_t kCols = 2301;
  std::vector<float> values = RandomFloats(6 * kCols, 5);
  std::fill_n(values.begin() + 5 * kCols, kCols, 1.0f);
  const std::vector<LogitEdit> edits = {{7, 2.0f}, {7, 1.0f}, {7, 0.5f}};
  const uint64_t uniform = uint64_t{0x9e37} << 48;
  const std::vector<LogitQuery> queries = {
      {.row = 0, .num_top = 20},
      {.row = 1, .temperature = 1, .uniform = uniform},
      {.row = 2, .temperature = 2, .top_k = 30, .top_p = 0.9f, .uniform = uniform},
      {.row = 3, .temperature = 9, .top_k = 800, .top_p = 0.9f, .uniform = uniform},
      {.row = 4,
       .temperature = 3,
       .min_p = 0.3f,
       .uniform = uniform,
       .num_added = 2,
       .num_penalised = 1,
       .repetition_penalty = 1.1f,
       .num_top = 3},
      {.row = 5, .temperature = 1, .top_p = 0.5f, .uniform = uniform}};
  ExpectOneResult([&] {
    const DeviceTensor logits = Upload(6, kCols, values);
    std::vector<LogitAnswer> answers(queries.size());
    const LogitReading reading = {.queries = queries, .edits = edits, .other = OtherTokens{}};
    backend().logit_reader()->Read(logits.view(), reading, answers);
    std::vector<float> result = logits.Read();
    for (const LogitAnswer& answer : answers) {
      for (const auto value : {static_cast<float>(answer.token), answer.entropy, answer.logprob,
                               static_cast<float>(answer.rank)}) {
        result.push_back(value);
      }
      for (const LogitScore& top : answer.top) result.push_back(static_cast<float>(top.id));
    }
    return result;
  });
}

SPADE_DEVICE_SUITE(RunOrderTest);

}  // namespace
}  // namespace spade::testing
