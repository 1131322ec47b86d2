#include "emulator/devices.h"

#include <functional>
#include <map>
#include <mutex>

#include "kernels/check.h"

namespace spade::cuda_emulation {
namespace {

thread_local int current_device = 0;

struct Memory {
  size_t bytes = 0;
  int device = 0;
};

struct AllMemory {
  std::mutex mutex;
  std::map<const std::byte*, Memory, std::greater<>> by_begin;  // so that lower_bound is before
};

AllMemory& TheMemory() {
  static auto* const memory = new AllMemory();  // freed with the process
  return *memory;
}

}  // namespace

int CurrentDevice() { return current_device; }
void SetCurrentDevice(int device) { current_device = device; }

void AddMemory(const void* data, size_t bytes) {
  AllMemory& memory = TheMemory();
  const std::scoped_lock lock(memory.mutex);
  memory.by_begin[static_cast<const std::byte*>(data)] = {bytes, current_device};
}

void RemoveMemory(const void* data) {
  AllMemory& memory = TheMemory();
  const std::scoped_lock lock(memory.mutex);
  memory.by_begin.erase(static_cast<const std::byte*>(data));
}

int DeviceOf(const void* address) {
  AllMemory& memory = TheMemory();
  const std::scoped_lock lock(memory.mutex);
  const auto* at = static_cast<const std::byte*>(address);
  const auto entry = memory.by_begin.lower_bound(at);
  if (entry == memory.by_begin.end()) return -1;
  return at < entry->first + entry->second.bytes ? entry->second.device : -1;
}

void CheckMemory(const void* address) {
  const int device = DeviceOf(address);
  SPADE_CHECK(device == -1 || device == current_device);
}

}  // namespace spade::cuda_emulation
