#include "tests/runtime/exit_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

namespace spade::testing {
namespace {

constexpr int32_t kHidden = 192;
constexpr int32_t kExitLayers[] = {4, 8};

// Any token is a candidate; a forced one has all the probability.
class ForcedTokenExits final : public TokenExits {
 public:
  ForcedTokenExits(const Scheduler* scheduler, int32_t vocab_size, ForcedExit exit)
      : scheduler_(scheduler),
        candidates_(static_cast<size_t>(vocab_size)),
        exit_(std::move(exit)) {
    std::iota(candidates_.begin(), candidates_.end(), 0);
  }

  std::span<const TokenId> candidates() const override { return candidates_; }

  void Guess(int32_t layer, Tensor rows, std::span<TokenGuess> guesses) override {
    EXPECT_EQ(rows.rows, static_cast<int64_t>(guesses.size()));
    logits_.resize(std::max(logits_.size(), guesses.size()));
    for (size_t i = 0; i < guesses.size(); ++i) {
      TokenGuess& guess = guesses[i];
      const auto token = exit_(*scheduler_->Find(guess.sequence), guess.position, layer);
      guess.entropy = token ? 0 : std::numeric_limits<float>::infinity();
      logits_[i].assign(candidates_.size(), -100.0f);
      if (token) logits_[i][static_cast<size_t>(*token)] = 100;
      guess.logits = logits_[i];
    }
  }

 private:
  const Scheduler* scheduler_;
  std::vector<TokenId> candidates_;
  ForcedExit exit_;
  std::vector<std::vector<float>> logits_;
};

// Open to any entropy that is finite.
TokenCalibration OpenCalibration() {
  TokenCalibration calibration;
  calibration.hidden_size = kHidden;
  for (const int32_t layer : kExitLayers) calibration.exits.emplace_back().layer = layer;
  calibration.certificates.push_back({0.05, {1.0f, 1.0f}, {1, 1}, {0, 0}, 2, 0});
  return calibration;
}

// The tokens of all of them, at once.
std::vector<std::vector<TokenId>> RunTogether(Engine& engine,
                                              std::vector<GenerateRequest> requests) {
  std::vector<std::shared_ptr<Collector>> sinks;
  for (GenerateRequest& request : requests) {
    sinks.push_back(std::make_shared<Collector>());
    EXPECT_TRUE(engine.Generate(std::move(request), sinks.back()).ok());
  }
  std::vector<std::vector<TokenId>> tokens;
  for (const auto& sequences : WaitForAll(sinks)) tokens.push_back(sequences.at(0).tokens);
  return tokens;
}

GenerateRequest MixedRequest(int i, int exact_every) {
  const ExitMode mode = (i + 1) % exact_every == 0 ? ExitMode::kExact : ExitMode::kFast;
  const auto seed = static_cast<uint32_t>(200 + i);
  return MakeEarlyRequest(MakePrompt(8 + i, seed), 18 + i % 9, mode);
}

}  // namespace

std::vector<ExitHead> RandomHeads(std::span<const int32_t> layers, int64_t hidden_size,
                                  float deviation) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<ExitHead> heads;
  for (const int32_t layer : layers) {
    ExitHead& head = heads.emplace_back();
    head.layer = layer;
    head.weight.resize(4 * static_cast<size_t>(hidden_size));
    for (float& weight : head.weight) weight = normal(random);
    head.bias.assign(4, 0.0f);
  }
  return heads;
}

Calibration HandMadeCalibration(SpadePosition position) {
  static const std::string model_sha256 = Checkpoint::Open(TicketsModel())->Sha256();
  static const std::string tokenizer_sha256 = MakeEngine(SmallOptions())->tokenizer().sha256();
  Calibration calibration;
  calibration.model_sha256 = model_sha256;
  calibration.tokenizer_sha256 = tokenizer_sha256;
  calibration.weight_dtype = "bf16";
  calibration.position = position;
  calibration.label_ids = {999, 300, 17, 2048};
  calibration.label_texts = {"a", "b", "c", "d"};
  calibration.hidden_size = kHidden;
  calibration.exits = RandomHeads(kExitLayers, kHidden, 0.06f);
  calibration.certificates = {{0.01, {0.0f, 0.6f}, {0, 10}, {0, 0}, 10, 0.1},
                              {0.05, {0.9f, 1.0f}, {10, 10}, {0, 0}, 10, 0.2}};
  return calibration;
}

