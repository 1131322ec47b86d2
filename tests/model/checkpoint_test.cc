#include "engine/model/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "engine/model/weights.h"
#include "tests/testing/model_runner.h"
#include "tests/testing/safetensors_writer.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace spade::testing {
namespace {

std::string FileWith(const std::string& name, DType dtype = DType::kF32) {
  SafeTensorsWriter writer;
  const float values[] = {1, 2, 3, 4, 5, 6};
  const int64_t shape[] = {2, 3};
  writer.Add(name, shape, values, dtype);
  return writer.Bytes();
}

// Writers pad the header so that tensors are aligned.
std::string PaddedBytes(std::string header, size_t data_bytes) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return SafeTensorsBytes(header, std::string(data_bytes, '\0'));
}

absl::StatusCode OpenCode(const TempDir& dir) {
  return Checkpoint::Open(dir.path()).status().code();
}

TEST(CheckpointTest, FindChecksNameShapeAndDtype) {
  const TempDir dir;
  dir.Write("model.safetensors",
            PaddedBytes(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
                                 "b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]},
                                 "c":{"dtype":"I64","shape":[1,1],"data_offsets":[32,40]}})",
                        40));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(checkpoint->Has("a"));
  EXPECT_FALSE(checkpoint->Has("d"));
  const auto code = [&](const char* name, int64_t rows, int64_t cols) {
    return checkpoint->Find(name, rows, cols).status().code();
  };
  EXPECT_EQ(code("b", 1, 4), absl::StatusCode::kOk);
  EXPECT_EQ(code("b", 4, 1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("a", 3, 2), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("c", 1, 1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("d", 1, 1), absl::StatusCode::kInvalidArgument);
}

TEST(CheckpointTest, MisalignedTensorIsRefusedWhenAskedFor) {
  const TempDir dir;
  dir.Write("model.safetensors",
            PaddedBytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                                 "b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}} )",
                        9));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Find("b", 1, 2).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CheckpointTest, FolderWithoutWeightsIsNotFound) {
  const TempDir dir;
  EXPECT_EQ(OpenCode(dir), absl::StatusCode::kNotFound);
  EXPECT_EQ(Checkpoint::Open(dir.File("nothing")).status().code(), absl::StatusCode::kNotFound);
}

TEST(CheckpointTest, WeightsThatAreNoFileAreRefused) {
  const TempDir dir;
  ASSERT_EQ(::mkdir(dir.File("model.safetensors").c_str(), 0700), 0);
  EXPECT_EQ(OpenCode(dir), absl::StatusCode::kInvalidArgument);
  const TempDir pipe;
  ASSERT_EQ(::mkfifo(pipe.File("model.safetensors").c_str(), 0600), 0);
  EXPECT_EQ(OpenCode(pipe), absl::StatusCode::kInvalidArgument);
}

TEST(CheckpointTest, EmptyFileIsRefused) {
  const TempDir dir;
  dir.Write("model.safetensors", "");
  EXPECT_EQ(OpenCode(dir), absl::StatusCode::kInvalidArgument);
}

TEST(CheckpointTest, FileCutShortIsRefusedAtEveryLength) {
  const TempDir dir;
  const std::string bytes = FileWith("a");
  for (size_t length = 0; length < bytes.size(); ++length) {
    dir.Write("model.safetensors", bytes.substr(0, length));
    ASSERT_EQ(OpenCode(dir), absl::StatusCode::kInvalidArgument) << length;
  }
}

TEST(CheckpointTest, ShardsAreOneCheckpoint) {
  const TempDir dir;
  dir.Write("one.safetensors", FileWith("a"));
  dir.Write("two.safetensors", FileWith("b", DType::kBF16));
  dir.Write("model.safetensors.index.json",
            R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Find("b", 2, 3)->dtype, DType::kBF16);
  EXPECT_EQ(checkpoint->Find("a", 2, 3)->dtype, DType::kF32);
}

TEST(CheckpointTest, ShardMissingIsNotFound) {
  const TempDir dir;
  dir.Write("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors"}})");
  EXPECT_EQ(OpenCode(dir), absl::StatusCode::kNotFound);
}

