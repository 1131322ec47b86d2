// Generation with exits at depths that the test chooses: every interleaving of rows that leave,
// wait, go on and are rolled back.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "tests/runtime/exit_fixture.h"
#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

// ---- FAST

// What FAST must give, by the plain model over whole sequences: an exit's token where a row leaves,
// else full depth's. `max_in_row` as the engine's.
std::vector<TokenId> ExpectedFast(const std::vector<TokenId>& prompt, int32_t count,
                                  const ForcedExit& exit, int32_t max_in_row) {
  static const auto backend = MakeTestBackend("cpu");
  static const auto model = LoadModelOrDie(backend.get(), TicketsModel(), ModelOptions{});
  Sequence sequence;
  sequence.spec.prompt = prompt;
  std::vector<TokenId> ids = prompt;
  int32_t in_row = 0;
  while (static_cast<int32_t>(ids.size() - prompt.size()) < count) {
    const auto position = static_cast<int32_t>(ids.size()) - 1;
    std::optional<TokenId> token;
    for (const int32_t layer : {4, 8}) {
      const bool may = position >= static_cast<int32_t>(prompt.size()) && in_row < max_in_row;
      if (may && !token) token = exit(sequence, position, layer);
    }
    in_row = token ? in_row + 1 : 0;
    if (!token) {
      ModelRunner runner(backend.get(), model.get());
      const std::vector<float> row = runner.Prefill(0, 0, ids).back();
      token = static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin());
    }
    ids.push_back(*token);
  }
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()), ids.end()};
}

// Each row's token is its exit's or full depth's over exactly the tokens before it.
TEST(ForcedExitTest, FastTokensAreTheExitsOrFullDepths) {
  const ForcedExitEngine engine(UncheckedOptions(), LeaveAtRandom);
  const int32_t max_in_row = MaxParked(SmallOptions());
  for (uint32_t i = 0; i < 3; ++i) {
    const std::vector<TokenId> prompt = MakePrompt(9 + 7 * static_cast<int>(i), 50 + i);
    const auto result = RunToEnd(*engine, MakeEarlyRequest(prompt, 25, ExitMode::kFast));
    EXPECT_EQ(result[0].tokens, ExpectedFast(prompt, 25, LeaveAtRandom, max_in_row));
  }
  EXPECT_EQ(engine.num_parked(), 0);
}

// Rows that always leave are made to go deeper once as many wait as may.
TEST(ForcedExitTest, RowsThatAlwaysLeaveAreBounded) {
  const auto always = [](const Sequence&, int32_t position, int32_t) {
    return std::optional<TokenId>(ArbitraryToken(position));
  };
  const ForcedExitEngine engine(UncheckedOptions(), always);
  const std::vector<TokenId> prompt = MakePrompt(12, 3);
  const auto result = RunToEnd(*engine, MakeEarlyRequest(prompt, 30, ExitMode::kFast));
  EXPECT_EQ(result[0].tokens, ExpectedFast(prompt, 30, always, MaxParked(SmallOptions())));
}

// Nothing was certified about text behind an end that is ignored.
TEST(ForcedExitTest, NothingLeavesBehindAnIgnoredEnd) {
  constexpr TokenId kEos = 1;
  constexpr int32_t kEndRow = 15;
  const auto always = [](const Sequence&, int32_t position, int32_t) {
    return std::optional(position == kEndRow ? kEos : ArbitraryToken(position));
  };
  const auto until_end = [&](const Sequence& sequence, int32_t position, int32_t layer) {
    return position <= kEndRow ? always(sequence, position, layer) : std::nullopt;
  };
  const ForcedExitEngine engine(UncheckedOptions(), always);
  const std::vector<TokenId> prompt = MakePrompt(12, 3);
  const auto result = RunToEnd(*engine, MakeEarlyRequest(prompt, 12, ExitMode::kFast));
  EXPECT_EQ(result[0].tokens, ExpectedFast(prompt, 12, until_end, MaxParked(SmallOptions())));
}