EngineOptions UncheckedOptions(int32_t kv_blocks) {
  EngineOptions options = SmallOptions(kv_blocks);
  options.shadow_share = 0;
  return options;
}

ForcedExitEngine::ForcedExitEngine(EngineOptions options, ForcedExit exit)
    : registry_(std::make_unique<prometheus::Registry>()) {
  options.calibrations = {dir_.File("hand.safetensors")};
  Calibration calibration = HandMadeCalibration(SpadePosition::kKept);
  if (options.compute == NameOf(Compute::kBF16)) calibration.compute = Compute::kBF16;
  calibration.kv_dtype = options.kv_dtype.value_or(DType::kF32);
  EXPECT_TRUE(SaveCalibration(calibration, options.calibrations[0]).ok());
  auto parts = LoadEngineParts(options);
  EXPECT_TRUE(parts.ok()) << parts.status();
  parts_ = parts->get();
  parts_->info.token_calibration = OpenCalibration();
  parts_->token_exits = std::make_unique<ForcedTokenExits>(
      parts_->scheduler.get(), parts_->info.config.vocab_size, std::move(exit));
  EXPECT_TRUE(MakeRunner(options, parts_).ok());
  parts_->runner->rules().drafting() = {{1.0f, 1.0f}, MaxParked(options)};
  engine_ = Engine::Create(options, *std::move(parts), registry_.get());
}

std::vector<std::byte> ForcedExitEngine::Read(int32_t layer, BlockId block, int which) const {
  const KvShape& shape = parts_->kv->shape();
  const auto bytes = static_cast<size_t>(shape.bytes_per_block() / shape.num_layers / 2);
  const KvView& view = parts_->kv->views()[static_cast<size_t>(layer)];
  const auto* pool = static_cast<const std::byte*>(which == 0 ? view.keys : view.values);
  std::vector<std::byte> host(bytes);
  parts_->backend->CopyToHost(host.data(), pool + static_cast<size_t>(block) * bytes, bytes);
  return host;
}

uint32_t Mix(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t x = a * 0x9E3779B9u ^ b * 0x85EBCA6Bu ^ c * 0xC2B2AE35u;
  x ^= x >> 15;
  x *= 0x2C1B3C6Du;
  return x ^ x >> 13;
}

TokenId ArbitraryToken(int32_t position) {
  constexpr TokenId kVocab = 4096;
  return static_cast<TokenId>(Mix(1, static_cast<uint32_t>(position), 2) % (kVocab - 2) + 2);
}

std::optional<TokenId> LeaveAtRandom(const Sequence& sequence, int32_t position, int32_t layer) {
  const uint32_t seed = static_cast<uint32_t>(sequence.spec.prompt.back());
  if (Mix(seed, static_cast<uint32_t>(position), static_cast<uint32_t>(layer)) % 10 < 6) {
    return std::nullopt;
  }
  return ArbitraryToken(position);
}

double NumPreemptions(const ForcedExitEngine& engine) {
  return MetricValue(engine.registry(), "spade_preemptions_total");
}

std::vector<std::vector<TokenId>> GenerateTogether(EngineOptions options,
                                                   std::vector<TokenId> (*prompt)(int length,
                                                                                  uint32_t seed)) {
  options.max_rows = 24;
  options.max_sequences = 4;
  const TestEngine engine = MakeEngine(options);
  std::vector<GenerateRequest> requests;
  for (const int length : {5, 30, 11}) {
    requests.push_back(MakeRequest(prompt(length, static_cast<uint32_t>(length)), 4));
  }
  return RunTogether(*engine, std::move(requests));
}

std::vector<std::vector<TokenId>> RunMixed(Engine& engine, int num_requests, int exact_every) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < num_requests; ++i) requests.push_back(MixedRequest(i, exact_every));
  return RunTogether(engine, std::move(requests));
}

std::vector<std::vector<TokenId>> RunMixedAlone(Engine& engine, int num_requests, int exact_every) {
  std::vector<std::vector<TokenId>> tokens;
  for (int i = 0; i < num_requests; ++i) {
    tokens.push_back(RunToEnd(engine, MixedRequest(i, exact_every))[0].tokens);
  }
  return tokens;
}

GenerateRequest MakeEarlyRequest(std::vector<TokenId> prompt, int32_t max_tokens, ExitMode mode) {
  GenerateRequest request = MakeRequest(std::move(prompt), max_tokens);
  request.mode = mode;
  if (mode == ExitMode::kFast) request.max_mismatch = 0.05;
  return request;
}

}  // namespace spade::testing
