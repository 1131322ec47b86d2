#include "engine/kv/prefix_sightings.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

TEST(PrefixSightingsTest, CountsEachBlock) {
  PrefixSightings sightings;
  EXPECT_EQ(sightings.Count({1, 2}), 0);
  EXPECT_EQ(sightings.Count({1, 2}), 1);
  EXPECT_EQ(sightings.Count({7, 2}), 0);
  EXPECT_EQ(sightings.Count({1, 2}), 2);
}

TEST(PrefixSightingsTest, ANewerBlockTakesThePlaceOfAnOlderOne) {
  PrefixSightings sightings;
  sightings.Count({1, 2});
  EXPECT_EQ(sightings.Count({1, 3}), 0) << "it has the same place and another hash";
  EXPECT_EQ(sightings.Count({1, 2}), 0) << "it was forgotten";
}

}  // namespace
}  // namespace spade
