#pragma once

#include <cstdint>
#include <string>

#include "engine/runtime/engine.h"

namespace CLI {
class App;
}

namespace spade::bench {

// An engine on random weights, as the command line asks for it.
struct RandomEngine {
  std::string device = "cpu";
  std::string shape;
  std::string cache = "/tmp/spade-bench";
  std::string compute = "auto";
  int32_t threads = 2;
};

void AddFlags(CLI::App& app, RandomEngine& engine);

// Options for it, with 1 GiB of KV cache; on a GPU 8 GiB, in bf16.
EngineOptions MakeEngineOptions(const RandomEngine& engine);

}  // namespace spade::bench
