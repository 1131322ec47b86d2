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

// Their low halves send all of these to one set.
TEST(PrefixSightingsTest, BlocksThatMeetAreKept) {
  PrefixSightings sightings;
  for (uint64_t block = 0; block < 4; ++block) sightings.Count({1, block});
  for (uint64_t block = 0; block < 4; ++block) EXPECT_EQ(sightings.Count({1, block}), 1);
}

TEST(PrefixSightingsTest, TheOneNotAskedForTheLongestMakesRoom) {
  PrefixSightings sightings;
  for (uint64_t block = 0; block < 4; ++block) sightings.Count({1, block});
  sightings.Count({1, 0});
  EXPECT_EQ(sightings.Count({1, 4}), 0);
  EXPECT_EQ(sightings.Count({1, 0}), 2) << "it was asked for lately";
  EXPECT_EQ(sightings.Count({1, 1}), 0) << "it was forgotten";
}

}  // namespace
}  // namespace spade
