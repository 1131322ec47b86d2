#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace spade {

// Owns one allocation of a backend; move-only. Outlives nothing: free all buffers before the
// backend that made them.
class Buffer {
 public:
  // Frees `data`, an allocation of `size` bytes. Stateless.
  using Deleter = void (*)(void* data, size_t size);

  Buffer() = default;
  Buffer(void* data, size_t size, Deleter deleter) : data_(data), size_(size), deleter_(deleter) {}
  // Freed by letting go of `hold`.
  Buffer(void* data, size_t size, std::shared_ptr<void> hold)
      : data_(data), size_(size), hold_(std::move(hold)) {}
  Buffer(Buffer&& other) noexcept { Swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    Swap(moved);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (deleter_ != nullptr && data_ != nullptr) deleter_(data_, size_);
  }

  void* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void Swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(deleter_, other.deleter_);
    std::swap(hold_, other.hold_);
  }

  void* data_ = nullptr;
  size_t size_ = 0;
  Deleter deleter_ = nullptr;
  std::shared_ptr<void> hold_;
};

}  // namespace spade
