#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace spade {

// A tensor as the header describes it; nothing is checked against the data yet.
struct SafeTensorsEntry {
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t begin = 0;  // bytes from the end of the header
  int64_t end = 0;
};

struct SafeTensorsHeader {
  std::map<std::string, SafeTensorsEntry, std::less<>> tensors;
  std::map<std::string, std::string, std::less<>> metadata;
};

// Parses the JSON header in one pass, without a document tree: memory stays in proportion to the
// tensors described, whatever the text nests or repeats. Every tensor has exactly a dtype, a shape
// and two offsets, none negative. INVALID_ARGUMENT says what is wrong.
absl::StatusOr<SafeTensorsHeader> ParseSafeTensorsHeader(std::string_view json);

}  // namespace spade
