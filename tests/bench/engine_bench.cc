// Speed of the whole forward pass on a Llama shape with random weights, beside its floor: decode
// against the bytes of weights and cache over the machine's read bandwidth, prefill against the
// FLOPs over its multiply-add peak. Floors, types of products and repeats are interleaved; medians
// are printed.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
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
#include "tests/bench/median.h"
#include "tests/bench/random_model.h"
#include "tools/trace/type_names.h"

namespace spade::bench {
namespace {

constexpr int32_t kBlockSize = 16;
constexpr int32_t kHostClimbRows = 512;  // of one step, as the server's default
constexpr int32_t kDeviceClimbRows = 4096;
constexpr double kShortSeconds = 0.25;

struct Options {
  std::string device = "cpu";
  int32_t tensor_parallel = 1;
  std::string shape = "1.1b";
  std::vector<DType> dtypes = {DType::kBF16};
  std::vector<Compute> computes;  // empty: all
  std::optional<DType> kv_dtype;  // none: f32 on the CPU, else bf16
  std::string cache = "/tmp/spade-bench";
  std::string only;
  std::vector<int32_t> decisions;
  bool batch_invariant = false;
  int32_t cuda_graphs = BackendOptions{}.cuda_graphs;
  int32_t threads = 2;
  int repeats = 5;
  bool json = false;
};

// A model on its backend, with a cache for the largest batch of its context.
struct Bench {
  DType dtype = DType::kBF16;
  Compute compute = Compute::kF32;
  int32_t context = 0;
  int32_t climb_rows = 0;
  int64_t kv_bytes_per_position = 0;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<StagedModel> model;
  KvCache kv;
  RowBatch batch;
  std::unique_ptr<Backend> floor_backend;
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

// The best token after each of the model's rows: where the logits are, if not on the host.
void TakeTokens(Bench& bench) {
  std::vector<int32_t> rows;
  std::vector<LogitQuery> queries;
  for (int32_t row = 0; row < bench.batch.rows(); ++row) {
    rows.push_back(row);
    queries.push_back({.row = row});
  }
  LogitReader* const reader = bench.backend->logit_reader();
  if (reader == nullptr) {
    bench.model->Logits(rows);
    return;
  }
  std::vector<LogitAnswer> answers(rows.size());
  reader->Read(bench.model->BackendLogits(rows), {.queries = queries}, answers);
}

// Seconds of one climb with logits for the last row of each sequence.
double TimeClimb(Bench& bench, int32_t sequences, int32_t first, int32_t count) {
  FillBatch(bench, sequences, first, count);
  const auto start = std::chrono::steady_clock::now();
  bench.model->Begin(bench.batch);
  for (int32_t stage = 0; stage < bench.model->num_stages(); ++stage) {
    bench.model->RunStage(stage, bench.batch, bench.kv.views());
  }
  TakeTokens(bench);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int32_t SequencesAtOnce(const Bench& bench, int32_t count) {
  return std::max(1, bench.climb_rows / count);
}

// The same for any number of rows: as many whole sequences a climb as fit.
double TimeRows(Bench& bench, int32_t sequences, int32_t first, int32_t count) {
  const int32_t at_once = SequencesAtOnce(bench, count);
  double seconds = 0;
  for (int32_t done = 0; done < sequences; done += at_once) {
    seconds += TimeClimb(bench, std::min(at_once, sequences - done), first, count);
  }
  return seconds;
}

// `count` rows from `first` on of each of `sequences` sequences.
struct Case {
  std::string name;
  int32_t sequences = 0;
  int32_t first = 0;
  int32_t count = 0;
};

// Decoding is at the middle of 32 tokens after a prompt of 32; a decision's prompt has 256.
std::vector<Case> CasesOf(const Options& options) {
  std::vector<Case> cases = {{"decode 1", 1, 48, 1},
                             {"decode 8", 8, 48, 1},
                             {"decode 32", 32, 48, 1},
                             {"prefill 512", 1, 0, 512}};
  if (options.device != "cpu") {
    cases.push_back({"decode 64", 64, 48, 1});
    cases.push_back({"decode 64 at 4000", 64, 4000, 1});
    cases.push_back({"prefill 4096", 1, 0, 4096});
  }
  for (const int32_t at_once : options.decisions) {
    cases.push_back({"decide " + std::to_string(at_once), at_once, 0, 256});
  }
  return cases;
}

struct Samples {
  std::vector<double> seconds;
  std::vector<double> of_bandwidth;
  std::vector<double> of_peak;
};

int32_t NumClimbs(const Bench& bench, const Case& shape) {
  const int32_t at_once = SequencesAtOnce(bench, shape.count);
  return (shape.sequences + at_once - 1) / at_once;
}

// One climb beside both floors, measured just before.
void Sample(const Options& options, Bench& bench, const Case& shape, Samples& samples) {
  const ModelConfig& config = bench.model->config();
  const double rows = shape.sequences * shape.count;
  const double layers = static_cast<double>(config.num_layers * config.layer_parameters());
  const double head = static_cast<double>(config.vocab_size) * config.hidden_size;
  const double all = static_cast<double>(config.total_parameters());
  const double shards = bench.backend->shards();  // of the layers; each has the rest
  // Of one shard. An untied embedding is only gathered from: the step streams layers and head.
  const double weights = static_cast<double>(bench.model->weight_bytes()) *
                         (layers / shards + head) / (layers + shards * (all - layers));
  const double bytes =
      weights * NumClimbs(bench, shape) + static_cast<double>(bench.kv_bytes_per_position) *
                                              shape.sequences * (shape.first + shape.count);
  const double flop = 2 * (layers * rows / shards + head * shape.sequences);
  const double read_seconds =
      bytes / (bench.floor ? bench.floor->CopyBandwidth() : ReadBandwidth(options.threads));
  const double flop_seconds =
      flop /
      (bench.floor ? bench.floor->ProductRate() : MultiplyAddPeak(options.threads, bench.compute));
  const double seconds = TimeRows(bench, shape.sequences, shape.first, shape.count);
  samples.seconds.push_back(seconds);
  samples.of_bandwidth.push_back(read_seconds / seconds);
  samples.of_peak.push_back(flop_seconds / seconds);
}

// One line of the table for each bench.
void Report(const Options& options, std::span<Bench> benches, const Case& shape) {
  std::vector<Samples> samples(benches.size());
  for (int warm = 0; warm < 2; ++warm) {  // a GPU captures the second
    for (Bench& bench : benches) TimeRows(bench, shape.sequences, shape.first, shape.count);
  }
  // A short case is repeated more often, or it would be one moment of the machine.
  double spent = 0;
  for (int repeat = 0; repeat < options.repeats || spent < kShortSeconds; ++repeat) {
    for (size_t i = 0; i < benches.size(); ++i) {
      Sample(options, benches[i], shape, samples[i]);
      spent += samples[i].seconds.back();
    }
  }
  for (size_t i = 0; i < benches.size(); ++i) {
    const double seconds = Median(samples[i].seconds);
    if (options.json) {
      std::printf("{\"case\": \"%s\", \"seconds\": %.6f, \"rows\": %d, \"sequences\": %d}\n",
                  shape.name.c_str(), seconds, shape.sequences * shape.count, shape.sequences);
      continue;
    }
    std::printf("%-20s %-7s %-5s %10.2f %10.1f %12.0f%% %9.0f%%\n", shape.name.c_str(),
                std::string(NameOf(benches[i].dtype)).c_str(),
                std::string(NameOf(benches[i].compute)).c_str(), seconds * 1e3,
                shape.sequences * shape.count / seconds, 100 * Median(samples[i].of_bandwidth),
                100 * Median(samples[i].of_peak));
  }
  std::fflush(stdout);
}

// What the largest of the cases needs.
struct Room {
  int32_t rows = 0;
  int32_t sequences = 0;
  int32_t context = 0;  // whole blocks
};

Room RoomFor(std::span<const Case> cases, int32_t limit) {
  Room room;
  for (const Case& shape : cases) {
    room.rows = std::max(room.rows, std::min(limit, shape.sequences * shape.count));
    room.sequences = std::max(room.sequences, shape.sequences);
    room.context = std::max(room.context, shape.first + shape.count);
  }
  room.context = (room.context + kBlockSize - 1) / kBlockSize * kBlockSize;
  return room;
}

absl::StatusOr<Bench> Load(const Options& options, DType dtype, Compute compute) {
  const std::string directory = RandomModel(options.cache, options.shape);
  SPADE_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(directory + "/config.json", 1 << 20));
  SPADE_ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(json, ""));
  SPADE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(directory));
  Bench bench;
  bench.dtype = dtype;
  bench.compute = compute;
  BackendOptions backend_options;
  backend_options.compute = compute;
  backend_options.num_threads = options.threads;
  backend_options.device = options.device;
  backend_options.batch_invariant = options.batch_invariant;
  backend_options.cuda_graphs = options.cuda_graphs;
  backend_options.tensor_parallel = options.tensor_parallel;
  SPADE_ASSIGN_OR_RETURN(bench.backend, MakeBackend(backend_options));
  ModelOptions model_options;
  model_options.weight_dtype = dtype;
  const bool on_host = options.device == "cpu";
  bench.climb_rows = on_host ? kHostClimbRows : kDeviceClimbRows;
  const auto [rows, sequences, context] = RoomFor(CasesOf(options), bench.climb_rows);
  bench.context = context;
  model_options.max_rows = rows;
  SPADE_ASSIGN_OR_RETURN(bench.model,
                         StagedModel::Load(bench.backend.get(), config, checkpoint, model_options));
  SPADE_ASSIGN_OR_RETURN(const ModelConfig shard, ShardOf(config, bench.backend->shards()));
  const KvShape shape{shard.num_layers, shard.num_kv_heads, shard.head_dim, kBlockSize,
                      options.kv_dtype.value_or(on_host ? DType::kF32 : DType::kBF16)};
  SPADE_ASSIGN_OR_RETURN(bench.kv,
                         KvCache::Create(*bench.backend, shape, sequences * context / kBlockSize));
  bench.kv_bytes_per_position = shape.bytes_per_block() / kBlockSize;
  if (on_host) return bench;
  backend_options.batch_invariant = false;  // the floor is cuBLAS's, and one GPU's
  backend_options.tensor_parallel = 1;
  SPADE_ASSIGN_OR_RETURN(bench.floor_backend, MakeBackend(backend_options));
  SPADE_ASSIGN_OR_RETURN(bench.floor, DeviceFloor::Create(bench.floor_backend.get()));
  return bench;
}

void PrintHeader(const Options& options, std::span<const Bench> benches) {
  for (const Bench& bench : benches) {
    std::printf("%s, %s weights, %s\n", options.shape.c_str(),
                std::string(NameOf(bench.dtype)).c_str(), bench.backend->description().c_str());
  }
  std::printf("%-20s %-7s %-5s %10s %10s %13s %10s\n", "case", "weights", "in", "ms", "tokens/s",
              "of bandwidth", "of peak");
}

absl::Status Measure(const Options& options) {
  std::vector<Bench> benches;
  for (const DType dtype : options.dtypes) {
    for (const Compute compute : kComputes) {
      const bool asked = options.computes.empty() ||
                         std::ranges::find(options.computes, compute) != options.computes.end();
      if (!asked || !Suits({.device = options.device}, compute, dtype)) continue;
      SPADE_ASSIGN_OR_RETURN(Bench bench, Load(options, dtype, compute));
      benches.push_back(std::move(bench));
    }
  }
  if (benches.empty()) return absl::InvalidArgumentError("no --compute suits a --dtype");
  if (!options.json) PrintHeader(options, benches);
  for (const Case& shape : CasesOf(options)) {
    if (shape.name.find(options.only) != std::string::npos) Report(options, benches, shape);
  }
  return absl::OkStatus();
}

int Run(int argc, char** argv) {
  static const auto kDtypeNames = ByName(std::array{DType::kBF16, DType::kI8});
  static const auto kComputeNames = ByName(kComputes);
  static const auto kKvNames = ByName(std::array{DType::kF32, DType::kBF16});
  Options options;
  CLI::App app("Speed of the forward pass on random weights, beside the machine's floor");
  app.add_option("--device", options.device, "cpu or cuda")->capture_default_str();
  app.add_option("--tensor-parallel", options.tensor_parallel,
                 "devices that the layers are split over; figures are compared with one's floors, "
                 "of its share of the layers")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_flag("--batch-invariant", options.batch_invariant, "CUDA: products without cuBLAS");
  app.add_option("--cuda-graphs", options.cuda_graphs, "CUDA: stages launched as one; 0: none")
      ->capture_default_str();
  app.add_option("--shape", options.shape, "8b (Llama 3), 1.1b (TinyLlama) or 135m (SmolLM)")
      ->check(CLI::IsMember({"8b", "1.1b", "135m"}))
      ->capture_default_str();
  app.add_option("--dtype,--weight-dtype", options.dtypes, "weights in memory, measured in turn")
      ->transform(CLI::CheckedTransformer(kDtypeNames, CLI::ignore_case))
      ->delimiter(',')
      ->default_str("bf16");
  app.add_option("--compute", options.computes,
                 "types of products, measured in turn where they suit the weights (default: all)")
      ->transform(CLI::CheckedTransformer(kComputeNames, CLI::ignore_case))
      ->delimiter(',');
  app.add_option("--kv-dtype", options.kv_dtype,
                 "keys and values in the cache (default: f32, on a GPU bf16)")
      ->transform(CLI::CheckedTransformer(kKvNames, CLI::ignore_case));
  app.add_option("--cache", options.cache, "folder for the random checkpoints")
      ->capture_default_str();
  app.add_option("--only", options.only, "cases whose names hold this, e.g. decode");
  app.add_option("--decisions", options.decisions, "also prompts of 256 tokens, this many at once")
      ->check(CLI::Range(1, 256))
      ->delimiter(',');
  app.add_flag("--json", options.json, "one line of JSON a case");
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--repeats", options.repeats)->check(CLI::Range(1, 99))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = Measure(options); !status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace spade::bench

int main(int argc, char** argv) { return spade::bench::Run(argc, argv); }
