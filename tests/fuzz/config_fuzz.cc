#include <cstdint>
#include <string_view>

#include "engine/model/model_config.h"
#include "engine/model/rope.h"
#include "kernels/check.h"

// Input: config.json, then, after a NUL byte, generation_config.json. A config that parses must be
// usable: sizes in range, frequencies computable.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t split = text.find('\0');
  const auto config = spade::ParseModelConfig(
      text.substr(0, split), split == std::string_view::npos ? "" : text.substr(split + 1));
  if (!config.ok()) return 0;
  SPADE_CHECK(config->num_layers > 0 && config->num_heads % config->num_kv_heads == 0);
  SPADE_CHECK(config->layer_parameters() > 0 && config->total_parameters() > 0);
  SPADE_CHECK(spade::InverseFrequencies(*config).size() ==
              static_cast<size_t>(config->head_dim / 2));
  return 0;
}
