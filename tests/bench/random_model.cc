#include "tests/bench/random_model.h"

#include <cstdio>
#include <filesystem>

#include "tests/testing/tiny_model.h"

namespace spade::bench {
namespace {

testing::TinyModelSpec ShapeOf(const std::string& name) {
  testing::TinyModelSpec spec;
  spec.dtype = DType::kBF16;
  spec.max_context = kRandomModelContext;
  spec.head_dim = 64;
  if (name == "8b") {
    spec.hidden_size = 4096;
    spec.intermediate_size = 14336;
    spec.num_layers = 32;
    spec.num_heads = 32;
    spec.num_kv_heads = 8;
    spec.head_dim = 128;
    spec.vocab_size = 128256;
    spec.tied_head = false;
    spec.max_drawn = 1 << 20;
  } else if (name == "1.1b") {
    spec.hidden_size = 2048;
    spec.intermediate_size = 5632;
    spec.num_layers = 22;
    spec.num_heads = 32;
    spec.num_kv_heads = 4;
    spec.vocab_size = 32000;
    spec.tied_head = false;
  } else if (name == "135m") {
    spec.hidden_size = 576;
    spec.intermediate_size = 1536;
    spec.num_layers = 30;
    spec.num_heads = 9;
    spec.num_kv_heads = 3;
    spec.vocab_size = 49152;
  } else {
    spec.hidden_size = 384;
    spec.intermediate_size = 1024;
    spec.num_layers = 12;
    spec.num_heads = 6;
    spec.num_kv_heads = 2;
    spec.vocab_size = 2048;
  }
  return spec;
}

}  // namespace

std::string RandomModel(const std::string& cache, const std::string& shape) {
  std::string directory = cache + "/" + shape;
  // Written last.
  if (std::filesystem::exists(directory + "/tokenizer_config.json")) return directory;
  std::fprintf(stderr, "writing random weights to %s ...\n", directory.c_str());
  std::filesystem::create_directories(directory);
  testing::WriteTinyModel(directory, ShapeOf(shape));
  return directory;
}

}  // namespace spade::bench
