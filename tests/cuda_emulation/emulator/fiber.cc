#include "emulator/fiber.h"

#include <boost/context/preallocated.hpp>
#include <memory>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define SPADE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPADE_ASAN 1
#endif
#endif
#ifdef SPADE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace spade::cuda_emulation {
namespace {

#ifdef SPADE_ASAN
constexpr size_t kStackBytes = size_t{256} << 10;  // redzones are wide
void StartSwitch(void** saved, const void* bottom, size_t size) {
  __sanitizer_start_switch_fiber(saved, bottom, size);
}
void FinishSwitch(void* saved, const void** bottom, size_t* size) {
  __sanitizer_finish_switch_fiber(saved, bottom, size);
}
#else
constexpr size_t kStackBytes = size_t{64} << 10;
void StartSwitch(void**, const void*, size_t) {}
void FinishSwitch(void*, const void**, size_t*) {}
#endif

// The memory is the Fiber's.
struct NoStackAllocator {
  boost::context::stack_context allocate() { return {}; }
  void deallocate(boost::context::stack_context&) {}
};

}  // namespace

Fiber::Fiber() : stack_(std::make_unique<std::byte[]>(kStackBytes)) {
  boost::context::stack_context context;
  context.size = kStackBytes;
  context.sp = stack_.get() + kStackBytes;
  inside_ = boost::context::fiber(std::allocator_arg,
                                  boost::context::preallocated(context.sp, context.size, context),
                                  NoStackAllocator{}, [this](boost::context::fiber&& outside) {
                                    outside_ = std::move(outside);
                                    Loop();
                                    return std::move(outside_);
                                  });
}

// Runs one body after another; never ends, and is unwound by ~fiber.
void Fiber::Loop() {
  FinishSwitch(nullptr, &outside_stack_, &outside_stack_size_);
  while (true) {
    (*body_)();
    ended_ = true;
    SwitchOut();
  }
}

bool Fiber::Start(const std::function<void()>& body) {
  body_ = &body;
  ended_ = false;
  return SwitchIn();
}

bool Fiber::Continue() { return SwitchIn(); }

void Fiber::Wait() { SwitchOut(); }

bool Fiber::SwitchIn() {
  StartSwitch(&outside_fake_stack_, stack_.get(), kStackBytes);
  inside_ = std::move(inside_).resume();
  FinishSwitch(outside_fake_stack_, nullptr, nullptr);
  return ended_;
}

void Fiber::SwitchOut() {
  StartSwitch(&inside_fake_stack_, outside_stack_, outside_stack_size_);
  outside_ = std::move(outside_).resume();
  FinishSwitch(inside_fake_stack_, &outside_stack_, &outside_stack_size_);
}

}  // namespace spade::cuda_emulation
