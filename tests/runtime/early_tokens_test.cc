#include "engine/runtime/early_tokens.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

TEST(EarlyTokensTest, DraftsGoOnWhileTheyHold) {
  EarlyTokens early(ExitMode::kVerified, {});
  early.OnVerified(/*drafted=*/4, /*accepted=*/2, /*end=*/30);
  EXPECT_EQ(early.resumes_at(), 0);
  EXPECT_EQ(early.stats().accepted, 2);
}

TEST(EarlyTokensTest, EachFailureOnEndDoublesThePause) {
  EarlyTokens early(ExitMode::kVerified, {});
  int32_t end = 10;
  for (const int32_t pause : {1, 2, 4, 8, 16, 32, 64, 64}) {
    early.OnVerified(/*drafted=*/4, /*accepted=*/1, end);
    EXPECT_EQ(early.resumes_at(), end + pause);
    end += 5;
  }
}

TEST(EarlyTokensTest, AGoodRunForgetsTheFailures) {
  EarlyTokens early(ExitMode::kVerified, {});
  early.OnVerified(4, 0, 10);
  early.OnVerified(4, 0, 20);
  early.OnVerified(4, 4, 30);
  early.OnVerified(4, 0, 40);
  EXPECT_EQ(early.resumes_at(), 41);
}

}  // namespace
}  // namespace spade
