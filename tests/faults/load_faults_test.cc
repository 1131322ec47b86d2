// What goes wrong while a model is loaded is a Status, and the next try works.
#include <gtest/gtest.h>

#include <string>

#include "tests/faults/faults.h"
#include "tests/runtime/engine_fixture.h"

namespace spade::testing {
namespace {

absl::Status Load() {
  prometheus::Registry registry;
  return Engine::Create(SmallOptions(), &registry).status();
}

// Fails the nth call for more and more n, until there is no nth one.
void Sweep(Call call, absl::StatusCode expected) {
  int tries = 0;
  for (int nth = 0;; nth += 1 + nth / 2) {
    FailCall fail(call, nth);
    const absl::Status status = Load();
    if (!fail.happened()) break;
    ++tries;
    EXPECT_EQ(status.code(), expected) << nth << ": " << status;
  }
  EXPECT_GT(tries, 2);
  EXPECT_TRUE(Load().ok());
}

TEST(LoadFaultsTest, NoMemoryForATensor) {
  Sweep(Call::kTensor, absl::StatusCode::kResourceExhausted);
}

TEST(LoadFaultsTest, AFileThatCannotBeMapped) {
  Sweep(Call::kMap, absl::StatusCode::kResourceExhausted);
}

TEST(LoadFaultsTest, AFileThatIsCutShort) {
  for (int nth = 0; nth < 4; ++nth) {
    FailCall fail(Call::kFileSize, nth);
    const absl::Status status = Load();
    ASSERT_TRUE(fail.happened());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << nth << ": " << status;
    EXPECT_NE(std::string(status.message()).find("tickets-5m/"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace spade::testing
