// The steps of a steady decode allocate nothing: counted over all threads, from the delivery of one
// step's token to that of the next.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <latch>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "tests/runtime/exit_fixture.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace {

std::atomic<int64_t> num_allocations{0};

void* Allocate(size_t size, size_t alignment) {
  num_allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// The array and the nothrow forms come down to these.
void* operator new(size_t size) { return Allocate(size, 1); }
void* operator new(size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace spade::testing {
namespace {

constexpr int32_t kPrompt = 24;
constexpr int32_t kTokens = 150;
constexpr int32_t kWarmUp = 40;  // tokens of a sequence in which its working memory may still grow
constexpr int32_t kLast = 30;    // tokens in which sequences that are a little ahead may end

// Notes at each delta how many allocations there were until then. Itself it makes none.
class CountingSink final : public GenerateSink {
 public:
  // The first delta waits for `all_sent`, and the engine with it.
  explicit CountingSink(std::latch* all_sent) : all_sent_(*all_sent) {
    marks_.reserve(2 * kTokens);
  }
  void OnDelta(GenerateDelta delta) override {
    all_sent_.wait();
    marks_.push_back(num_allocations.load(std::memory_order_relaxed));
    num_tokens_.push_back(static_cast<int32_t>(delta.tokens.size()));
  }
  void OnDone(const absl::Status& status) override {
    const std::lock_guard lock(mutex_);
    status_ = status;
    done_.notify_all();
  }
  absl::Status Wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return status_.has_value(); });
    return *status_;
  }
  // Allocations of each step between the warm-up and the last tokens.
  std::vector<int64_t> Steady() const {
    std::vector<int64_t> counts;
    int32_t tokens = 0;
    for (size_t i = 0; i + 1 < marks_.size(); ++i) {
      tokens += num_tokens_[i];
      if (tokens >= kWarmUp && tokens < kTokens - kLast)
        counts.push_back(marks_[i + 1] - marks_[i]);
    }
    return counts;
  }

 private:
  std::latch& all_sent_;
  std::vector<int64_t> marks_;
  std::vector<int32_t> num_tokens_ = [] {
    std::vector<int32_t> tokens;
    tokens.reserve(2 * kTokens);
    return tokens;
  }();
  std::mutex mutex_;
  std::condition_variable done_;
  std::optional<absl::Status> status_;
};

GenerateRequest Request(int32_t seed, ExitMode mode) {
  return MakeEarlyRequest(MakePrompt(kPrompt, static_cast<uint32_t>(seed)), kTokens, mode);
}

// `count` requests of the same length side by side: none ends while the first one is counted.
void ExpectNoAllocation(Engine& engine, int32_t count, ExitMode mode,
                        void (*change)(GenerateRequest&) = nullptr) {
  std::latch all_sent(1);
  std::vector<std::shared_ptr<CountingSink>> sinks;
  for (int32_t i = 0; i < count; ++i) {
    GenerateRequest request = Request(i, mode);
    if (change != nullptr) change(request);
    sinks.push_back(std::make_shared<CountingSink>(&all_sent));
    ASSERT_TRUE(engine.Generate(std::move(request), sinks.back()).ok());
  }
  all_sent.count_down();
  for (const auto& sink : sinks) ASSERT_TRUE(sink->Wait().ok());
  const std::vector<int64_t> steady = sinks[0]->Steady();
  EXPECT_GT(steady.size(), 3u);
  EXPECT_EQ(steady, std::vector<int64_t>(steady.size(), 0));
}

TEST(AllocationTest, CountsWhatIsAllocated) {
  const int64_t before = num_allocations;
  const auto number = std::make_unique<int>(1);
  EXPECT_EQ(num_allocations - before, 1);
  EXPECT_EQ(*number, 1);
}

TEST(AllocationTest, OneSequence) {
  const TestEngine engine = MakeEngine(SmallOptions());
  ExpectNoAllocation(*engine, 1, ExitMode::kExact);
}

TEST(AllocationTest, SequencesSideBySide) {
  const TestEngine engine = MakeEngine(SmallOptions());
  ExpectNoAllocation(*engine, 8, ExitMode::kExact);
}

// Every operation looks addresses up.
TEST(AllocationTest, OverTwoShards) {
  const TempDir dir;
  WriteTinyModel(dir.path(), {.vocab_size = 4096});
  EngineOptions options = SmallOptions();
  options.model_directory = dir.path();
  options.backend.tensor_parallel = 2;
  const TestEngine engine = MakeEngine(options);
  ExpectNoAllocation(*engine, 4, ExitMode::kExact);
}

TEST(AllocationTest, Sampled) {
  const TestEngine engine = MakeEngine(SmallOptions());
  ExpectNoAllocation(*engine, 4, ExitMode::kExact, [](GenerateRequest& request) {
    request.sampling.temperature = 0.9f;
    request.sampling.top_k = 40;
    request.sampling.top_p = 0.95f;
  });
}

// Every third row of each sequence leaves, at either exit.
std::optional<TokenId> LeaveAtTimes(const Sequence&, int32_t position, int32_t layer) {
  if (position % 3 != 1 || (position % 2 == 0 && layer == 4)) return std::nullopt;
  return 100 + position;
}

TEST(AllocationTest, EarlyTokens) {
  // Nor are there shadow checks, the first of which makes an exit's metrics.
  const EngineOptions options = UncheckedOptions();
  const ForcedExitEngine engine(options, LeaveAtTimes);
  ExpectNoAllocation(*engine, 4, ExitMode::kFast);
}

// The sequences' prompts are of one length: those whose rows wait are out of step with the others.
TEST(AllocationTest, HeldRows) {
  EngineOptions options = UncheckedOptions();
  options.hold = {.longest_wait = 1000, .batch = 3};
  const ForcedExitEngine engine(
      options, [](const Sequence& sequence, int32_t position, int32_t) -> std::optional<TokenId> {
        if ((position + static_cast<int32_t>(sequence.id)) % 3 == 1) return std::nullopt;
        return 100 + position;
      });
  ExpectNoAllocation(*engine, 4, ExitMode::kFast);
  EXPECT_GT(MetricValue(engine.registry(), "spade_held_rows_total"), 0);
}

TEST(AllocationTest, Drafts) {
  const ForcedExitEngine engine(SmallOptions(), LeaveAtTimes);
  ExpectNoAllocation(*engine, 4, ExitMode::kVerified);
}

// Tokens that come together are handed out in one list, which the receiver keeps.
TEST(AllocationTest, AcceptedDraftsAllocateTheirList) {
  const std::vector<TokenId> exact =
      RunToEnd(*MakeEngine(SmallOptions()), Request(0, ExitMode::kExact))[0].tokens;
  const ForcedExitEngine engine(
      SmallOptions(),
      [&](const Sequence& sequence, int32_t position, int32_t) -> std::optional<TokenId> {
        return exact.at(static_cast<size_t>(position + 1 - sequence.num_prompt()));
      });
  std::latch all_sent(0);
  const auto sink = std::make_shared<CountingSink>(&all_sent);
  GenerateRequest request = Request(0, ExitMode::kVerified);
  request.detokenize = false;  // their text may be long
  ASSERT_TRUE(engine->Generate(request, sink).ok());
  ASSERT_TRUE(sink->Wait().ok());
  const std::vector<int64_t> steady = sink->Steady();
  EXPECT_GT(steady.size(), 3u);
  EXPECT_EQ(steady, std::vector<int64_t>(steady.size(), 1));
}

}  // namespace
}  // namespace spade::testing