TEST(CheckpointTest, TensorInTwoShardsIsRefused) {
  const TempDir dir;
  dir.Write("one.safetensors", FileWith("a"));
  dir.Write("two.safetensors", FileWith("a"));
  dir.Write("model.safetensors.index.json",
            R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  EXPECT_EQ(OpenCode(dir), absl::StatusCode::kInvalidArgument);
}

TEST(CheckpointTest, TensorPromisedInVainIsRefused) {
  const TempDir dir;
  dir.Write("one.safetensors", FileWith("a"));
  dir.Write("model.safetensors.index.json",
            R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors"}})");
  EXPECT_EQ(OpenCode(dir), absl::StatusCode::kInvalidArgument);
}

TEST(CheckpointTest, IndexThatLeavesTheFolderOrIsMalformedIsRefused) {
  const TempDir dir;
  dir.Write("x.safetensors", FileWith("a"));
  for (const char* index :
       {R"({"weight_map":{"a":"../x.safetensors"}})", R"({"weight_map":{"a":"/x.safetensors"}})",
        R"({"weight_map":{"a":"x.safetensors\u0000"}})", R"({"weight_map":{"a":"config.json"}})",
        R"({"weight_map":{"a":".safetensors"}})", R"({"weight_map":{"a":""}})",
        R"({"weight_map":{"a":3}})", R"({"weight_map":{}})", R"({"weight_map":[]})", "{}", "[]", "",
        "{\"weight_map\":"}) {
    dir.Write("model.safetensors.index.json", index);
    EXPECT_EQ(OpenCode(dir), absl::StatusCode::kInvalidArgument) << index;
  }
}

TEST(CheckpointTest, Sha256NamesTheContent) {
  const TempDir dir;
  dir.Write("model.safetensors", SafeTensorsBytes("{}", ""));
  // printf '\002\0\0\0\0\0\0\0{}' | sha256sum
  EXPECT_EQ(Checkpoint::Open(dir.path())->Sha256(),
            "411a485216e432ece6b9af94fa32154cf79a2a56d4f81266baa50063f45092bd");
  const TempDir other;
  other.Write("model.safetensors", FileWith("a"));
  EXPECT_NE(Checkpoint::Open(other.path())->Sha256(), Checkpoint::Open(dir.path())->Sha256());
}

class WeightsTest : public ::testing::Test {
 protected:
  absl::Status LoadWith(const ModelConfig& config) {
    const auto checkpoint = Checkpoint::Open(dir_.path());
    SPADE_CHECK(checkpoint.ok());
    return LoadWeights(*backend_, config, *checkpoint, DType::kF32).status();
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_ = MakeTestBackend("reference");
};

TEST_F(WeightsTest, MissingTensorIsNamed) {
  WriteTinyModel(dir_.path(), {});
  ModelConfig config = LoadConfigOrDie(dir_.path());
  config.num_layers = 5;
  const absl::Status status = LoadWith(config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("model.layers.4.input_layernorm.weight"), std::string::npos);
}

TEST_F(WeightsTest, UntiedConfigNeedsAHead) {
  WriteTinyModel(dir_.path(), {});
  ModelConfig config = LoadConfigOrDie(dir_.path());
  config.tied_head = false;
  EXPECT_EQ(LoadWith(config).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(WeightsTest, TiedConfigIgnoresAHeadThatIsThere) {
  WriteTinyModel(dir_.path(), {.tied_head = false});
  ModelConfig config = LoadConfigOrDie(dir_.path());
  config.tied_head = true;
  EXPECT_TRUE(LoadWith(config).ok());
}

TEST_F(WeightsTest, BiasThatTheConfigDeniesIsRefused) {
  const std::string golden = std::string(SPADE_SOURCE_DIR) + "/tests/model/goldens/qwen2";
  ModelConfig config = LoadConfigOrDie(golden);
  const auto checkpoint = Checkpoint::Open(golden);
  ASSERT_TRUE(checkpoint.ok());
  ASSERT_TRUE(LoadWeights(*backend_, config, *checkpoint, DType::kF32).ok());
  config.qkv_bias = false;
  EXPECT_EQ(LoadWeights(*backend_, config, *checkpoint, DType::kF32).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(WeightsTest, QkNormThatTheConfigDeniesIsRefused) {
  const std::string golden = std::string(SPADE_SOURCE_DIR) + "/tests/model/goldens/qwen3";
  ModelConfig config = LoadConfigOrDie(golden);
  config.qk_norm = false;
  EXPECT_EQ(LoadWeights(*backend_, config, *Checkpoint::Open(golden), DType::kF32).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace spade::testing
