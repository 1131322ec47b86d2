#include <cstddef>
#include <cstring>

#include "kernels/parallel/collective.h"

namespace spade {
namespace {

class HostCollective final : public Collective {
 public:
  void Enter(int32_t) override {}

  void AllReduce(std::span<float* const> places, int64_t count) override {
    float* const sums = places.front();
    for (const float* summands : places.subspan(1)) {
      for (int64_t i = 0; i < count; ++i) sums[i] += summands[i];
    }
    for (float* place : places.subspan(1)) {
      std::memcpy(place, sums, static_cast<size_t>(count) * sizeof(float));
    }
  }
};

}  // namespace

std::unique_ptr<Collective> MakeHostCollective() { return std::make_unique<HostCollective>(); }

}  // namespace spade
