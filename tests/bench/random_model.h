#pragma once

#include <cstdint>
#include <string>

namespace spade::bench {

inline constexpr int32_t kRandomModelContext = 8192;

// The folder, below `cache`, of a checkpoint with random weights, written on first use. `shape`:
// "8b" (Llama 3's), "1.1b" (TinyLlama's), "135m" (SmolLM's) or "20m" (for a quick look).
std::string RandomModel(const std::string& cache, const std::string& shape);

}  // namespace spade::bench
