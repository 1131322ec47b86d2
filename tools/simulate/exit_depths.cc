#include "tools/simulate/exit_depths.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "loadtest/rng.h"

namespace spade::simulate {

absl::StatusOr<ExitDepths> ExitDepths::Parse(std::string_view text, uint64_t seed) {
  ExitDepths depths;
  depths.seed_ = seed;
  if (text.empty()) return depths;
  double sum = 0;
  for (const std::string& entry :
       std::vector<std::string>(absl::StrSplit(std::string(text), ','))) {
    const std::vector<std::string> parts = absl::StrSplit(entry, ':');
    int32_t layer = 0;
    double share = 0;
    if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &layer) ||
        !absl::SimpleAtod(parts[1], &share) || layer < 1 || !(share >= 0 && share <= 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("exits: '", entry, "' is not LAYER:SHARE, as in 8:0.3"));
    }
    sum += share;
    if (!depths.shares_.empty() && depths.shares_.back().first >= layer) {
      return absl::InvalidArgumentError("exits: the layers must ascend");
    }
    depths.shares_.emplace_back(layer, share);
  }
  if (sum > 1 + 1e-9) return absl::InvalidArgumentError("exits: the shares add up to more than 1");
  return depths;
}

absl::StatusOr<ExitDepths> ExitDepths::Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open the exit depths ", path));
  ExitDepths depths;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::vector<int32_t> layers;
    for (int32_t layer = 0; fields >> layer;) layers.push_back(layer);
    if (!fields.eof() || layers.empty() || std::ranges::min(layers) < 1) {
      return absl::InvalidArgumentError(absl::StrCat(path, " line ", depths.lines_.size() + 1,
                                                     ": numbers of layers, at least 1, expected"));
    }
    depths.lines_.push_back(std::move(layers));
  }
  if (depths.lines_.empty()) return absl::InvalidArgumentError(absl::StrCat(path, " is empty"));
  return depths;
}

int32_t ExitDepths::LayersOf(int64_t request, int64_t token, int32_t num_layers) const {
  if (!lines_.empty()) {
    const std::vector<int32_t>& line = lines_[static_cast<size_t>(request) % lines_.size()];
    return std::min(line[static_cast<size_t>(token) % line.size()], num_layers);
  }
  if (shares_.empty()) return num_layers;
  loadtest::Rng rng(seed_, static_cast<uint64_t>(request) << 32 | static_cast<uint64_t>(token));
  double left = rng.Uniform();
  for (const auto& [layer, share] : shares_) {
    if (left < share) return std::min(layer, num_layers);
    left -= share;
  }
  return num_layers;
}

std::vector<int32_t> ExitDepths::ExitLayers(int32_t num_layers) const {
  std::set<int32_t> layers;
  for (const auto& [layer, share] : shares_) layers.insert(layer);
  for (const std::vector<int32_t>& line : lines_) layers.insert(line.begin(), line.end());
  layers.erase(layers.lower_bound(num_layers), layers.end());
  return {layers.begin(), layers.end()};
}

}  // namespace spade::simulate
