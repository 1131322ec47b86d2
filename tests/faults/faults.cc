#include "tests/faults/faults.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <span>

#include "absl/status/statusor.h"
#include "engine/runtime/step_runner.h"
#include "kernels/backend.h"

namespace spade::testing {
namespace {

constexpr int kNever = -1;

// Calls until the one that fails.
std::array<std::atomic<int>, 4> countdown = {kNever, kNever, kNever, kNever};
std::array<std::atomic<bool>, 4> failed = {};
thread_local bool new_may_fail = false;

bool Fails(Call call) {
  auto& left = countdown[static_cast<size_t>(call)];
  if (left.load() == kNever || left.fetch_sub(1) != 0) return false;
  left = kNever;
  failed[static_cast<size_t>(call)] = true;
  return true;
}

struct Hang {
  std::mutex mutex;
  std::condition_variable changed;
  bool wanted = false;
  bool hung = false;
};
Hang hang;
std::atomic<int64_t> clock_offset_s{0};
Call current{};

}  // namespace

FailCall::FailCall(Call call, int nth) {
  current = call;
  failed[static_cast<size_t>(call)] = false;
  new_may_fail = call == Call::kNew;
  countdown[static_cast<size_t>(call)] = nth;
}
FailCall::~FailCall() {
  countdown[static_cast<size_t>(current)] = kNever;
  new_may_fail = false;
}
bool FailCall::happened() const { return failed[static_cast<size_t>(current)]; }

HangStep::HangStep() {
  std::lock_guard lock(hang.mutex);
  hang.wanted = true;
  hang.hung = false;
}
HangStep::~HangStep() {
  std::lock_guard lock(hang.mutex);
  hang.wanted = false;
  hang.changed.notify_all();
}
void HangStep::WaitUntilHung() {
  std::unique_lock lock(hang.mutex);
  hang.changed.wait_for(lock, std::chrono::minutes(1), [] { return hang.hung; });
}

JumpClock::JumpClock(std::chrono::seconds distance) { clock_offset_s = distance.count(); }
JumpClock::~JumpClock() { clock_offset_s = 0; }

namespace {

void HangIfWanted() {
  std::unique_lock lock(hang.mutex);
  if (!hang.wanted) return;
  hang.hung = true;
  hang.changed.notify_all();
  hang.changed.wait(lock, [] { return !hang.wanted; });
}

}  // namespace
}  // namespace spade::testing

// ---- What the linker puts in place of the real ones. Names and types are the ABI's.

using spade::testing::Call;

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {

void* __real_mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset);
void* __wrap_mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && spade::testing::Fails(Call::kMap)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return __real_mmap(address, size, protection, flags, fd, offset);
}

int __real_fstat(int fd, struct stat* info);
int __wrap_fstat(int fd, struct stat* info) {
  const int result = __real_fstat(fd, info);
  if (result == 0 && spade::testing::Fails(Call::kFileSize)) info->st_size /= 2;
  return result;
}

void* __real__Znwm(size_t size);
void* __wrap__Znwm(size_t size) {
  if (spade::testing::new_may_fail && spade::testing::Fails(Call::kNew)) throw std::bad_alloc();
  return __real__Znwm(size);
}

int64_t __real__ZNSt6chrono3_V212system_clock3nowEv();
int64_t __wrap__ZNSt6chrono3_V212system_clock3nowEv() {
  return __real__ZNSt6chrono3_V212system_clock3nowEv() +
         spade::testing::clock_offset_s.load() * 1'000'000'000;
}

}  // extern "C"

// C++ functions under the names that the linker asks for.
absl::StatusOr<spade::Buffer> RealAllocate(size_t bytes) __asm__(
    "__real__ZN5spade15AllocateAlignedEm");
absl::StatusOr<spade::Buffer> WrapAllocate(size_t bytes) __asm__(
    "__wrap__ZN5spade15AllocateAlignedEm");
absl::StatusOr<spade::Buffer> WrapAllocate(size_t bytes) {
  if (spade::testing::Fails(Call::kTensor)) {
    return absl::ResourceExhaustedError("cannot allocate: told to fail");
  }
  return RealAllocate(bytes);
}

#define SPADE_CLIMB "_ZN5spade10StepRunner5ClimbESt4spanINS_8StepItemELm18446744073709551615EE"
void RealClimb(spade::StepRunner* runner,
               std::span<spade::StepItem> items) __asm__("__real_" SPADE_CLIMB);
void WrapClimb(spade::StepRunner* runner,
               std::span<spade::StepItem> items) __asm__("__wrap_" SPADE_CLIMB);
void WrapClimb(spade::StepRunner* runner, std::span<spade::StepItem> items) {
  spade::testing::HangIfWanted();
  RealClimb(runner, items);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
