#include "tools/simulate/exit_depths.h"

#include <gtest/gtest.h>

#include "tests/testing/temp_dir.h"

namespace spade::simulate {
namespace {

TEST(ExitDepthsTest, SharesAreKept) {
  const ExitDepths depths = *ExitDepths::Parse("4:0.3,8:0.2", 1);
  int count[13] = {};
  for (int i = 0; i < 20000; ++i) ++count[depths.LayersOf(i % 100, i / 100, 12)];
  EXPECT_NEAR(count[4], 6000, 300);
  EXPECT_NEAR(count[8], 4000, 300);
  EXPECT_EQ(count[4] + count[8] + count[12], 20000);
}

TEST(ExitDepthsTest, ATokenHasTheSameDepthEachTime) {
  const ExitDepths depths = *ExitDepths::Parse("4:0.5", 7);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(depths.LayersOf(3, i, 8), depths.LayersOf(3, i, 8));
}

TEST(ExitDepthsTest, WithoutExitsRowsGoToFullDepth) {
  EXPECT_EQ(ExitDepths::Parse("", 1)->LayersOf(0, 0, 12), 12);
}

TEST(ExitDepthsTest, RefusesWhatIsNoDistribution) {
  for (const char* text : {"4", "4:2", "0:0.1", "4:x", "8:0.1,4:0.1", "4:0.6,8:0.6"}) {
    EXPECT_FALSE(ExitDepths::Parse(text, 1).ok()) << text;
  }
}

TEST(ExitDepthsTest, AFileSaysEachTokensLayers) {
  const spade::testing::TempDir dir;
  const ExitDepths depths = *ExitDepths::Read(dir.Write("depths", "4 8 12\n6\n"));
  EXPECT_EQ(depths.LayersOf(0, 1, 12), 8);
  EXPECT_EQ(depths.LayersOf(0, 3, 12), 4);
  EXPECT_EQ(depths.LayersOf(1, 5, 12), 6);
  EXPECT_EQ(depths.LayersOf(2, 2, 10), 10);
  EXPECT_EQ(depths.ExitLayers(12), (std::vector<int32_t>{4, 6, 8}));
}

TEST(ExitDepthsTest, NamesTheLineThatIsWrong) {
  const spade::testing::TempDir dir;
  const auto depths = ExitDepths::Read(dir.Write("depths", "4\nfour\n"));
  EXPECT_NE(depths.status().message().find("line 2"), std::string::npos) << depths.status();
}

}  // namespace
}  // namespace spade::simulate
