// Kernels at the shapes of a 1.1B Llama (hidden 2048) and of the bundled model (hidden 192), each
// beside the floor that this machine sets: memory bandwidth for few rows, multiply-adds for many.
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "kernels/backend.h"
#include "tests/bench/device_floor.h"
#include "tests/bench/machine_floor.h"
#include "tests/bench/noise.h"

namespace spade::bench {
namespace {

// Set once by main.
int32_t num_threads = 0;  // 0: one per core
std::string device = "cpu";

bool OnHost() { return device == "cpu"; }

Backend& SharedBackend(Compute compute = Compute::kF32) {
  static std::map<Compute, std::unique_ptr<Backend>> backends;
  std::unique_ptr<Backend>& backend = backends[compute];
  if (backend == nullptr) {
    backend = *MakeBackend({.device = device, .num_threads = num_threads, .compute = compute});
  }
  return *backend;
}

double Bandwidth() {
  static const double bandwidth = OnHost() ? ReadBandwidth(num_threads)
                                           : DeviceFloor::Create(&SharedBackend())->CopyBandwidth();
  return bandwidth;
}

double MeasurePeak(Compute compute) {
  if (OnHost()) return MultiplyAddPeak(num_threads, compute);
  return DeviceFloor::Create(&SharedBackend(compute))->ProductRate();
}

double Peak(Compute compute = Compute::kF32) {
  static std::map<Compute, double> peaks;
  const auto [peak, is_new] = peaks.try_emplace(compute);
  if (is_new) peak->second = MeasurePeak(compute);
  return peak->second;
}

struct Rows {
  Rows(int64_t rows, int64_t cols) : buffer(*SharedBackend().Allocate(rows * cols * 4)) {
    view = {buffer.data(), rows, cols, DType::kF32};
    std::vector<float> values(rows * cols);
    Noise noise;
    for (float& value : values) value = noise.Next();
    SharedBackend().CopyFromHost(view.data, values.data(), view.bytes());
  }
  const float* data(int64_t row) const {
    return static_cast<const float*>(view.data) + row * view.cols;
  }
  Buffer buffer;
  Tensor view;
};

// Calls run once an iteration; a device works ahead of the clock by a few calls.
template <class Function>
void Loop(benchmark::State& state, Backend& backend, const Function& run) {
  const int64_t ahead = OnHost() ? 1 : 32;
  while (state.KeepRunningBatch(ahead)) {
    for (int64_t i = 0; i < ahead; ++i) run();
    backend.Synchronize();
  }
}

void BM_Floor(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Bandwidth() + Peak());
  state.counters["GB/s"] = Bandwidth() / 1e9;
  state.counters["GFLOP/s"] = Peak() / 1e9;
  state.counters["BF16_GFLOP/s"] = Peak(Compute::kBF16) / 1e9;
  if (OnHost()) state.counters["INT8_GOP/s"] = Peak(Compute::kI8) / 1e9;
}

struct MatMulCase {
  const char* name;
  int64_t out;
  int64_t in;
};

std::vector<Matrix> MakeWeights(const MatMulCase& shape, DType dtype, Compute compute, bool cold) {
  const size_t bytes = shape.out * shape.in * SizeOf(dtype);
  const size_t copies = cold ? (size_t{128} << 20) / bytes + 1 : 1;
  const std::vector<uint16_t> values(shape.out * shape.in, FloatToBF16(0.01f));
  const HostMatrix part = {values.data(), shape.out, shape.in, DType::kBF16};
  std::vector<Matrix> weights;
  for (size_t i = 0; i < copies; ++i) {
    weights.push_back(*SharedBackend(compute).Pack({&part, 1}, dtype));
  }
  return weights;
}

// Cycles through copies of the weight, 128 MiB or more, so that no cache holds it between calls.
void BM_MatMul(benchmark::State& state, const MatMulCase& shape, Compute compute,
               const std::vector<Matrix>& weights) {
  const int64_t rows = state.range(0);
  const size_t copies = weights.size();
  const size_t bytes = shape.out * shape.in * SizeOf(weights[0].dtype);
  const Rows x(rows, shape.in);
  const Rows out(rows, shape.out);
  size_t next = 0;
  Backend& backend = SharedBackend(compute);
  Loop(state, backend, [&] { backend.MatMul(x.view, weights[next++ % copies], {}, out.view); });
  const double calls = static_cast<double>(state.iterations());
  const double flop = 2.0 * static_cast<double>(rows * shape.out * shape.in) * calls;
  const double read = static_cast<double>(bytes + weights[0].scales.size()) * calls;
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(read / 1e9, Counter::kIsRate);
  state.counters["GFLOP/s"] = Counter(flop / 1e9, Counter::kIsRate);
  state.counters["of_bandwidth"] = Counter(read / Bandwidth(), Counter::kIsRate);
  state.counters["of_peak"] = Counter(flop / Peak(compute), Counter::kIsRate);
}

// The last row, or all rows, of one sequence of `context` positions.
void BM_Attention(benchmark::State& state, const HeadLayout& heads, DType dtype) {
  constexpr int32_t kBlock = 16;
  const int64_t context = state.range(0);
  const int64_t rows = state.range(1);
  std::vector<int32_t> table(context / kBlock);
  std::iota(table.begin(), table.end(), 0);
  std::vector<int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(context - rows));
  const std::vector<int32_t> sequences(rows, 0);
  const BatchView batch = {positions, sequences, table, static_cast<int32_t>(table.size())};
  const size_t bytes = context * heads.kv_cols() * SizeOf(dtype);
  const Buffer keys = *SharedBackend().Allocate(bytes);
  const Buffer values = *SharedBackend().Allocate(bytes);
  const Rows qkv(rows, heads.qkv_cols());
  const Rows out(rows, heads.q_cols());
  const KvView kv = {keys.data(), values.data(), dtype, kBlock};
  Loop(state, SharedBackend(),
       [&] { SharedBackend().Attention(qkv.view, heads, batch, kv, out.view); });
  double flop = 0;
  for (const int32_t position : positions) flop += 4.0 * (position + 1) * heads.q_cols();
  flop *= static_cast<double>(state.iterations());
  using benchmark::Counter;
  state.counters["GFLOP/s"] = Counter(flop / 1e9, Counter::kIsRate);
  state.counters["of_peak"] = Counter(flop / Peak(), Counter::kIsRate);
}

