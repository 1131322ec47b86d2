#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/runtime/engine_parts.h"
#include "tests/runtime/engine_fixture.h"
#include "tests/testing/temp_dir.h"

namespace spade::testing {

// Heads for 4 labels with weights of chance, of that deviation, after these layers.
std::vector<ExitHead> RandomHeads(std::span<const int32_t> layers, int64_t hidden_size,
                                  float deviation);

// Heads with weights of chance at the exits after layers 4 and 8 of the tickets model, for labels
// {999, 300, 17, 2048}: some decisions leave at either, some at none.
Calibration HandMadeCalibration(SpadePosition position);

// The token with which the row at `position` leaves after `layer` layers; nullopt: it does not.
// Called on the loop's thread.
using ForcedExit =
    std::function<std::optional<TokenId>(const Sequence&, int32_t position, int32_t layer)>;

// SmallOptions without shadow checks, which find arbitrary tokens wrong, and close the exits in
// time.
EngineOptions UncheckedOptions(int32_t kv_blocks = 256);

// An engine whose generated tokens leave (after layers 4 and 8) where the test says.
class ForcedExitEngine {
 public:
  ForcedExitEngine(EngineOptions options, ForcedExit exit);

  Engine& operator*() const { return *engine_; }
  Engine* operator->() const { return engine_.get(); }
  const prometheus::Registry& registry() const { return *registry_; }
  // Rows that wait at exits; while the engine is idle.
  int32_t num_parked() const { return parts_->runner->num_parked(); }
  // A block's keys, or values, at one layer; while the engine is idle.
  std::vector<std::byte> Keys(int32_t layer, BlockId block) const { return Read(layer, block, 0); }
  std::vector<std::byte> Values(int32_t layer, BlockId block) const {
    return Read(layer, block, 1);
  }

 private:
  std::vector<std::byte> Read(int32_t layer, BlockId block, int which) const;

  TempDir dir_;
  std::unique_ptr<prometheus::Registry> registry_;
  EngineParts* parts_ = nullptr;  // the engine's
  std::unique_ptr<Engine> engine_;
};

// Evenly spread bits.
uint32_t Mix(uint32_t a, uint32_t b, uint32_t c);
// A token that has little to do with what the model would say.
TokenId ArbitraryToken(int32_t position);
// A ForcedExit: half the rows leave, at either exit.
std::optional<TokenId> LeaveAtRandom(const Sequence& sequence, int32_t position, int32_t layer);

double NumPreemptions(const ForcedExitEngine& engine);

// Greedy tokens of three prompts at once, made by `prompt`, one of them longer than a step's rows.
std::vector<std::vector<TokenId>> GenerateTogether(EngineOptions options,
                                                   std::vector<TokenId> (*prompt)(int length,
                                                                                  uint32_t seed));

// The tokens of so many FAST requests at once, each `exact_every`-th of them EXACT; and one after
// another.
std::vector<std::vector<TokenId>> RunMixed(Engine& engine, int num_requests, int exact_every);
std::vector<std::vector<TokenId>> RunMixedAlone(Engine& engine, int num_requests, int exact_every);

GenerateRequest MakeEarlyRequest(std::vector<TokenId> prompt, int32_t max_tokens, ExitMode mode);

}  // namespace spade::testing
