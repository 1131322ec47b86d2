#include "loadtest/chaos.h"

#include <gtest/gtest.h>

#include <array>

namespace spade::loadtest {
namespace {

TEST(ChaosMixTest, SamplesEachFaultAsOftenAsAskedFor) {
  const absl::StatusOr<ChaosMix> mix = ChaosMix::Parse("cancel:0.2,invalid:0.1,slow:0.3");
  ASSERT_TRUE(mix.ok());
  std::array<int, kNumFaults> counts{};
  Rng rng(1, 1);
  for (int i = 0; i < 100'000; ++i) ++counts[static_cast<size_t>(mix->Sample(rng))];
  const std::array<double, kNumFaults> expected = {0.4, 0.2, 0, 0, 0.1, 0.3};
  for (int i = 0; i < kNumFaults; ++i) EXPECT_NEAR(counts[i] / 1e5, expected[i], 0.01) << i;
}

TEST(ChaosMixTest, AnEmptyMixHasNoFaults) {
  const absl::StatusOr<ChaosMix> mix = ChaosMix::Parse("");
  ASSERT_TRUE(mix.ok());
  Rng rng(1, 1);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(mix->Sample(rng), Fault::kNone);
}

TEST(ChaosMixTest, RefusesWhatItCannotMean) {
  for (const char* text : {"none:0.1", "cancel", "cancel:2", "cancel:-1", "cancel:nan", "flood:0.1",
                           "cancel:0.6,slow:0.6"}) {
    EXPECT_EQ(ChaosMix::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace spade::loadtest
