// Errors of Engine::Create name what to change.
#include <gtest/gtest.h>

#include <functional>

#include "engine/model/checkpoint.h"
#include "tests/runtime/engine_fixture.h"
#include "tests/testing/temp_dir.h"

namespace spade::testing {
namespace {

absl::Status CreateStatus(const EngineOptions& options) {
  prometheus::Registry registry;
  return Engine::Create(options, &registry).status();
}

void ExpectNames(const absl::Status& status, const std::string& part) {
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find(part), absl::string_view::npos) << status;
}

TEST(CreateTest, MissingModel) {
  EngineOptions options = SmallOptions();
  options.model_directory = "/nonexistent";
  EXPECT_EQ(CreateStatus(options).code(), absl::StatusCode::kNotFound);
  ExpectNames(CreateStatus(options), "/nonexistent/config.json");
}

TEST(CreateTest, UnknownDType) {
  EngineOptions options = SmallOptions();
  options.weight_dtype = "f64";
  ExpectNames(CreateStatus(options), "weight_dtype");
}

TEST(CreateTest, ComputeOfNoKindOrOfOtherWeights) {
  EngineOptions options = SmallOptions();
  options.compute = "f64";
  ExpectNames(CreateStatus(options), "auto, f32, f16, bf16, int8");
  options.compute = "bf16";
  options.weight_dtype = "f32";
  ExpectNames(CreateStatus(options), "weight_dtype f32");
  options.compute = "int8";
  options.weight_dtype = "bf16";
  ExpectNames(CreateStatus(options), "weight_dtype bf16");
  options.weight_dtype = "int8";
  options.backend.device = "cuda";
  ExpectNames(CreateStatus(options), "weight_dtype int8 on cuda");
  options.compute = options.weight_dtype = "f16";
  options.backend.device = "cpu";
  ExpectNames(CreateStatus(options), "weight_dtype f16 on cpu");
}

TEST(CreateTest, TheBestComputeOfAGpuIsThatOfItsTensorCores) {
  const BackendOptions gpu = {.device = "cuda"};
  EXPECT_EQ(BestCompute(gpu, DType::kF32), Compute::kF32);
  EXPECT_EQ(BestCompute(gpu, DType::kF16), Compute::kF16);
  EXPECT_EQ(BestCompute(gpu, DType::kBF16), Compute::kBF16);
  EXPECT_EQ(BestCompute(gpu, DType::kI8), Compute::kBF16);
}

TEST(CreateTest, AutomaticComputeWithoutCalibrationIsTheBest) {
  EngineOptions options = SmallOptions();
  options.compute = "auto";
  EXPECT_EQ(MakeEngine(options)->info().compute, NameOf(BestCompute({}, DType::kBF16)));
  for (const std::string dtype : {"f16", "int8"}) {
    options.weight_dtype = dtype;
    EXPECT_EQ(MakeEngine(options)->info().compute, "f32");
  }
}

TEST(CreateTest, ContextBeyondTheModel) {
  EngineOptions options = SmallOptions();
  options.max_context = 257;
  ExpectNames(CreateStatus(options), "max_context");
}

TEST(CreateTest, BadOptions) {
  EngineOptions options = SmallOptions();
  options.max_rows = 0;
  ExpectNames(CreateStatus(options), "max_rows");
  options = SmallOptions();
  for (const int32_t block_size : {-8, 0, 7, 12, 2048}) {
    options.block_size = block_size;
    ExpectNames(CreateStatus(options), "block_size");
  }
  options = SmallOptions();
  options.kv_dtype = DType::kF16;
  ExpectNames(CreateStatus(options), "kv_dtype");
  options = SmallOptions();
  options.kv_memory_bytes = 1;
  ExpectNames(CreateStatus(options), "--kv-memory");
  options = SmallOptions();
  options.backend.device = "abacus";
  ExpectNames(CreateStatus(options), "abacus");
}

TEST(CreateTest, ASmallCacheShortensTheContext) {
  const TestEngine engine = MakeEngine(SmallOptions(/*kv_blocks=*/4));
  EXPECT_EQ(engine->info().max_context, 64);
  EXPECT_EQ(engine->Generate(MakeRequest(MakePrompt(60, 1), 5), std::make_shared<Collector>())
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RunToEnd(*engine, MakeRequest(MakePrompt(60, 1), 4))[0].tokens.size(), 4u);
}

TEST(CreateTest, OtherWeightTypesRun) {
  for (const std::string dtype : {"f32", "f16", "int8"}) {
    EngineOptions options = SmallOptions();
    options.weight_dtype = dtype;
    const TestEngine engine = MakeEngine(options);
    EXPECT_EQ(engine->info().weight_dtype, dtype);
    EXPECT_EQ(RunToEnd(*engine, MakeRequest(MakePrompt(10, 1), 3))[0].tokens.size(), 3u);
  }
}

EngineOptions Computing(const std::string& compute, const std::string& weight_dtype = "bf16") {
  EngineOptions options = SmallOptions();
  options.compute = compute;
  options.weight_dtype = weight_dtype;
  return options;
}

// A calibration that fits the model but for one part. `info`: what was loaded.
absl::Status CreateWith(const std::function<void(Calibration&)>& spoil,
                        EngineOptions options = Computing("f32"), ModelInfo* info = nullptr) {
  const TempDir dir;
  Calibration calibration;
  static const std::string model_sha256 = Checkpoint::Open(TicketsModel())->Sha256();
  calibration.model_sha256 = model_sha256;
  static const std::string tokenizer_sha256 = MakeEngine(SmallOptions())->tokenizer().sha256();
  calibration.tokenizer_sha256 = tokenizer_sha256;
  calibration.weight_dtype = options.weight_dtype;
  calibration.label_ids = {5, 6};
  calibration.label_texts = {"a", "b"};
  calibration.hidden_size = 192;
  calibration.exits = {{.layer = 6, .weight = {}, .bias = {0, 0}}};
  spoil(calibration);
  for (ExitHead& exit : calibration.exits) {
    exit.weight.assign(2 * static_cast<size_t>(calibration.hidden_size), 0.0f);
  }
  options.calibrations = {dir.File("calibration.safetensors")};
  EXPECT_TRUE(SaveCalibration(calibration, options.calibrations[0]).ok());
  prometheus::Registry registry;
  const auto engine = Engine::Create(options, &registry);
  if (engine.ok() && info != nullptr) *info = (*engine)->info();
  return engine.status();
}

TEST(CreateTest, AutomaticComputeIsTheCalibrations) {
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    ModelInfo info;
    EXPECT_TRUE(
        CreateWith([&](Calibration& c) { c.compute = compute; }, Computing("auto"), &info).ok());
    EXPECT_EQ(info.compute, NameOf(compute));
  }
}

