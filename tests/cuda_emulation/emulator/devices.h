#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>

// Several emulated GPUs: which is the thread's current one, and whose memory is whose. Without
// peer access one GPU faults on another's memory; here it aborts.

namespace spade::cuda_emulation {

inline constexpr int kNumDevices = 4;

int CurrentDevice();
void SetCurrentDevice(int device);

// `data` is the current device's from now on.
void AddMemory(const void* data, size_t bytes);
void RemoveMemory(const void* data);

// The device that `address` is the memory of; -1: none, the host's or no address at all.
int DeviceOf(const void* address);

// Aborts where `address` is another device's than the current one.
void CheckMemory(const void* address);

// Whether kernels' arguments are looked through: only with compilers that can clear padding, where
// addresses of earlier calls lie about.
#if defined(__GNUC__) && !defined(__clang__)
inline constexpr bool kChecksPointers = true;
template <typename T>
void ClearPadding(T& value) {
  __builtin_clear_padding(&value);
}
#else
inline constexpr bool kChecksPointers = false;
template <typename T>
void ClearPadding(T&) {}
#endif

// CheckMemory of every word of a kernel's argument: whatever looks like an address of a device.
template <typename T>
void CheckPointers(T argument) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (!kChecksPointers) return;
  ClearPadding(argument);
  const void* address = nullptr;
  for (size_t at = 0; at + sizeof(address) <= sizeof(T); at += sizeof(address)) {
    std::memcpy(&address, reinterpret_cast<const std::byte*>(&argument) + at, sizeof(address));
    CheckMemory(address);
  }
}

}  // namespace spade::cuda_emulation