constexpr HeadLayout kSmallHeads = {3, 1, 64};

void BM_SmallRmsNorm(benchmark::State& state) {
  const Rows x(state.range(0), 192);
  const Rows weight(1, 192);
  const Rows out(state.range(0), 192);
  Loop(state, SharedBackend(),
       [&] { SharedBackend().RmsNorm(x.view, weight.data(0), 1e-5f, out.view); });
}

void BM_SmallRope(benchmark::State& state) {
  const Rows qkv(state.range(0), kSmallHeads.qkv_cols());
  const Rows angles(state.range(0), kSmallHeads.head_dim);
  Loop(state, SharedBackend(),
       [&] { SharedBackend().Rope(qkv.view, kSmallHeads, {}, angles.view); });
}

void BM_SmallSiluMul(benchmark::State& state) {
  const Rows gate_up(state.range(0), 1024);
  const Rows out(state.range(0), 512);
  Loop(state, SharedBackend(), [&] { SharedBackend().SiluMul(gate_up.view, out.view); });
}

void BM_SmallStartSelf(benchmark::State& state) {
  const Rows qkv(state.range(0), kSmallHeads.qkv_cols());
  const Rows start(2, 64);
  const Rows out(state.range(0), kSmallHeads.q_cols());
  const StartView view = {start.data(0), start.data(1)};
  Loop(state, SharedBackend(),
       [&] { SharedBackend().StartSelfAttention(qkv.view, kSmallHeads, view, out.view); });
}

// Logits as a language model's: most within a few units, a few tokens well above.
Rows ModelLogits(int64_t rows, int64_t vocab) {
  Rows logits(rows, vocab);
  std::vector<float> values(rows * vocab);
  Noise noise;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 3 * (noise.Next() + noise.Next() + noise.Next() + noise.Next());
    if (i % 6000 == 77) values[i] += 9;
  }
  SharedBackend().CopyFromHost(logits.view.data, values.data(), logits.view.bytes());
  return logits;
}

// All rows of a step asked the same, answers received: beside the floor of reading them once.
void BM_Logits(benchmark::State& state, const LogitQuery& query) {
  const int64_t rows = state.range(0);
  const Rows logits = ModelLogits(rows, state.range(1));
  std::vector<LogitQuery> queries(rows, query);
  for (int64_t row = 0; row < rows; ++row) queries[row].row = static_cast<int32_t>(row);
  std::vector<LogitAnswer> answers(rows);
  LogitReader& reader = *SharedBackend().logit_reader();
  for (auto _ : state) {
    for (LogitQuery& each : queries) each.uniform += uint64_t{1} << 59;
    reader.Read(logits.view, {.queries = queries}, answers);
  }
  const double read = static_cast<double>(logits.view.bytes()) * state.iterations();
  state.counters["of_bandwidth"] =
      benchmark::Counter(read / Bandwidth(), benchmark::Counter::kIsRate);
}

void BM_ParallelForOverhead(benchmark::State& state) {
  const std::function<void(int64_t)> nothing = [](int64_t) {};
  Loop(state, SharedBackend(), [&] { SharedBackend().ParallelFor(state.range(0), nothing); });
}

// Rates are of the processor's time where there is one thread, else of the wall clock.
template <class Function>
benchmark::internal::Benchmark* Register(const std::string& name, const Function& function) {
  auto* benchmark = benchmark::RegisterBenchmark(name.c_str(), function);
  return OnHost() && num_threads == 1 ? benchmark : benchmark->UseRealTime();
}