TEST(CreateTest, TheCacheIsOfTheCalibrationsTypeUnlessOneIsAskedFor) {
  for (const DType kept : kKvTypes) {
    const auto made_for = [&](Calibration& c) { c.kv_dtype = kept; };
    EngineOptions options = Computing("f32");
    ModelInfo info;
    EXPECT_TRUE(CreateWith(made_for, options, &info).ok());
    EXPECT_EQ(info.kv_dtype, kept);
    for (const DType asked : kKvTypes) {
      options.kv_dtype = asked;
      const absl::Status status = CreateWith(made_for, options);
      EXPECT_EQ(status.ok(), asked == kept) << status;
      if (asked != kept) ExpectNames(status, "--kv-dtype");
    }
  }
}

TEST(CreateTest, TheBestCacheOfAGpuIsThatOfItsTensorCores) {
  EXPECT_EQ(BestKvType({.device = "cuda", .compute = Compute::kBF16}), DType::kBF16);
  EXPECT_EQ(BestKvType({.device = "cuda", .compute = Compute::kF32}), DType::kF32);
  EXPECT_EQ(BestKvType({.device = "cpu", .compute = Compute::kBF16}), DType::kF32);
  EXPECT_EQ(MakeEngine(SmallOptions())->info().kv_dtype, DType::kF32);
}

TEST(CreateTest, Int8IsComputedOnlyWhereItWasAskedFor) {
  const auto in_int8 = [](Calibration& c) { c.compute = Compute::kI8; };
  EXPECT_TRUE(CreateWith(in_int8, Computing("int8", "int8")).ok());
  ExpectNames(CreateWith(in_int8, Computing("auto", "int8")), "--compute");
  ExpectNames(CreateWith(in_int8, Computing("f32", "int8")), "--compute");
  ExpectNames(CreateWith(in_int8, Computing("bf16")), "--compute");
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    const auto other = [&](Calibration& c) { c.compute = compute; };
    ExpectNames(CreateWith(other, Computing("int8", "int8")), "--compute");
  }
}

TEST(CreateTest, CalibrationThatFits) {
  EXPECT_TRUE(CreateWith([](Calibration&) {}).ok());
}

TEST(CreateTest, UnfitCalibrationsMayBeSkipped) {
  EngineOptions options = SmallOptions();
  options.weight_dtype = "int8";
  options.calibrations = {TicketsModel() + "/spade.safetensors"};
  EXPECT_EQ(CreateStatus(options).code(), absl::StatusCode::kFailedPrecondition);
  options.skip_unfit_calibrations = true;
  const TestEngine engine = MakeEngine(options);
  EXPECT_TRUE(engine->info().calibrations.empty());
  EXPECT_NE(engine->info().unfit_calibration.find("dtype"), std::string::npos);
}

TEST(CreateTest, CalibrationsOfSomethingElse) {
  ExpectNames(CreateWith([](Calibration& c) { c.model_sha256 = std::string(64, '0'); }), "model");
  ExpectNames(CreateWith([](Calibration& c) { c.tokenizer_sha256 = std::string(64, '0'); }),
              "tokenizer");
  ExpectNames(CreateWith([](Calibration& c) { c.weight_dtype = "f32"; }), "weight dtype");
  ExpectNames(CreateWith([](Calibration& c) { c.compute = Compute::kBF16; }), "--compute");
  ExpectNames(CreateWith([](Calibration&) {}, Computing("bf16")), "--compute");
  ExpectNames(CreateWith([](Calibration& c) { c.hidden_size = 64; }), "hidden size");
  ExpectNames(CreateWith([](Calibration& c) { c.exits[0].layer = 12; }), "exit after layer");
  ExpectNames(CreateWith([](Calibration& c) { c.label_ids[0] = 4096; }), "token id 4096");
}

}  // namespace
}  // namespace spade::testing
