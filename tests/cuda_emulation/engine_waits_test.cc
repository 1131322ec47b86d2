// What an engine's steps ask of the GPU: how often they wait, and that they are replayed. Of the
// emulator, which counts.
#include <gtest/gtest.h>

#include "emulator/stream.h"
#include "engine/runtime/engine_parts.h"
#include "tests/runtime/exit_fixture.h"

namespace spade::testing {
namespace {

using cuda_emulation::Counts;
using cuda_emulation::StreamCounts;

constexpr int32_t kTokens = 8;

// What a sequence's steps after the first token asked for, nobody leaving.
StreamCounts CountsOf(const ForcedExitEngine& engine, ExitMode mode) {
  auto sink = std::make_shared<Collector>();
  EXPECT_TRUE(engine->Generate(MakeEarlyRequest(MakePrompt(4, 1), kTokens, mode), sink).ok());
  EXPECT_TRUE(sink->Wait().ok());
  return Counts();
}

EngineOptions CudaOptions() {
  EngineOptions options = SmallOptions();
  options.backend.device = "cuda";
  return options;
}

std::optional<TokenId> NobodyLeaves(const Sequence&, int32_t, int32_t) { return std::nullopt; }

TEST(CudaEngineWaitsTest, StagesFollowEachOtherWithoutAWait) {
  const ForcedExitEngine engine(CudaOptions(), NobodyLeaves);
  const StreamCounts before = CountsOf(engine, ExitMode::kExact);
  const StreamCounts after = CountsOf(engine, ExitMode::kExact);
  // A step's logits, and the times of its parts.
  EXPECT_LE(after.waits - before.waits, 2 * kTokens);
}

TEST(CudaEngineWaitsTest, DecodingIsReplayed) {
  const ForcedExitEngine engine(CudaOptions(), NobodyLeaves);
  const StreamCounts before = CountsOf(engine, ExitMode::kExact);
  const StreamCounts after = CountsOf(engine, ExitMode::kExact);
  EXPECT_GE(after.graph_launches - before.graph_launches, 3 * (kTokens - 1)) << "three stages";
  EXPECT_LE(after.captured - before.captured, 3) << "the prompt's, which came before too";
}

}  // namespace
}  // namespace spade::testing
