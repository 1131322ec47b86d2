#include "loadtest/options.h"

#include <gtest/gtest.h>

#include <vector>

namespace spade::loadtest {
namespace {

ParsedOptions Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "spade-loadtest");
  return ParseOptions(static_cast<int>(arguments.size()), arguments.data());
}

TEST(OptionsTest, DefaultsAreAThousandRequests) {
  const ParsedOptions parsed = Parse({});
  ASSERT_TRUE(parsed.options) << parsed.output;
  EXPECT_EQ(parsed.options->num_requests, 1000u);
  EXPECT_EQ(parsed.options->workload.input_lens.max(), 128u);
  EXPECT_TRUE(parsed.options->workload.ignore_eos);
}

TEST(OptionsTest, ADurationReplacesTheCount) {
  EXPECT_EQ(Parse({"--duration", "5"}).options->num_requests, 0u);
}

TEST(OptionsTest, LabelsKeepTheirSpaces) {
  const ParsedOptions parsed = Parse({"--decide", "1", "--labels", " yes, no"});
  ASSERT_TRUE(parsed.options) << parsed.output;
  EXPECT_EQ(parsed.options->workload.labels, (std::vector<std::string>{" yes", " no"}));
}

TEST(OptionsTest, ReadsModesAndGoodput) {
  const ParsedOptions parsed =
      Parse({"--mode", "verified,fast", "--generate-mode", "exact,verified", "--goodput", "ttft:5",
             "e2el:9", "--rate", "3"});
  ASSERT_TRUE(parsed.options) << parsed.output;
  EXPECT_EQ(parsed.options->workload.decide_modes,
            (std::vector<Mode>{Mode::kVerified, Mode::kFast}));
  EXPECT_EQ(parsed.options->workload.generate_modes,
            (std::vector<Mode>{Mode::kExact, Mode::kVerified}));
  EXPECT_EQ(parsed.options->slo.ttft_ms, 5);
  EXPECT_EQ(parsed.options->slo.e2el_ms, 9);
  EXPECT_FALSE(parsed.options->slo.tpot_ms);
}

TEST(OptionsTest, HelpIsNoError) {
  const ParsedOptions parsed = Parse({"--help"});
  EXPECT_FALSE(parsed.options);
  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_NE(parsed.output.find("--goodput"), std::string::npos);
}

TEST(OptionsTest, WrongCommandLinesExitWithTwo) {
  const std::vector<std::vector<const char*>> wrong = {{"--rate", "-1"},
                                                       {"--rate", "x"},
                                                       {"--nonsense"},
                                                       {"--input-len", "0"},
                                                       {"--mode", "slow"},
                                                       {"--goodput", "itl:3"},
                                                       {"--chaos-mix", "x:1"},
                                                       {"--compare", "one"},
                                                       {"--trace", "/no/such/file"},
                                                       {"--sweep", "1", "--rate", "2"}};
  for (const std::vector<const char*>& arguments : wrong) {
    const ParsedOptions parsed = Parse(arguments);
    EXPECT_FALSE(parsed.options) << arguments[0];
    EXPECT_EQ(parsed.exit_code, 2) << arguments[0];
    EXPECT_FALSE(parsed.output.empty()) << arguments[0];
  }
}

}  // namespace
}  // namespace spade::loadtest