struct MatMulTypes {
  DType weights;
  Compute compute;
};

void RegisterMatMul(const MatMulCase& shape, const MatMulTypes& types, bool cold,
                    std::vector<int64_t> rows) {
  const auto [dtype, compute] = types;
  const std::string name = std::string("MatMul/") + shape.name + "_" + std::string(NameOf(dtype)) +
                           "_in_" + std::string(NameOf(compute));
  const auto weights = std::make_shared<std::vector<Matrix>>();
  for (const int64_t count : rows) {
    Register(name, [=, dtype = dtype, compute = compute](benchmark::State& state) {
      if (weights->empty()) *weights = MakeWeights(shape, dtype, compute, cold);
      BM_MatMul(state, shape, compute, *weights);
    })->Arg(count);
  }
}

void RegisterAttention(const std::string& name, const HeadLayout& heads, DType dtype,
                       std::vector<std::vector<int64_t>> args) {
  for (const std::vector<int64_t>& arg : args) {
    Register("Attention/" + name + "_" + std::string(NameOf(dtype)), [=](benchmark::State& state) {
      BM_Attention(state, heads, dtype);
    })->Args(arg);
  }
}

void RegisterLogits() {
  const std::pair<const char*, LogitQuery> kinds[] = {
      {"greedy", {}},
      {"temperature", {.temperature = 1}},
      {"top_p", {.temperature = 1, .top_p = 0.95f}},
      {"top_k_top_p", {.temperature = 1, .top_k = 40, .top_p = 0.95f}},
      {"flat_top_p", {.temperature = 20, .top_p = 0.9f}},
      {"logprobs", {.num_top = 5}}};
  for (const auto& [name, query] : kinds) {
    Register(std::string("Logits/") + name, [query](benchmark::State& state) {
      BM_Logits(state, query);
    })->ArgsProduct({{1, 64}, {32000, 128256}});
  }
}

void RegisterAll() {
  if (!OnHost()) RegisterLogits();
  Register("Floor", BM_Floor)->Iterations(1);
  Register("ParallelForOverhead", BM_ParallelForOverhead)->Arg(2)->Arg(16);
  constexpr MatMulTypes kBF16InF32 = {DType::kBF16, Compute::kF32};
  constexpr MatMulTypes kBF16InBF16 = {DType::kBF16, Compute::kBF16};
  std::vector<MatMulTypes> large = {kBF16InF32, kBF16InBF16, {DType::kI8, Compute::kF32}};
  if (OnHost()) large.push_back({DType::kI8, Compute::kI8});
  for (const MatMulTypes& types : large) {
    RegisterMatMul({"llama_qkv", 2560, 2048}, types, /*cold=*/true, {1, 4});
    RegisterMatMul({"llama_gate_up", 11264, 2048}, types, true, {1, 2, 3, 4, 5, 8, 32, 512});
    RegisterMatMul({"llama_down", 2048, 5632}, types, true, {1, 4, 8, 32, 512});
    RegisterMatMul({"llama_head", 32000, 2048}, types, true, {1, 4});
  }
  for (const MatMulTypes& types : {kBF16InF32, kBF16InBF16}) {
    RegisterMatMul({"small_qkv", 320, 192}, types, /*cold=*/false, {1, 4, 8, 64});
    RegisterMatMul({"small_o", 192, 192}, types, false, {1, 8});
    RegisterMatMul({"small_gate_up", 1024, 192}, types, false, {1, 8, 64});
    RegisterMatMul({"small_down", 192, 512}, types, false, {1, 8});
    RegisterMatMul({"small_head", 4096, 192}, types, false, {1, 8});
  }
  const HeadLayout llama = {32, 4, 64};
  RegisterAttention("llama", llama, DType::kF32, {{256, 1}, {2048, 1}, {512, 512}});
  RegisterAttention("llama", llama, DType::kBF16, {{2048, 1}, {512, 512}});
  RegisterAttention("small", kSmallHeads, DType::kF32, {{64, 1}, {256, 1}, {256, 256}});
  Register("SmallRmsNorm", BM_SmallRmsNorm)->Arg(1)->Arg(8);
  Register("SmallRope", BM_SmallRope)->Arg(1)->Arg(8);
  Register("SmallSiluMul", BM_SmallSiluMul)->Arg(1)->Arg(8);
  Register("SmallStartSelf", BM_SmallStartSelf)->Arg(1)->Arg(8);
}

}  // namespace
}  // namespace spade::bench

// Usage: kernels_bench [threads|cuda] [google-benchmark flags]
int main(int argc, char** argv) {
  if (argc > 1 && argv[1][0] != '-') {
    if (std::string(argv[1]) == "cuda") spade::bench::device = argv[1];
    spade::bench::num_threads = std::atoi(argv[1]);
    argv[1] = argv[0];
    ++argv;
    --argc;
  }
  spade::bench::RegisterAll();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
