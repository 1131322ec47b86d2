#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/mapped_file.h"
#include "engine/base/safetensors.h"
#include "kernels/matrix.h"

namespace spade {

// The weights of a Hugging Face folder: model.safetensors, or the shards that
// model.safetensors.index.json lists. Files stay mapped while this lives; every tensor's bounds are
// checked when it opens. Immutable: thread-safe.
class Checkpoint {
 public:
  // NOT_FOUND without weights in `directory`; INVALID_ARGUMENT for a malformed file (see
  // ParseSafeTensors), a tensor that two shards define or that the index promises in vain, and for
  // an index that names anything but plain files of the directory.
  static absl::StatusOr<Checkpoint> Open(const std::string& directory);

  bool Has(std::string_view name) const;
  // A 1-D tensor comes back as (1, n). INVALID_ARGUMENT where the tensor is missing, or its shape
  // is not (rows, cols) (1-D tensors: rows == 1), or its dtype is not F32, F16 or BF16, or its data
  // is not aligned to its elements.
  absl::StatusOr<HostMatrix> Find(std::string_view name, int64_t rows, int64_t cols) const;
  std::vector<std::string> Names() const;
  int64_t total_bytes() const { return total_bytes_; }
  // The identity of the model in certificates: the hex SHA-256 of the weight file; of shards, that
  // of their digests in name order. Reads every byte.
  std::string Sha256() const;

 private:
  Checkpoint() = default;
  absl::Status AddFile(const std::string& path);

  std::vector<MappedFile> files_;  // in name order
  std::map<std::string, SafeTensor, std::less<>> tensors_;
  int64_t total_bytes_ = 0;
};

}  // namespace spade
