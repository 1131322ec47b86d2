// What is split over the shards of a backend: arithmetic against the whole in double precision.
#include <cmath>
#include <list>

#include "gmock/gmock.h"
#include "tests/kernels/device_test.h"

namespace spade::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 5;

std::vector<Device> Shards() {
  std::vector<Device> devices;
  for (const char* device : {"cpu", "cuda"}) {
    for (const int32_t shards : {1, 2, 4}) {
      devices.push_back({std::string(device) + "_" + std::to_string(shards),
                         {.device = device, .tensor_parallel = shards, .num_threads = 2}});
    }
  }
  return devices;
}

class ShardsTest : public DeviceTest {
 protected:
  int32_t shards() { return backend().shards(); }
  Matrix PackSplit(const std::vector<HostMatrix>& parts, DType dtype, Split split) {
    absl::StatusOr<Matrix> matrix = backend().PackSplit(parts, dtype, split);
    EXPECT_TRUE(matrix.ok()) << matrix.status();
    return *std::move(matrix);
  }
  // What each shard makes of its own rows of `values`: (rows, shards(), cols).
  DeviceTensor UploadSplit(const std::vector<float>& values, int64_t rows, int64_t cols) {
    std::vector<float> by_shard;
    for (int32_t shard = 0; shard < shards(); ++shard) {
      for (int64_t row = 0; row < rows; ++row) {
        const auto from = values.begin() + (row * shards() + shard) * cols;
        by_shard.insert(by_shard.end(), from, from + cols);
      }
    }
    DeviceTensor tensor = Empty(rows, cols);
    backend().CopySplitFromHost(tensor.view().data, by_shard.data(), tensor.view().bytes());
    return tensor;
  }
};

HostMatrix AsMatrix(const std::vector<float>& values, int64_t rows, int64_t cols) {
  return {values.data(), rows, cols, DType::kF32};
}

// x W^T in double precision; x: (kRows, in).
std::vector<double> Product(const std::vector<float>& x, const std::vector<float>& weight,
                            int64_t in, int64_t out) {
  std::vector<double> product(static_cast<size_t>(kRows * out));
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t col = 0; col < out; ++col) {
      for (int64_t i = 0; i < in; ++i) {
        product[row * out + col] += double{x[row * in + i]} * weight[col * in + i];
      }
    }
  }
  return product;
}

void ExpectNear(const std::vector<float>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 2e-5) << i;
}

TEST_P(ShardsTest, SaysHowManyThereAre) {
  EXPECT_EQ(backend().shards(), GetParam().options.tensor_parallel);
}

TEST_P(ShardsTest, ASplitBetweenInputsIsSummedUp) {
  const int64_t in = 48;
  const int64_t out = 20;
  const std::vector<float> x = RandomFloats(kRows * in, 1);
  const std::vector<float> values = RandomFloats(out * in, 2, 0.2f);
  const Matrix weight = PackSplit({AsMatrix(values, out, in)}, DType::kF32, Split::kInputs);
  EXPECT_EQ(weight.in_features, in / shards());
  const DeviceTensor sum = Empty(kRows, out);
  backend().MatMul(UploadSplit(x, kRows, in / shards()).view(), weight, {}, sum.view());
  ExpectNear(sum.Read(), Product(x, values, in, out));
}

TEST_P(ShardsTest, BiasAndWhatWasThereAreAddedOnce) {
  const int64_t in = 32;
  const int64_t out = 12;
  const std::vector<float> x = RandomFloats(kRows * in, 3);
  const std::vector<float> values = RandomFloats(out * in, 4, 0.2f);
  const std::vector<float> bias = RandomFloats(out, 5);
  const std::vector<float> before = RandomFloats(kRows * out, 6);
  const Matrix weight = PackSplit({AsMatrix(values, out, in)}, DType::kF32, Split::kInputs);
  const DeviceTensor device_bias = Upload(1, out, bias);
  const DeviceTensor sum = Upload(kRows, out, before);
  backend().MatMul(UploadSplit(x, kRows, in / shards()).view(), weight,
                   {.bias = device_bias.data(), .accumulate = true}, sum.view());
  std::vector<double> expected = Product(x, values, in, out);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += double{bias[i % out]} + before[i];
  ExpectNear(sum.Read(), expected);
}

// Every shard ends with the sum, not the first alone: the next product reads it on each.
TEST_P(ShardsTest, TheSumIsOnEveryShard) {
  const int64_t in = 16;
  const std::vector<float> x = RandomFloats(kRows * in, 7);
  const std::vector<float> first = RandomFloats(in * in, 8, 0.3f);
  const std::vector<float> second = RandomFloats(in * in, 9, 0.3f);
  const Matrix down = PackSplit({AsMatrix(first, in, in)}, DType::kF32, Split::kInputs);
  const Matrix up = PackSplit({AsMatrix(second, in, in)}, DType::kF32, Split::kOutputs);
  std::vector<float> ones(in * in);
  for (int64_t i = 0; i < in; ++i) ones[i * in + i] = 1;
  const Matrix identity = PackSplit({AsMatrix(ones, in, in)}, DType::kF32, Split::kInputs);
  const DeviceTensor middle = Empty(kRows, in);
  const DeviceTensor last = Empty(kRows, in / shards());
  const DeviceTensor out = Empty(kRows, in);
  backend().MatMul(UploadSplit(x, kRows, in / shards()).view(), down, {}, middle.view());
  backend().MatMul(middle.view(), up, {}, last.view());
  backend().MatMul(last.view(), identity, {}, out.view());
  std::vector<float> hidden;
  for (const double value : Product(x, first, in, in)) hidden.push_back(static_cast<float>(value));
  ExpectNear(out.Read(), Product(hidden, second, in, in));
}

