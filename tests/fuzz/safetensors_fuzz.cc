#include <cstdint>
#include <span>

#include "engine/base/safetensors.h"
#include "kernels/check.h"

// Whatever parses must lie inside the bytes it was parsed from.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = spade::ParseSafeTensors(bytes);
  if (!file.ok()) return 0;
  for (const auto& [name, tensor] : file->tensors) {
    SPADE_CHECK(tensor.data.empty() ||
                (tensor.data.data() >= bytes.data() &&
                 tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size()));
  }
  return 0;
}
