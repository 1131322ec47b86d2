// The engine without a server, for as long as SPADE_SOAK_SECONDS says (default: 3): threads that
// submit, cancel and let deadlines pass, rows that leave at random depths, a cache that is too
// small for what runs. Under ThreadSanitizer too, which cannot look into Debian's gRPC; tools/soak
// is the same for a whole server.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "tests/runtime/exit_fixture.h"

namespace spade::testing {
namespace {

using std::chrono::milliseconds;

constexpr uint32_t kPrompts = 12;
constexpr int32_t kMaxTokens = 24;
constexpr int kThreads = 4;
constexpr size_t kInFlight = 6;  // of a thread

std::chrono::duration<double> SoakTime() {
  const char* seconds = std::getenv("SPADE_SOAK_SECONDS");
  return std::chrono::duration<double>(seconds == nullptr ? 3 : std::atof(seconds));
}

std::vector<TokenId> PromptOf(uint32_t seed) { return MakePrompt(5 + 4 * seed, 100 + seed); }

EngineOptions CrampedOptions() {
  EngineOptions options = UncheckedOptions(/*kv_blocks=*/24);
  options.max_sequences = 12;
  options.max_queued_requests = 16;
  options.hold = {.longest_wait = 0.02, .batch = 4};
  return options;
}

// What one thread sends, a few requests at a time, and what must hold of the answers.
class Client {
 public:
  Client(Engine* engine, const std::vector<std::vector<TokenId>>* expected, uint32_t seed)
      : engine_(engine), expected_(expected), random_(seed) {}

  void RunUntil(std::chrono::steady_clock::time_point end) {
    while (std::chrono::steady_clock::now() < end) {
      while (sent_.size() < kInFlight) Send();
      Finish();
    }
    while (!sent_.empty()) Finish();
  }
  const std::map<absl::StatusCode, int>& ends() const { return ends_; }

 private:
  struct Sent {
    uint32_t prompt;
    ExitMode mode;
    std::shared_ptr<Collector> sink;
  };

  uint32_t Draw(uint32_t below) { return random_() % below; }

  void Send() {
    constexpr std::array kModes = {ExitMode::kExact, ExitMode::kVerified, ExitMode::kFast};
    Sent sent = {Draw(kPrompts), kModes[Draw(3)], std::make_shared<Collector>()};
    GenerateRequest request = MakeEarlyRequest(PromptOf(sent.prompt), kMaxTokens, sent.mode);
    request.context.tenant = std::string(1, static_cast<char>('a' + Draw(3)));
    request.context.priority = static_cast<int32_t>(Draw(3));
    if (Draw(6) == 0) request.context.deadline = Clock::now() + milliseconds(Draw(60));
    if (Draw(6) == 0) request.context.max_queue_time = milliseconds(1 + Draw(60));
    const bool cancels = Draw(6) == 0;
    const auto handle = engine_->Generate(std::move(request), sent.sink);
    if (!handle.ok()) {
      ++ends_[handle.status().code()];
      std::this_thread::sleep_for(milliseconds(2));
      return;
    }
    if (cancels) {
      if (Draw(2) == 0) std::this_thread::sleep_for(milliseconds(Draw(10)));
      engine_->Cancel(*handle);
    }
    sent_.push_back(std::move(sent));
  }

  void Finish() {
    if (sent_.empty()) return;
    const size_t index = Draw(static_cast<uint32_t>(sent_.size()));
    const Sent sent = std::move(sent_[index]);
    sent_.erase(sent_.begin() + static_cast<std::ptrdiff_t>(index));
    const absl::Status status = sent.sink->Wait();
    ++ends_[status.code()];
    if (!status.ok() || sent.mode == ExitMode::kFast) return;
    EXPECT_EQ(sent.sink->sequences()[0].tokens, (*expected_)[sent.prompt]);
  }

  Engine* const engine_;
  const std::vector<std::vector<TokenId>>* const expected_;
  std::mt19937 random_;
  std::vector<Sent> sent_;
  std::map<absl::StatusCode, int> ends_;
};

TEST(EngineSoakTest, EveryRequestEndsAndNothingStays) {
  const ForcedExitEngine engine(CrampedOptions(), LeaveAtRandom);
  std::vector<std::vector<TokenId>> expected;
  for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
    const auto alone = MakeEarlyRequest(PromptOf(prompt), kMaxTokens, ExitMode::kExact);
    expected.push_back(RunToEnd(*engine, alone)[0].tokens);
  }
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::duration_cast<std::chrono::nanoseconds>(SoakTime());
  std::vector<Client> clients;
  for (uint32_t i = 0; i < kThreads; ++i) clients.emplace_back(&*engine, &expected, i);
  std::vector<std::thread> threads;
  for (Client& client : clients) threads.emplace_back([&] { client.RunUntil(end); });
  for (std::thread& thread : threads) thread.join();

  std::map<absl::StatusCode, int> ends;
  for (const Client& client : clients) {
    for (const auto& [code, count] : client.ends()) ends[code] += count;
  }
  for (const auto& [code, count] : ends) {
    std::printf("%s %d\n", absl::StatusCodeToString(code).c_str(), count);
  }
  std::printf("preemptions %.0f\n", MetricValue(engine.registry(), "spade_preemptions_total"));
  EXPECT_GT(ends[absl::StatusCode::kOk], 0);
  EXPECT_GT(ends[absl::StatusCode::kCancelled], 0);
  EXPECT_EQ(engine->Drain(milliseconds(60'000)), 0);
  const EngineStats stats = engine->Stats();
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.kv_blocks_in_use, 0);
  EXPECT_EQ(engine.num_parked(), 0);
}

}  // namespace
}  // namespace spade::testing
