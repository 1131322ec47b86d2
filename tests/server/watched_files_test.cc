#include "server/auth/watched_files.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "server/repeater.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/temp_dir.h"

namespace spade {
namespace {

TEST(WatchedFilesTest, AChangeIsReportedOnceItHasSettled) {
  const testing::TempDir folder;
  WatchedFiles files({folder.Write("a", "1"), folder.Write("b", "2")}, 100);
  ASSERT_TRUE(files.Read().ok());
  EXPECT_FALSE(files.Changed().has_value());
  folder.Write("b", "3");
  EXPECT_FALSE(files.Changed().has_value()) << "it may be half written";
  const auto changed = files.Changed();
  ASSERT_TRUE(changed.has_value() && changed->ok());
  EXPECT_EQ(**changed, (WatchedFiles::Contents{"1", "3"}));
  EXPECT_FALSE(files.Changed().has_value());
}

TEST(WatchedFilesTest, WhatGoesOnChangingIsNotTaken) {
  const testing::TempDir folder;
  WatchedFiles files({folder.Write("a", "")}, 100);
  ASSERT_TRUE(files.Read().ok());
  for (int i = 1; i < 5; ++i) {
    folder.Write("a", std::string(i, 'x'));
    EXPECT_FALSE(files.Changed().has_value());
  }
  EXPECT_TRUE(files.Changed().has_value());
}

TEST(WatchedFilesTest, AMissingFileIsReportedOnceAndItsReturnIsNoChange) {
  const testing::TempDir folder;
  const std::string path = folder.Write("a", "1");
  WatchedFiles files({path}, 100);
  ASSERT_TRUE(files.Read().ok());
  std::filesystem::remove(path);
  EXPECT_FALSE(files.Changed().has_value());
  const auto missing = files.Changed();
  ASSERT_TRUE(missing.has_value());
  EXPECT_TRUE(absl::IsNotFound(missing->status()));
  EXPECT_FALSE(files.Changed().has_value());
}

TEST(WatchedFilesTest, LinksThatKubernetesSwapsAreFollowed) {
  const testing::TempDir folder;
  namespace fs = std::filesystem;
  for (const char* version : {"v1", "v2"}) {
    fs::create_directory(folder.File(version));
    folder.Write(std::string(version) + "/token", version);
  }
  fs::create_directory_symlink("v1", folder.File("data"));
  fs::create_symlink("data/token", folder.File("token"));
  WatchedFiles files({folder.File("token")}, 100);
  ASSERT_EQ(*files.Read(), WatchedFiles::Contents{"v1"});
  fs::create_directory_symlink("v2", folder.File("new"));
  fs::rename(folder.File("new"), folder.File("data"));
  files.Changed();
  const auto changed = files.Changed();
  ASSERT_TRUE(changed.has_value());
  EXPECT_EQ(**changed, WatchedFiles::Contents{"v2"});
}

TEST(RepeaterTest, CallsUntilItIsDestroyed) {
  std::atomic<int> calls = 0;
  {
    const Repeater repeater(std::chrono::milliseconds(1), [&] { ++calls; });
    EXPECT_TRUE(Eventually([&] { return calls >= 3; }));
  }
  const int last = calls;
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(calls, last);
}

}  // namespace
}  // namespace spade
