// RopeAndStoreKv is Rope and StoreKv, to the bit.
#include <cstddef>
#include <vector>

#include "tests/kernels/device_test.h"

namespace spade::testing {
namespace {

constexpr int32_t kBlockSize = 16;  // what stores of pairs take, too
constexpr int32_t kBlocks = 6;

struct Written {
  std::vector<float> qkv;
  std::vector<std::byte> keys;
  std::vector<std::byte> values;
  bool operator==(const Written&) const = default;
};

class RopeStoreTest : public DeviceTest {
 protected:
  // What five rows of two sequences leave behind, in a cache of NaN.
  Written Run(const HeadLayout& heads, DType dtype, bool normalize, bool fused) {
    const std::vector<int32_t> positions = {0, 1, 2, 19, 20};
    const std::vector<int32_t> sequences = {0, 0, 0, 1, 1};
    const std::vector<int32_t> tables = {4, 1, 0, 5};
    const BatchView batch = {positions, sequences, tables, 2};
    const auto rows = static_cast<int64_t>(positions.size());
    const int64_t dim = heads.head_dim;
    const DeviceTensor qkv =
        Upload(rows, heads.qkv_cols(), RandomFloats(rows * heads.qkv_cols(), 1));
    const DeviceTensor angles = Upload(rows, dim, RandomFloats(rows * dim, 2));
    const DeviceTensor q_weight = Upload(1, dim, RandomFloats(dim, 3));
    const DeviceTensor k_weight = Upload(1, dim, RandomFloats(dim, 4));
    QkNorm norm;
    if (normalize) norm = {q_weight.data(), k_weight.data(), 1e-6f};
    const auto bytes = static_cast<size_t>(kBlocks * kBlockSize * heads.kv_cols()) * SizeOf(dtype);
    const Buffer keys = Poisoned(bytes);
    const Buffer values = Poisoned(bytes);
    const KvView kv = {keys.data(), values.data(), dtype, kBlockSize};
    if (fused) {
      backend().RopeAndStoreKv(qkv.view(), heads, norm, angles.view(), batch, kv);
    } else {
      backend().Rope(qkv.view(), heads, norm, angles.view());
      backend().StoreKv(qkv.view(), heads, batch, kv);
    }
    return {qkv.Read(), Read(keys, bytes), Read(values, bytes)};
  }

 private:
  Buffer Poisoned(size_t bytes) {
    Buffer buffer = *backend().Allocate(bytes);
    const std::vector<std::byte> ones(bytes, std::byte{0xff});
    backend().CopyFromHost(buffer.data(), ones.data(), bytes);
    return buffer;
  }
  std::vector<std::byte> Read(const Buffer& buffer, size_t bytes) {
    std::vector<std::byte> host(bytes);
    backend().CopyToHost(host.data(), buffer.data(), bytes);
    return host;
  }
};

TEST_P(RopeStoreTest, EqualsBothToTheBit) {
  for (const HeadLayout& heads :
       {HeadLayout{8, 2, 64}, HeadLayout{3, 1, 8}, HeadLayout{2, 2, 72}, HeadLayout{1, 1, 256}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const bool normalize : {false, true}) {
        EXPECT_EQ(Run(heads, dtype, normalize, /*fused=*/true),
                  Run(heads, dtype, normalize, /*fused=*/false))
            << heads.head_dim << " " << NameOf(dtype) << (normalize ? ", normalized" : "");
      }
    }
  }
}

SPADE_DEVICE_SUITE(RopeStoreTest);

}  // namespace
}  // namespace spade::testing
