#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <functional>
#include <memory>

namespace spade::cuda_emulation {

// A function that can stop in the middle and go on later, on its own stack; it always switches to
// and from the same caller. Tells AddressSanitizer about the stacks, where that is compiled in.
class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs `body` until it ends or waits. True: it ended. `body` outlives the run.
  bool Start(const std::function<void()>& body);
  bool Continue();
  // Within the body: returns to whoever called Start or Continue.
  void Wait();

 private:
  void Loop();
  bool SwitchIn();
  void SwitchOut();

  std::unique_ptr<std::byte[]> stack_;
  boost::context::fiber inside_;
  boost::context::fiber outside_;
  const std::function<void()>* body_ = nullptr;
  bool ended_ = true;
  // AddressSanitizer's
  void* outside_fake_stack_ = nullptr;
  void* inside_fake_stack_ = nullptr;
  const void* outside_stack_ = nullptr;
  size_t outside_stack_size_ = 0;
};

}  // namespace spade::cuda_emulation
