// Speed of the whole forward pass on a Llama shape with random weights, beside its floor: decode
// against the bytes of weights over the machine's read bandwidth, prefill against the FLOPs over
// its multiply-add peak. Floors, types of products and repeats are interleaved; medians are
// printed.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/kv/kv_cache.h"
#include "engine/model/checkpoint.h"
#include "engine/model/staged_model.h"
#include "tests/bench/device_floor.h"
#include "tests/bench/machine_floor.h"
#include "tests/testing/tiny_model.h"

namespace spade::bench {
namespace {

constexpr int32_t kBlockSize = 16;
constexpr int32_t kFirstDecoded = 128;  // position

struct Options {
  std::string device = "cpu";
  std::string shape = "1.1b";
  std::string dtype = "bf16";
  std::vector<std::string> compute = {"f32", "bf16"};
  std::string cache = "/tmp/spade-bench";
  std::string only;
  bool batch_invariant = false;
  int32_t threads = 2;
  int repeats = 5;
};

// A model on its backend, with a cache for the largest batch of its context.
struct Bench {
  Compute compute = Compute::kF32;
  int32_t context = 0;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<StagedModel> model;
  KvCache kv;
  RowBatch batch;
  std::optional<DeviceFloor> floor;  // where the device is not the host
};

// Rows [first, first + count) of each of `sequences` sequences.
void FillBatch(Bench& bench, int32_t sequences, int32_t first, int32_t count) {
  RowBatch& batch = bench.batch;
  batch.Clear();
  batch.table_stride = bench.context / kBlockSize;
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
  FillBatch(bench, sequences, first, count);
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

// `count` rows from `first` on of each of `sequences` sequences.
struct Case {
  const char* name;
  int32_t sequences;
  int32_t first;
  int32_t count;
};

constexpr Case kHostCases[] = {{"decode b=1", 1, kFirstDecoded, 1},
                               {"decode b=4", 4, kFirstDecoded, 1},
                               {"decode b=8", 8, kFirstDecoded, 1},
                               {"decode b=32", 32, kFirstDecoded, 1},
                               {"prefill 512", 1, 0, 512}};
constexpr Case kDeviceCases[] = {
    {"decode b=1", 1, kFirstDecoded, 1},   {"decode b=8", 8, kFirstDecoded, 1},
    {"decode b=16", 16, kFirstDecoded, 1}, {"decode b=64", 64, kFirstDecoded, 1},
    {"decode b=64 at 4000", 64, 4000, 1},  {"prefill 512", 1, 0, 512},
    {"prefill 4096", 1, 0, 4096}};

std::span<const Case> CasesOf(const Options& options) {
  if (options.device == "cpu") return kHostCases;
  return kDeviceCases;
}

struct Samples {
  std::vector<double> seconds;
  std::vector<double> of_bandwidth;
  std::vector<double> of_peak;
};

// One climb beside both floors, measured just before.
void Sample(const Options& options, Bench& bench, const Case& shape, Samples& samples) {
  const ModelConfig& config = bench.model->config();
  const double rows = shape.sequences * shape.count;
  const double layers = static_cast<double>(config.num_layers * config.layer_parameters());
  const double head = static_cast<double>(config.vocab_size) * config.hidden_size;
  // An untied embedding is only gathered from: the step streams layers and head.
  const double bytes = static_cast<double>(bench.model->weight_bytes()) * (layers + head) /
                       static_cast<double>(config.total_parameters());
  const double flop = 2 * (layers * rows + head * shape.sequences);
  const double read_seconds =
      bytes / (bench.floor ? bench.floor->CopyBandwidth() : ReadBandwidth(options.threads));
  const double flop_seconds =
      flop /
      (bench.floor ? bench.floor->ProductRate() : MultiplyAddPeak(options.threads, bench.compute));
  const double seconds = TimeClimb(bench, shape.sequences, shape.first, shape.count);
  samples.seconds.push_back(seconds);
  samples.of_bandwidth.push_back(read_seconds / seconds);
  samples.of_peak.push_back(flop_seconds / seconds);
}

// One line of the table for each bench.
void Report(const Options& options, std::span<Bench> benches, const Case& shape) {
  std::vector<Samples> samples(benches.size());
  for (Bench& bench : benches) TimeClimb(bench, shape.sequences, shape.first, shape.count);
  for (int repeat = 0; repeat < options.repeats; ++repeat) {
    for (size_t i = 0; i < benches.size(); ++i) Sample(options, benches[i], shape, samples[i]);
  }
  for (size_t i = 0; i < benches.size(); ++i) {
    const double seconds = Median(samples[i].seconds);
    std::printf("%-20s %-5s %10.2f %10.1f %12.0f%% %9.0f%%\n", shape.name,
                std::string(NameOf(benches[i].compute)).c_str(), seconds * 1e3,
                shape.sequences * shape.count / seconds, 100 * Median(samples[i].of_bandwidth),
                100 * Median(samples[i].of_peak));
  }
  std::fflush(stdout);
}

testing::TinyModelSpec ShapeOf(const std::string& name) {
  testing::TinyModelSpec spec;
  spec.dtype = DType::kBF16;
  spec.max_context = 8192;
  if (name == "8b") {  // Llama 3's
    spec.hidden_size = 4096;
    spec.intermediate_size = 14336;
    spec.num_layers = 32;
    spec.num_heads = 32;
    spec.num_kv_heads = 8;
    spec.head_dim = 128;
    spec.vocab_size = 128256;
    spec.tied_head = false;
    spec.max_drawn = 1 << 20;
  } else if (name == "1.1b") {  // TinyLlama's
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

// What the largest of the cases needs.
struct Room {
  int32_t rows = 0;
  int32_t sequences = 0;
  int32_t context = 0;  // whole blocks
};

Room RoomFor(std::span<const Case> cases) {
  Room room;
  for (const Case& shape : cases) {
    room.rows = std::max(room.rows, shape.sequences * shape.count);
    room.sequences = std::max(room.sequences, shape.sequences);
    room.context = std::max(room.context, shape.first + shape.count);
  }
  room.context = (room.context + kBlockSize - 1) / kBlockSize * kBlockSize;
  return room;
}

absl::StatusOr<Bench> Load(const Options& options, Compute compute) {
  const std::string directory = PrepareCheckpoint(options);
  SPADE_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(directory + "/config.json", 1 << 20));
  SPADE_ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(json, ""));
  SPADE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(directory));
  Bench bench;
  bench.compute = compute;
  BackendOptions backend_options;
  backend_options.compute = compute;
  backend_options.num_threads = options.threads;
  backend_options.device = options.device;
  backend_options.batch_invariant = options.batch_invariant;
  SPADE_ASSIGN_OR_RETURN(bench.backend, MakeBackend(backend_options));
  ModelOptions model_options;
  model_options.weight_dtype = options.dtype == "int8" ? DType::kI8 : DType::kBF16;
  const auto [rows, sequences, context] = RoomFor(CasesOf(options));
  bench.context = context;
  model_options.max_rows = rows;
  SPADE_ASSIGN_OR_RETURN(bench.model,
                         StagedModel::Load(bench.backend.get(), config, checkpoint, model_options));
  const bool on_host = options.device == "cpu";
  const KvShape shape{config.num_layers, config.num_kv_heads, config.head_dim, kBlockSize,
                      on_host ? DType::kF32 : DType::kBF16};
  SPADE_ASSIGN_OR_RETURN(bench.kv,
                         KvCache::Create(*bench.backend, shape, sequences * context / kBlockSize));
  if (on_host) return bench;
  SPADE_ASSIGN_OR_RETURN(bench.floor, DeviceFloor::Create(bench.backend.get()));
  return bench;
}

int Run(int argc, char** argv) {
  Options options;
  CLI::App app("Speed of the forward pass on random weights, beside the machine's floor");
  app.add_option("--device", options.device, "cpu or cuda")->capture_default_str();
  app.add_flag("--batch-invariant", options.batch_invariant, "CUDA: products without cuBLAS");
  app.add_option("--shape", options.shape, "8b (Llama 3), 1.1b (TinyLlama) or 135m (SmolLM)")
      ->check(CLI::IsMember({"8b", "1.1b", "135m"}))
      ->capture_default_str();
  app.add_option("--dtype", options.dtype, "weights in memory")
      ->check(CLI::IsMember({"bf16", "int8"}))
      ->capture_default_str();
  app.add_option("--compute", options.compute, "types of products, measured in turn")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--cache", options.cache, "folder for the random checkpoints")
      ->capture_default_str();
  app.add_option("--only", options.only, "cases whose names hold this, e.g. decode");
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--repeats", options.repeats)->check(CLI::Range(1, 99))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::vector<Bench> benches;
  for (const std::string& compute : options.compute) {
    absl::StatusOr<Bench> bench = Load(options, compute == "bf16" ? Compute::kBF16 : Compute::kF32);
    if (!bench.ok()) {
      std::fprintf(stderr, "%s\n", bench.status().ToString().c_str());
      return 1;
    }
    benches.push_back(*std::move(bench));
    std::printf("%s, %s weights, %s\n", options.shape.c_str(), options.dtype.c_str(),
                benches.back().backend->description().c_str());
  }
  std::printf("%-20s %-5s %10s %10s %13s %10s\n", "case", "in", "ms", "tokens/s", "of bandwidth",
              "of peak");
  for (const Case& shape : CasesOf(options)) {
    if (std::string(shape.name).find(options.only) != std::string::npos) {
      Report(options, benches, shape);
    }
  }
  return 0;
}

}  // namespace
}  // namespace spade::bench

int main(int argc, char** argv) { return spade::bench::Run(argc, argv); }
