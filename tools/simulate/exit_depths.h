#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace spade::simulate {

// How deep each token's row has to go: by chance, the same for every policy, or as a file says.
class ExitDepths {
 public:
  // Every row goes to full depth.
  ExitDepths() = default;

  // "8:0.3,16:0.2": of the rows 30 % leave after 8 layers, 20 % after 16. "": none leaves.
  // INVALID_ARGUMENT where shares exceed 1 or layers do not ascend.
  static absl::StatusOr<ExitDepths> Parse(std::string_view text, uint64_t seed);
  // A line for each request, over again where there are fewer: for each of its tokens the layers
  // that its row runs, separated by blanks, likewise over again.
  static absl::StatusOr<ExitDepths> Read(const std::string& path);

  // The layers that the row of the request's `token`-th output token is to run at least, of
  // `num_layers`.
  int32_t LayersOf(int64_t request, int64_t token, int32_t num_layers) const;
  // All layers before full depth that some row leaves after, ascending.
  std::vector<int32_t> ExitLayers(int32_t num_layers) const;

 private:
  std::vector<std::pair<int32_t, double>> shares_;  // (layer, share of the rows that leave there)
  std::vector<std::vector<int32_t>> lines_;
  uint64_t seed_ = 0;
};

}  // namespace spade::simulate
