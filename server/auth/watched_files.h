#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace spade {

// Small files whose changes are noticed by their content: however they are replaced, by a rename,
// in place or by Kubernetes' links. Not thread-safe.
class WatchedFiles {
 public:
  using Contents = std::vector<std::string>;  // in the order of the paths

  WatchedFiles(std::vector<std::string> paths, size_t max_bytes)
      : paths_(std::move(paths)), max_bytes_(max_bytes) {}

  absl::StatusOr<Contents> Read();

  // Their contents, if they differ from those last returned by either function and are the same as
  // at the last call, so that no half-written set is taken; nullopt otherwise. An error counts as
  // contents: it is returned once.
  std::optional<absl::StatusOr<Contents>> Changed();

 private:
  absl::StatusOr<Contents> ReadAll() const;

  const std::vector<std::string> paths_;
  const size_t max_bytes_;
  std::string taken_;  // a hash; what was read is not kept, for it may be secret
  std::string seen_;
};

}  // namespace spade
