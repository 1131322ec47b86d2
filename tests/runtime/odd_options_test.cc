// Whatever options are accepted at load serve requests.
#include <gtest/gtest.h>

#include <string>

#include "tests/runtime/exit_fixture.h"

namespace spade::testing {
namespace {

struct OddOptions {
  const char* name;
  void (*set)(EngineOptions&);
  bool same_tokens = true;  // as usual; else other numbers, or fewer rows that may be parked
};

using Tokens = std::vector<std::vector<TokenId>>;
constexpr int kRequests = 6;
constexpr int kExactEvery = 3;

const Tokens& UsualTokens() {
  static const Tokens tokens =
      RunMixedAlone(*ForcedExitEngine(UncheckedOptions(), LeaveAtRandom), kRequests, kExactEvery);
  return tokens;
}

class OddOptionsTest : public ::testing::TestWithParam<OddOptions> {};

TEST_P(OddOptionsTest, Serve) {
  EngineOptions options = UncheckedOptions();
  GetParam().set(options);
  const ForcedExitEngine engine(options, LeaveAtRandom);
  const Tokens tokens = RunMixed(*engine, kRequests, kExactEvery);
  ASSERT_EQ(tokens.size(), UsualTokens().size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_EQ(tokens[i].size(), UsualTokens()[i].size()) << i;
    if (GetParam().same_tokens) {
      EXPECT_EQ(tokens[i], UsualTokens()[i]) << i;
    }
  }
  EXPECT_EQ(engine.num_parked(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, OddOptionsTest,
    ::testing::Values(
        OddOptions{"smallest_blocks", [](EngineOptions& o) { o.block_size = 8; }},
        OddOptions{"blocks_of_no_power_of_two", [](EngineOptions& o) { o.block_size = 24; }},
        OddOptions{"one_block_a_sequence", [](EngineOptions& o) { o.block_size = 1024; }},
        OddOptions{"one_row_a_step", [](EngineOptions& o) { o.max_rows = 1; }, false},
        OddOptions{"one_sequence", [](EngineOptions& o) { o.max_sequences = 1; }},
        OddOptions{"more_sequences_than_rows",
                   [](EngineOptions& o) {
                     o.max_rows = 3;
                     o.max_sequences = 1000;
                   },
                   false},
        OddOptions{"context_that_just_fits", [](EngineOptions& o) { o.max_context = 36; }},
        OddOptions{"no_prefix_cache", [](EngineOptions& o) { o.prefix_cache = false; }},
        OddOptions{"one_thread", [](EngineOptions& o) { o.backend.num_threads = 1; }},
        OddOptions{"more_threads_than_cores", [](EngineOptions& o) { o.backend.num_threads = 9; }},
        OddOptions{"bf16_cache", [](EngineOptions& o) { o.kv_dtype = DType::kBF16; }, false}),
    [](const auto& info) { return std::string(info.param.name); });

// Where the processor has what it takes, products and attention are then in BF16.
TEST(BF16OptionsTest, TokensInAMixAreThoseAlone) {
  EngineOptions options = UncheckedOptions();
  options.compute = "bf16";
  options.kv_dtype = DType::kBF16;
  const ForcedExitEngine engine(options, LeaveAtRandom);
  EXPECT_EQ(RunMixed(*engine, kRequests, kExactEvery),
            RunMixedAlone(*ForcedExitEngine(options, LeaveAtRandom), kRequests, kExactEvery));
}

}  // namespace
}  // namespace spade::testing