using Tokens = std::vector<std::vector<TokenId>>;

constexpr int kExactEvery = 3;

const Tokens& FastAlone() {
  static const Tokens alone = [] {
    const ForcedExitEngine engine(UncheckedOptions(), LeaveAtRandom);
    return RunMixedAlone(*engine, 24, kExactEvery);
  }();
  return alone;
}

TEST(ForcedExitTest, FastIsTheSameAmongOthers) {
  const ForcedExitEngine engine(UncheckedOptions(), LeaveAtRandom);
  EXPECT_EQ(RunMixed(*engine, 24, kExactEvery), FastAlone());
  EXPECT_EQ(engine.num_parked(), 0);
}

TEST(ForcedExitTest, FastIsTheSameAfterPreemption) {
  const ForcedExitEngine engine(UncheckedOptions(/*kv_blocks=*/14), LeaveAtRandom);
  // How many run at once, and so whether one is preempted, is up to the threads' timing.
  for (int round = 0; round < 50 && NumPreemptions(engine) == 0; ++round) {
    EXPECT_EQ(RunMixed(*engine, 24, kExactEvery), FastAlone());
  }
  EXPECT_GT(NumPreemptions(engine), 0);
  EXPECT_EQ(engine.num_parked(), 0);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

// Blocks with rows that were completed later than others are found by later requests, whose bits
// are those of an engine without exits: keys and values are the plain model's.
TEST(ForcedExitTest, CompletedRowsHaveThePlainModelsKeysAndValues) {
  const ForcedExitEngine engine(UncheckedOptions(), LeaveAtRandom);
  const TestEngine plain = MakeEngine(SmallOptions());
  for (uint32_t i = 0; i < 4; ++i) {
    std::vector<TokenId> prompt = MakePrompt(17, 300 + i);
    const auto fast = RunToEnd(*engine, MakeEarlyRequest(prompt, 60, ExitMode::kFast));
    prompt.insert(prompt.end(), fast[0].tokens.begin(), fast[0].tokens.end());
    GenerateRequest next = MakeRequest(prompt, 6);
    next.sampling.num_logprobs = 3;
    const auto after_exits = RunToEnd(*engine, next);
    const auto expected = RunToEnd(*plain, next);
    EXPECT_GT(after_exits[0].finish->usage.cached_tokens, 48) << "the test wants shared blocks";
    EXPECT_EQ(after_exits[0].tokens, expected[0].tokens);
    EXPECT_EQ(after_exits[0].logprobs, expected[0].logprobs);
  }
}

// An engine whose generated rows leave where `exit` says, and the blocks they were written to.
struct BlockWatch {
  explicit BlockWatch(const ForcedExit& exit)
      : engine(SmallOptions(),
               [this, exit](const Sequence& sequence, int32_t position,
                            int32_t layer) -> std::optional<TokenId> {
                 blocks = sequence.blocks;
                 const std::optional<TokenId> token = exit(sequence, position, layer);
                 num_exits += token ? 1 : 0;
                 return token;
               }) {}
  std::vector<BlockId> blocks;
  int num_exits = 0;
  ForcedExitEngine engine;
};

TEST(ForcedExitTest, DeferredCompletionWritesTheSameBitsAsNoExit) {
  BlockWatch leaving(LeaveAtRandom);
  const std::vector<TokenId> prompt = MakePrompt(17, 321);
  auto request = MakeEarlyRequest(prompt, 60, ExitMode::kFast);
  std::vector<TokenId> text = prompt;
  const std::vector<TokenId> tokens = RunToEnd(*leaving.engine, request)[0].tokens;
  text.insert(text.end(), tokens.begin(), tokens.end());
  ASSERT_GT(leaving.num_exits, 20);

  BlockWatch plain([](const Sequence&, int32_t, int32_t) { return std::nullopt; });
  RunToEnd(*plain.engine, MakeEarlyRequest(text, 2, ExitMode::kFast));
  // The last rows may have been dropped at their exit: the blocks before hold full depth's.
  const int32_t num_complete = (77 - 1 - MaxParked(SmallOptions())) / 16;
  ASSERT_GE(num_complete, 3);
  for (size_t b = 0; b < static_cast<size_t>(num_complete); ++b) {
    for (int32_t layer = 0; layer < 12; ++layer) {
      EXPECT_EQ(leaving.engine.Keys(layer, leaving.blocks.at(b)),
                plain.engine.Keys(layer, plain.blocks.at(b)))
          << "block " << b << " layer " << layer;
      EXPECT_EQ(leaving.engine.Values(layer, leaving.blocks.at(b)),
                plain.engine.Values(layer, plain.blocks.at(b)))
          << "block " << b << " layer " << layer;
    }
  }
}

// ---- VERIFIED

constexpr int kNumRequests = 6;

// Greedy, sampled, penalised, several sequences, stop strings, prompt logprobs.
GenerateRequest RequestNumber(int i) {
  GenerateRequest request = MakeRequest(MakePrompt(11 + 5 * i, 400u + i), 30);
  request.sampling.num_logprobs = 2;
  if (i == 0) return request;
  request.sampling.temperature = 0.8f;
  request.sampling.seed = 70u + static_cast<uint64_t>(i);
  if (i == 2) request.sampling.presence_penalty = 0.7f;
  if (i == 3) request.num_sequences = 3;
  if (i == 4) request.stop = {"e", "the"};
  if (i == 5) request.prompt_logprobs = 1;
  return request;
}

const Outcome& Exact() {
  static const Outcome exact = [] {
    const TestEngine engine = MakeEngine(SmallOptions());
    Outcome outcome;
    for (int i = 0; i < kNumRequests; ++i) outcome.push_back(RunToEnd(*engine, RequestNumber(i)));
    return outcome;
  }();
  return exact;
}

// Drafts that are full depth's token four times of five, by the outcome of EXACT.
std::optional<TokenId> DraftWell(const Sequence& sequence, int32_t position, int32_t layer) {
  const uint32_t seed = static_cast<uint32_t>(sequence.spec.prompt.back());
  const uint32_t chance = Mix(seed, static_cast<uint32_t>(position), 77u + layer);
  if (chance % 10 < 3) return std::nullopt;
  if (chance / 10 % 5 == 0) return ArbitraryToken(position);
  for (int i = 0; i < kNumRequests; ++i) {
    if (RequestNumber(i).context.prompt != sequence.spec.prompt) continue;
    const std::vector<TokenId>& tokens = Exact()[static_cast<size_t>(i)][0].tokens;
    const auto next = static_cast<size_t>(position + 1 - sequence.num_prompt());
    if (next < tokens.size()) return tokens[next];
  }
  return ArbitraryToken(position);
}

Outcome RunVerified(Engine& engine, int num_others) {
  std::vector<std::shared_ptr<Collector>> sinks;
  std::vector<std::shared_ptr<Collector>> others;
  for (int i = 0; i < kNumRequests + num_others; ++i) {
    if (i >= kNumRequests) {
      others.push_back(std::make_shared<Collector>());
      const ExitMode mode = i % 2 == 0 ? ExitMode::kFast : ExitMode::kExact;
      EXPECT_TRUE(
          engine.Generate(MakeEarlyRequest(MakePrompt(7 + i, 900u + i), 20, mode), others.back())
              .ok());
      continue;
    }
    GenerateRequest request = RequestNumber(i);
    request.mode = ExitMode::kVerified;
    sinks.push_back(std::make_shared<Collector>(request.num_sequences));
    EXPECT_TRUE(engine.Generate(std::move(request), sinks.back()).ok());
  }
  const Outcome outcome = WaitForAll(sinks);
  WaitForAll(others);
  return outcome;
}

void ExpectExact(const Outcome& outcome) {
  for (size_t request = 0; request < outcome.size(); ++request) {
    for (size_t i = 0; i < outcome[request].size(); ++i) {
      const SequenceResult& actual = outcome[request][i];
      const SequenceResult& expected = Exact()[request][i];
      EXPECT_EQ(actual.tokens, expected.tokens) << "request " << request;
      EXPECT_EQ(actual.logprobs, expected.logprobs) << "request " << request;
      EXPECT_EQ(actual.text, expected.text) << "request " << request;
      EXPECT_EQ(actual.finish->reason, expected.finish->reason) << "request " << request;
    }
  }
}

TEST(ForcedExitTest, VerifiedIsExact) {
  const ForcedExitEngine engine(UncheckedOptions(), DraftWell);
  ExpectExact(RunVerified(*engine, 0));
  EXPECT_EQ(engine.num_parked(), 0);
}

TEST(ForcedExitTest, VerifiedIsExactAmongOthersInSmallSteps) {
  EngineOptions options = SmallOptions();
  options.max_rows = 48;
  options.max_sequences = 12;
  const ForcedExitEngine engine(options, DraftWell);
  ExpectExact(RunVerified(*engine, 20));
}

TEST(ForcedExitTest, VerifiedIsExactAfterPreemption) {
  const ForcedExitEngine engine(UncheckedOptions(/*kv_blocks=*/14), DraftWell);
  // How many run at once, and so whether one is preempted, is up to the threads' timing.
  for (int round = 0; round < 50 && NumPreemptions(engine) == 0; ++round) {
    ExpectExact(RunVerified(*engine, 18));
  }
  EXPECT_GT(NumPreemptions(engine), 0);
  EXPECT_EQ(engine.num_parked(), 0);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(ForcedExitTest, VerifiedWithBadDraftsIsExact) {
  const ForcedExitEngine engine(UncheckedOptions(), LeaveAtRandom);
  ExpectExact(RunVerified(*engine, 4));
}

// A draft that is accepted costs no step of its own: several tokens come in one delta.
TEST(ForcedExitTest, AcceptedDraftsComeTogether) {
  const ForcedExitEngine engine(
      UncheckedOptions(),
      [](const Sequence& sequence, int32_t position, int32_t) -> std::optional<TokenId> {
        const auto next = static_cast<size_t>(position + 1 - sequence.num_prompt());
        return Exact()[0][0].tokens.at(next);
      });
  auto sink = std::make_shared<Collector>();
  GenerateRequest request = RequestNumber(0);
  request.mode = ExitMode::kVerified;
  ASSERT_TRUE(engine->Generate(request, sink).ok());
  ASSERT_TRUE(sink->Wait().ok());
  EXPECT_EQ(sink->sequences()[0].tokens, Exact()[0][0].tokens);
  const int32_t together = MaxParked(SmallOptions()) + 1;
  EXPECT_LE(sink->num_deltas(), 1 + (30 - 1 + together - 1) / together);
}

// ---- Cancels

TEST(ForcedExitTest, CancelledSequencesLeaveNothingBehind) {
  const ForcedExitEngine engine(UncheckedOptions(), LeaveAtRandom);
  std::mt19937 random(11);
  for (int round = 0; round < 6; ++round) {
    std::vector<std::shared_ptr<Collector>> sinks;
    std::vector<Engine::RequestHandle> handles;
    for (int i = 0; i < 12; ++i) {
      sinks.push_back(std::make_shared<Collector>());
      const ExitMode mode = i % 2 == 0 ? ExitMode::kFast : ExitMode::kVerified;
      const auto handle =
          engine->Generate(MakeEarlyRequest(MakePrompt(6 + i, 600u + i), 100, mode), sinks.back());
      ASSERT_TRUE(handle.ok());
      handles.push_back(*handle);
    }
    for (size_t i = 0; i < handles.size(); ++i) {
      sinks[i]->WaitForDeltas(static_cast<int>(1 + random() % 20));
      engine->Cancel(handles[i]);
    }
    for (const auto& sink : sinks) {
      const absl::Status status = sink->Wait();
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
    }
    EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
  }
  EXPECT_EQ(engine.num_parked(), 0);
}

}  // namespace
}  // namespace spade::testing
