#include "loadtest/lengths.h"

#include <gtest/gtest.h>

#include <set>

namespace spade::loadtest {
namespace {

TEST(LengthsTest, FixedIsAlwaysTheSame) {
  const absl::StatusOr<Lengths> lengths = Lengths::Parse("128");
  ASSERT_TRUE(lengths.ok());
  Rng rng(1, 1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(lengths->Sample(rng), 128u);
}

TEST(LengthsTest, UniformReachesBothEndsAndNothingElse) {
  const absl::StatusOr<Lengths> lengths = Lengths::Parse("3:6");
  ASSERT_TRUE(lengths.ok());
  Rng rng(1, 1);
  std::set<uint32_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(lengths->Sample(rng));
  EXPECT_EQ(seen, (std::set<uint32_t>{3, 4, 5, 6}));
}

TEST(LengthsTest, LognormalHasTheMeanAskedFor) {
  const absl::StatusOr<Lengths> lengths = Lengths::Parse("lognormal:200:100");
  ASSERT_TRUE(lengths.ok());
  Rng rng(1, 1);
  double sum = 0;
  for (int i = 0; i < 50'000; ++i) sum += lengths->Sample(rng);
  EXPECT_NEAR(sum / 50'000, 200, 3);
}

TEST(LengthsTest, LognormalIsCutAtMax) {
  const absl::StatusOr<Lengths> lengths = Lengths::Parse("lognormal:2:1000");
  ASSERT_TRUE(lengths.ok());
  Rng rng(1, 1);
  for (int i = 0; i < 10'000; ++i) EXPECT_LE(lengths->Sample(rng), lengths->max());
}

TEST(LengthsTest, RefusesWhatItCannotMean) {
  for (const char* text : {"", "0", "-1", "5:3", "1:2:3", "x", "nan", "inf", "lognormal",
                           "lognormal:5", "lognormal:5:-1", "99999999"}) {
    EXPECT_EQ(Lengths::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace spade::loadtest
