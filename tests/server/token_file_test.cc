#include "server/auth/token_file.h"

#include <gtest/gtest.h>

#include <string>

namespace spade {
namespace {

const std::string kDigest(64, 'a');
const std::string kOther(64, 'b');

std::string Problem(const std::string& text) {
  const auto parsed = ParseTokenFile("tokens", text);
  EXPECT_FALSE(parsed.ok()) << text;
  EXPECT_TRUE(absl::IsInvalidArgument(parsed.status()));
  return std::string(parsed.status().message());
}

TEST(TokenFileTest, NamesDigestsAndLimits) {
  const auto parsed = ParseTokenFile("tokens", "# who may call\n\nalice " + kDigest + "\n  bob\t" +
                                                   std::string(64, 'B') +
                                                   " requests-per-second=0.5 max-in-flight=8\r\n");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->size(), 2u);
  EXPECT_EQ((*parsed)[0].tenant, "alice");
  EXPECT_EQ((*parsed)[0].digest, kDigest);
  EXPECT_EQ((*parsed)[0].limits, TenantLimits{});
  EXPECT_EQ((*parsed)[1].tenant, "bob");
  EXPECT_EQ((*parsed)[1].digest, kOther) << "upper-case digits are the same digits";
  EXPECT_EQ((*parsed)[1].limits, (TenantLimits{8, 0.5}));
}

TEST(TokenFileTest, TheLastLineNeedsNoNewline) {
  const auto parsed = ParseTokenFile("tokens", "alice " + kDigest);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->size(), 1u);
}

TEST(TokenFileTest, ATenantMayHaveSeveralTokensWithTheSameLimits) {
  const std::string limit = " max-in-flight=2\n";
  EXPECT_TRUE(ParseTokenFile("tokens", "a " + kDigest + limit + "a " + kOther + limit).ok());
  EXPECT_NE(Problem("a " + kDigest + limit + "a " + kOther).find("same"), std::string::npos);
}

TEST(TokenFileTest, ATokenMayBeAnAdministrators) {
  const auto parsed = ParseTokenFile("tokens", "ops " + kDigest + " max-in-flight=2 admin\n" +
                                                   "ops " + kOther + " max-in-flight=2\n");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE((*parsed)[0].admin);
  EXPECT_FALSE((*parsed)[1].admin) << "each token for itself";
  EXPECT_NE(Problem("ops " + kDigest + " admin admin").find("at most once"), std::string::npos);
}

TEST(TokenFileTest, ErrorsNameFileAndLine) {
  const std::string message = Problem("# one\nalice " + kDigest + "\nbob secret\n");
  EXPECT_EQ(message.rfind("tokens, line 3: ", 0), 0u) << message;
}

TEST(TokenFileTest, ErrorsDoNotQuoteWhatMayBeAToken) {
  EXPECT_EQ(Problem("alice hunter2\n").find("hunter2"), std::string::npos);
  EXPECT_EQ(Problem("alice " + kDigest + " hunter2\n").find("hunter2"), std::string::npos);
  EXPECT_EQ(Problem("hunter2! " + kDigest).find("hunter2"), std::string::npos);
}

TEST(TokenFileTest, BadLinesAreRefused) {
  const std::string good = "alice " + kDigest;
  for (const std::string& line :
       {std::string("alice"), "alice " + std::string(63, 'a'), "alice " + std::string(64, 'g'),
        "al/ice " + kDigest, std::string(65, 'x') + " " + kDigest, good + " max-in-flight=0",
        good + " max-in-flight=", good + " max-in-flight=1.5", good + " max-in-flight=99999999999",
        good + " requests-per-second=0", good + " requests-per-second=nan",
        good + " requests-per-second=inf", good + " requests-per-second=-1", good + " color=red",
        good + " max-in-flight=1 max-in-flight=1", good + "\nbob " + kDigest}) {
    Problem(line);
  }
}

TEST(TokenFileTest, AFileWithoutATokenIsAnError) {
  Problem("");
  Problem("# nobody\n");
}

TEST(TokenFileTest, TooManyTokensAreAnError) {
  std::string text;
  for (size_t i = 0; i <= kMaxTokens; ++i) {
    std::string digest = std::to_string(i);
    text += "a " + std::string(64 - digest.size(), '0') + digest + "\n";
  }
  EXPECT_NE(Problem(text).find("at most"), std::string::npos);
}

}  // namespace
}  // namespace spade
