// Speed of the whole forward pass on a Llama shape with random weights, beside its floor: decode
// against the bytes of weights over the machine's read bandwidth, prefill against the FLOPs over
// its multiply-add peak. Floors and measurements are interleaved; medians are printed.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/kv/kv_cache.h"
#include "engine/model/checkpoint.h"
#include "engine/model/staged_model.h"
#include "tests/bench/machine_floor.h"
#include "tests/testing/tiny_model.h"

namespace spade::bench {
namespace {

constexpr int32_t kBlockSize = 16;
constexpr int32_t kContext = 512;
constexpr int32_t kMaxSequences = 32;

struct Options {
  std::string shape = "1.1b";
  std::string dtype = "bf16";
  std::string cache = "/tmp/spade-bench";
  int32_t threads = 2;
  int repeats = 5;
};

// A model on its backend, with a cache for `max_batch` sequences of kContext positions.
struct Bench {
  int32_t threads = 0;
  int repeats = 0;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<StagedModel> model;
  KvCache kv;
  RowBatch batch;
};

// Rows [first, first + count) of each of `sequences` sequences.
void FillBatch(RowBatch& batch, int32_t sequences, int32_t first, int32_t count) {
  batch.Clear();
  batch.table_stride = kContext / kBlockSize;
  for (int32_t s = 0; s < sequences; ++s) {
    for (int32_t b = 0; b < batch.table_stride; ++b) {
      batch.block_tables.push_back(s * batch.table_stride + b);
    }
    for (int32_t r = 0; r < count; ++r) {
      batch.ids.push_back(17 + (first + r) * 7 % 1000);
      batch.positions.push_back(first + r);
      batch.sequences.push_back(s);
      batch.wants_output.push_back(r + 1 == count ? 1 : 0);
    }
  }
}

// Seconds of one climb with logits for the last row of each sequence.
double TimeClimb(Bench& bench, int32_t sequences, int32_t first, int32_t count) {
  FillBatch(bench.batch, sequences, first, count);
  const auto start = std::chrono::steady_clock::now();
  bench.model->Begin(bench.batch);
  for (int32_t stage = 0; stage < bench.model->num_stages(); ++stage) {
    bench.model->RunStage(stage, bench.batch, bench.kv.views());
  }
  std::vector<int32_t> rows(static_cast<size_t>(bench.batch.rows()));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  bench.model->Logits(rows);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

enum class Floor { kMemory, kMultiplyAdd };

// One line of the table: `count` rows from `first` on of each of `sequences` sequences.
void Report(Bench& bench, const char* name, Floor floor, int32_t sequences, int32_t first,
            int32_t count) {
  const ModelConfig& config = bench.model->config();
  const double rows = sequences * count;
  const double layers = static_cast<double>(config.num_layers * config.layer_parameters());
  const double head = static_cast<double>(config.vocab_size) * config.hidden_size;
  std::vector<double> times, ratios;
  TimeClimb(bench, sequences, first, count);  // warm-up
  for (int repeat = 0; repeat < bench.repeats; ++repeat) {
    // An untied embedding is only gathered from: the step streams layers and head.
    const double bytes = static_cast<double>(bench.model->weight_bytes()) * (layers + head) /
                         static_cast<double>(config.total_parameters());
    const double floor_seconds = floor == Floor::kMemory ? bytes / ReadBandwidth(bench.threads)
                                                         : 2 * (layers * rows + head * sequences) /
                                                               MultiplyAddPeak(bench.threads);
    times.push_back(TimeClimb(bench, sequences, first, count));
    ratios.push_back(floor_seconds / times.back());
  }
  const double seconds = Median(times);
  std::printf("%-14s %10.2f %10.1f %9.0f%%  %s\n", name, seconds * 1e3, rows / seconds,
              100 * Median(ratios),
              floor == Floor::kMemory ? "weights / read bandwidth" : "FLOPs / F32 FMA peak");
  std::fflush(stdout);
}

testing::TinyModelSpec ShapeOf(const std::string& name) {
  testing::TinyModelSpec spec;
  spec.dtype = DType::kBF16;
  spec.max_context = kContext;
  if (name == "1.1b") {  // TinyLlama's
    spec.hidden_size = 2048;
    spec.intermediate_size = 5632;
    spec.num_layers = 22;
    spec.num_heads = 32;
    spec.num_kv_heads = 4;
    spec.head_dim = 64;
    spec.vocab_size = 32000;
    spec.tied_head = false;
  } else {  // SmolLM-135M's
    spec.hidden_size = 576;
    spec.intermediate_size = 1536;
    spec.num_layers = 30;
    spec.num_heads = 9;
    spec.num_kv_heads = 3;
    spec.head_dim = 64;
    spec.vocab_size = 49152;
  }
  return spec;
}

// The folder of a random checkpoint of the shape, written on first use.
std::string PrepareCheckpoint(const Options& options) {
  const std::string directory = options.cache + "/" + options.shape;
  if (std::filesystem::exists(directory + "/tokenizer_config.json")) return directory;
  std::fprintf(stderr, "writing random weights to %s ...\n", directory.c_str());
  std::filesystem::create_directories(directory);
  testing::WriteTinyModel(directory, ShapeOf(options.shape));
  return directory;
}

absl::StatusOr<Bench> Load(const Options& options) {
  const std::string directory = PrepareCheckpoint(options);
  SPADE_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(directory + "/config.json", 1 << 20));
  SPADE_ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(json, ""));
  SPADE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(directory));
  Bench bench;
  bench.threads = options.threads;
  bench.repeats = options.repeats;
  BackendOptions backend_options;
  backend_options.num_threads = options.threads;
  SPADE_ASSIGN_OR_RETURN(bench.backend, MakeBackend(backend_options));
  ModelOptions model_options;
  model_options.weight_dtype = options.dtype == "int8" ? DType::kI8 : DType::kBF16;
  SPADE_ASSIGN_OR_RETURN(bench.model,
                         StagedModel::Load(bench.backend.get(), config, checkpoint, model_options));
  const KvShape shape{config.num_layers, config.num_kv_heads, config.head_dim, kBlockSize,
                      DType::kF32};
  SPADE_ASSIGN_OR_RETURN(
      bench.kv, KvCache::Create(*bench.backend, shape, kMaxSequences * kContext / kBlockSize));
  return bench;
}

