#include "tests/bench/random_engine.h"

#include <CLI/CLI.hpp>

#include "tests/bench/random_model.h"

namespace spade::bench {

void AddFlags(CLI::App& app, RandomEngine& engine) {
  app.add_option("--device", engine.device, "cpu or cuda")->capture_default_str();
  app.add_option("--shape", engine.shape, "8b, 1.1b, 135m or 20m")
      ->check(CLI::IsMember({"8b", "1.1b", "135m", "20m"}))
      ->capture_default_str();
  app.add_option("--cache", engine.cache, "folder for the random checkpoints")
      ->capture_default_str();
  app.add_option("--compute", engine.compute,
                 "type of products: auto, f32, bf16, int8, or on a GPU f16")
      ->capture_default_str();
  app.add_option("--threads", engine.threads)->check(CLI::Range(1, 256))->capture_default_str();
}

EngineOptions MakeEngineOptions(const RandomEngine& engine) {
  EngineOptions options;
  options.model_directory = RandomModel(engine.cache, engine.shape);
  options.backend.device = engine.device;
  options.backend.num_threads = engine.threads;
  options.compute = engine.compute;
  options.kv_memory_bytes = int64_t{1} << 30;
  if (engine.device == "cuda") {
    options.kv_dtype = DType::kBF16;
    options.kv_memory_bytes *= 8;
  }
  return options;
}

}  // namespace spade::bench
