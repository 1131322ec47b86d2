#include "tests/bench/device_floor.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "tests/bench/noise.h"

namespace spade::bench {
namespace {

constexpr int64_t kCols = 8192;
constexpr int64_t kCopiedRows = 16384;  // 512 MiB: no cache holds them
constexpr int64_t kProductRows = 8192;
constexpr int kRepeats = 5;

}  // namespace

absl::StatusOr<DeviceFloor> DeviceFloor::Create(Backend* backend) {
  DeviceFloor floor(backend);
  const Tensor rows = {nullptr, kCopiedRows, kCols, DType::kF32};
  SPADE_ASSIGN_OR_RETURN(floor.from_, backend->Allocate(rows.bytes()));
  SPADE_ASSIGN_OR_RETURN(floor.to_, backend->Allocate(rows.bytes()));
  std::vector<uint16_t> values(static_cast<size_t>(kCols * kCols));
  Noise noise;
  for (uint16_t& value : values) value = FloatToBF16(noise.Next() * 0.02f);
  const HostMatrix part = {values.data(), kCols, kCols, DType::kBF16};
  SPADE_ASSIGN_OR_RETURN(floor.weight_, backend->Pack(std::span(&part, 1), DType::kBF16));
  std::vector<int32_t> ids(kCols);
  std::iota(ids.begin(), ids.end(), 0);
  const Tensor x = {floor.from_.data(), kCols, kCols, DType::kF32};
  backend->Embed(floor.weight_, ids, x);
  return floor;
}

double DeviceFloor::BestSeconds(int repeats, const std::function<void()>& run) {
  double best = std::numeric_limits<double>::infinity();
  run();
  for (int i = 0; i < repeats; ++i) {
    backend_->Synchronize();
    const auto start = std::chrono::steady_clock::now();
    run();
    backend_->Synchronize();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::min(best, taken.count());
  }
  return best;
}

double DeviceFloor::CopyBandwidth() {
  std::vector<int32_t> rows(kCopiedRows);
  std::iota(rows.begin(), rows.end(), 0);
  const Tensor from = {from_.data(), kCopiedRows, kCols, DType::kF32};
  const Tensor to = {to_.data(), kCopiedRows, kCols, DType::kF32};
  return 2.0 * static_cast<double>(from.bytes()) /
         BestSeconds(kRepeats, [&] { backend_->CopyRows(from, rows, rows, to); });
}

double DeviceFloor::ProductRate() {
  const Tensor x = {from_.data(), kProductRows, kCols, DType::kF32};
  const Tensor out = {to_.data(), kProductRows, kCols, DType::kF32};
  return 2.0 * kProductRows * kCols * kCols /
         BestSeconds(kRepeats, [&] { backend_->MatMul(x, weight_, {}, out); });
}

}  // namespace spade::bench
