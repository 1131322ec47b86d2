#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace spade {

// One tensor of a safetensors file. `data` points into the bytes that were parsed.
struct SafeTensor {
  std::string dtype;  // as the file spells it: "F32", "F16", "BF16", ...
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // (product of shape * dtype size) bytes; may be unaligned
};

struct SafeTensorsFile {
  std::map<std::string, SafeTensor, std::less<>> tensors;
  std::map<std::string, std::string, std::less<>> metadata;  // "__metadata__"
};

// Bytes of one element; 0 for a dtype that the format does not have.
size_t SafeTensorsDtypeSize(std::string_view dtype);

// Parses a whole safetensors file. INVALID_ARGUMENT for anything that is not a well-formed file: a
// header out of bounds, a name twice, an unknown dtype, data that disagrees with its shape,
// overlaps or leaves holes. Never reads outside `bytes`; `bytes` outlives the result.
absl::StatusOr<SafeTensorsFile> ParseSafeTensors(std::span<const std::byte> bytes);

}  // namespace spade
