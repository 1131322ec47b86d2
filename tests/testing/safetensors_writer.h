#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"

namespace spade::testing {

// Builds a safetensors file in memory, tensors in the order they are added.
class SafeTensorsWriter {
 public:
  // `dtype`: kF32 or kBF16 (rounded). Fewer values than the shape has repeat.
  void Add(std::string_view name, std::span<const int64_t> shape, std::span<const float> values,
           DType dtype);
  std::string Bytes() const;

 private:
  std::string header_ = "{";
  std::string data_;
};

// A file of this header text, its length before it, and `data`: well-formed or not.
std::string SafeTensorsBytes(std::string_view header, std::string_view data);

}  // namespace spade::testing