int Run(int argc, char** argv) {
  Options options;
  CLI::App app("Speed of the forward pass on random weights, beside the machine's floor");
  app.add_option("--shape", options.shape, "1.1b (TinyLlama) or 135m (SmolLM)")
      ->check(CLI::IsMember({"1.1b", "135m"}))
      ->capture_default_str();
  app.add_option("--dtype", options.dtype, "weights in memory")
      ->check(CLI::IsMember({"bf16", "int8"}))
      ->capture_default_str();
  app.add_option("--cache", options.cache, "folder for the random checkpoints")
      ->capture_default_str();
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--repeats", options.repeats)->check(CLI::Range(1, 99))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  absl::StatusOr<Bench> bench = Load(options);
  if (!bench.ok()) {
    std::fprintf(stderr, "%s\n", bench.status().ToString().c_str());
    return 1;
  }
  std::printf("%s, %s weights, %s\n", options.shape.c_str(), options.dtype.c_str(),
              bench->backend->description().c_str());
  std::printf("%-14s %10s %10s %10s  %s\n", "case", "ms", "tokens/s", "of floor", "floor");
  Report(*bench, "decode b=1", Floor::kMemory, 1, 128, 1);
  Report(*bench, "decode b=4", Floor::kMemory, 4, 128, 1);
  Report(*bench, "decode b=8", Floor::kMemory, 8, 128, 1);
  Report(*bench, "decode b=32", Floor::kMultiplyAdd, 32, 128, 1);
  Report(*bench, "prefill 512", Floor::kMultiplyAdd, 1, 0, 512);
  return 0;
}

}  // namespace
}  // namespace spade::bench

int main(int argc, char** argv) { return spade::bench::Run(argc, argv); }
