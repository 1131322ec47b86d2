#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"

namespace spade::testing {

// One backend that the operation tests run on.
struct Device {
  std::string name;
  BackendOptions options;
};

// For GoogleTest's messages.
inline std::ostream& operator<<(std::ostream& out, const Device& device) {
  return out << device.name;
}

// One definition a test binary: devices.cc for those of the build.
std::vector<Device> AllDevices();
// The ways to run on the GPU.
std::vector<Device> CudaDevices();
std::vector<float> RandomFloats(int64_t count, uint32_t seed, float scale = 1.0f);

// A tensor in a backend's memory, filled from the host.
class DeviceTensor {
 public:
  DeviceTensor(Backend& backend, int64_t rows, int64_t cols);
  DeviceTensor(Backend& backend, int64_t rows, int64_t cols, const std::vector<float>& values);

  const Tensor& view() const { return view_; }
  const float* data() const { return static_cast<const float*>(view_.data); }
  std::vector<float> Read() const;

 private:
  Backend& backend_;
  Buffer buffer_;
  Tensor view_;
};

// Runs each test once per device; moves data only by the Backend's own copies. Skips a device that
// this build or machine lacks.
class DeviceTest : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override;

  Backend& backend() { return *backend_; }
  // Whether the backend promises it for MatMul too.
  bool IsBatchInvariant() const;
  // Whether attention rounds queries and weights to BF16: on the CPU of all rows, on tensor cores
  // of long runs of them.
  bool RoundsAttention(DType kv) const;
  DeviceTensor Upload(int64_t rows, int64_t cols, const std::vector<float>& values) {
    return DeviceTensor(backend(), rows, cols, values);
  }
  DeviceTensor Empty(int64_t rows, int64_t cols) { return DeviceTensor(backend(), rows, cols); }
  Matrix Pack(const std::vector<float>& values, int64_t rows, int64_t cols, DType dtype);
  // The weights as the backend stores them: (out_features, in_features).
  std::vector<float> Stored(const Matrix& matrix);
  std::vector<float> MatMul(const std::vector<float>& x, int64_t rows, const Matrix& weight);

 private:
  std::unique_ptr<Backend> backend_;
};

#define SPADE_DEVICE_SUITE_OF(suite, devices)       \
  INSTANTIATE_TEST_SUITE_P(                         \
      Devices, suite, ::testing::ValuesIn(devices), \
      [](const ::testing::TestParamInfo<Device>& param_info) { return param_info.param.name; })
#define SPADE_DEVICE_SUITE(suite) SPADE_DEVICE_SUITE_OF(suite, AllDevices())

}  // namespace spade::testing