// Queries, keys and values are split each for itself: a shard has its heads of all three.
TEST_P(ShardsTest, EveryPartOfAStackIsSplit) {
  const int64_t in = 8;
  const std::vector<float> queries = RandomFloats(16 * in, 10);
  const std::vector<float> keys = RandomFloats(8 * in, 11);
  const Matrix weight =
      PackSplit({AsMatrix(queries, 16, in), AsMatrix(keys, 8, in)}, DType::kF32, Split::kOutputs);
  EXPECT_EQ(weight.out_features, 24 / shards());
  // The first shard's, which is what the host reads.
  std::vector<float> expected(queries.begin(), queries.begin() + 16 / shards() * in);
  expected.insert(expected.end(), keys.begin(), keys.begin() + 8 / shards() * in);
  EXPECT_EQ(Stored(weight), expected);
}

TEST_P(ShardsTest, ColumnsOfEveryTypeAreCut) {
  const int64_t in = 24;
  const std::vector<float> values = RandomFloats(3 * in, 12);
  std::vector<uint16_t> bits;
  for (const float value : values) bits.push_back(FloatToBF16(value));
  const Matrix weight =
      PackSplit({{bits.data(), 3, in, DType::kBF16}}, DType::kBF16, Split::kInputs);
  std::vector<float> expected;
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t i = 0; i < in / shards(); ++i) expected.push_back(BF16ToFloat(bits[row * in + i]));
  }
  EXPECT_EQ(Stored(weight), expected);
}

TEST_P(ShardsTest, BytesAreThoseOfAllShards) {
  const std::vector<float> values = RandomFloats(128 * 256, 13);
  const Matrix whole = Pack(values, 128, 256, DType::kF32);
  EXPECT_EQ(whole.bytes(), shards() * values.size() * sizeof(float));
  for (const Split split : {Split::kInputs, Split::kOutputs}) {
    EXPECT_EQ(PackSplit({AsMatrix(values, 128, 256)}, DType::kF32, split).bytes(),
              values.size() * sizeof(float));
  }
}

TEST_P(ShardsTest, MemoryMayBeFreedInAnyOrder) {
  std::list<DeviceTensor> tensors;
  for (int i = 0; i < 3; ++i) tensors.push_back(Upload(1, 3, {1, 2, static_cast<float>(i)}));
  tensors.erase(std::next(tensors.begin()));
  EXPECT_EQ(tensors.back().Read(), (std::vector<float>{1, 2, 2}));
  EXPECT_EQ(Upload(2, 1, {7, 8}).Read(), (std::vector<float>{7, 8}));
}

SPADE_DEVICE_SUITE_OF(ShardsTest, Shards());

TEST(TensorParallelTest, OneIsThePlainBackend) {
  const auto one = MakeBackend({.tensor_parallel = 1, .num_threads = 1});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ((*one)->description(), (*MakeBackend({.num_threads = 1}))->description());
}

TEST(TensorParallelTest, SaysWhatItIs) {
  const auto two = MakeBackend({.tensor_parallel = 2, .num_threads = 1, .cpu_isa = "portable"});
  ASSERT_TRUE(two.ok());
  EXPECT_EQ((*two)->name(), "cpu");
  EXPECT_EQ((*two)->description(),
            "cpu, portable, f32 products, 1 threads, tensor-parallel over 2");
}

TEST(TensorParallelTest, RefusesNumbersOutOfRange) {
  for (const int32_t shards : {-1, 0, 65}) {
    const absl::Status status = MakeBackend({.tensor_parallel = shards}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("tensor_parallel is"));
  }
}

TEST(TensorParallelTest, MoreGpusThanThereAreSaysWhatToDo) {
  const absl::Status status =
      MakeBackend({.device = "cuda", .tensor_parallel = 64, .num_threads = 1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::AnyOf(HasSubstr("CUDA_VISIBLE_DEVICES"), HasSubstr("libnccl-dev"),
                               HasSubstr("-DSPADE_CUDA=ON")));
}

TEST(TensorParallelTest, BatchInvarianceHoldsForTwoGpusAtMost) {
  BackendOptions options = {.device = "cuda", .tensor_parallel = 4, .num_threads = 1};
  if (!MakeBackend(options).ok()) GTEST_SKIP() << "fewer GPUs";
  options.batch_invariant = true;
  const absl::Status status = MakeBackend(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--tensor-parallel 2"));
  options.tensor_parallel = 2;
  EXPECT_TRUE(MakeBackend(options).ok());
}

}  // namespace
}  // namespace spade::testing
