#pragma once

#include <chrono>

namespace spade::testing {

// What goes wrong from here on, until the object is gone. One at a time; set up from one thread.

// The `nth` call from now on (0: the next) fails.
enum class Call {
  kMap,       // mmap of a file: ENOMEM
  kFileSize,  // fstat of a file: its size reads as half
  kTensor,    // the backend's memory
  kNew,       // operator new, on this thread only
};
class FailCall {
 public:
  FailCall(Call call, int nth);
  ~FailCall();
  FailCall(const FailCall&) = delete;
  FailCall& operator=(const FailCall&) = delete;

  bool happened() const;
};

// The engine's loop hangs in its next step.
class HangStep {
 public:
  HangStep();
  ~HangStep();  // lets it go on
  HangStep(const HangStep&) = delete;
  HangStep& operator=(const HangStep&) = delete;

  void WaitUntilHung();
};

// The wall clock is off by so much.
class JumpClock {
 public:
  explicit JumpClock(std::chrono::seconds distance);
  ~JumpClock();
  JumpClock(const JumpClock&) = delete;
  JumpClock& operator=(const JumpClock&) = delete;
};

}  // namespace spade::testing
