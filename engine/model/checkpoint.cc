#include "engine/model/checkpoint.h"

#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/shard_index.h"

namespace spade {
namespace {

constexpr size_t kMaxIndexBytes = 64 << 20;

absl::Status InFile(const absl::Status& status, const std::string& path) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

std::optional<DType> WeightDtype(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool HasShape(const SafeTensor& tensor, int64_t rows, int64_t cols) {
  if (tensor.shape.size() == 1) return rows == 1 && tensor.shape[0] == cols;
  return tensor.shape.size() == 2 && tensor.shape[0] == rows && tensor.shape[1] == cols;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& directory) {
  Checkpoint checkpoint;
  const std::string single = directory + "/model.safetensors";
  const absl::Status status = checkpoint.AddFile(single);
  if (status.ok()) return checkpoint;
  if (!absl::IsNotFound(status)) return status;

  const std::string index_path = single + ".index.json";
  const absl::StatusOr<std::string> text = ReadTextFile(index_path, kMaxIndexBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        StrCat(directory, " holds neither model.safetensors nor model.safetensors.index.json"));
  }
  if (!text.ok()) return text.status();
  SPADE_ASSIGN_OR_RETURN(const auto shards, ParseShardIndex(*text));
  std::set<std::string> names;
  for (const auto& [tensor, shard] : shards) names.insert(shard);
  for (const std::string& name : names) {
    SPADE_RETURN_IF_ERROR(checkpoint.AddFile(StrCat(directory, "/", name)));
  }
  for (const auto& [tensor, shard] : shards) {
    if (!checkpoint.Has(tensor)) {
      return absl::InvalidArgumentError(
          StrCat(index_path, ": no shard holds tensor '", tensor, "'"));
    }
  }
  return checkpoint;
}

absl::Status Checkpoint::AddFile(const std::string& path) {
  SPADE_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  absl::StatusOr<SafeTensorsFile> parsed = ParseSafeTensors(file.bytes());
  if (!parsed.ok()) return InFile(parsed.status(), path);
  for (auto& [name, tensor] : parsed->tensors) {
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      return absl::InvalidArgumentError(
          StrCat(path, ": another shard defines tensor '", name, "' too"));
    }
  }
  total_bytes_ += static_cast<int64_t>(file.bytes().size());
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

bool Checkpoint::Has(std::string_view name) const { return tensors_.contains(name); }

absl::StatusOr<HostMatrix> Checkpoint::Find(std::string_view name, int64_t rows,
                                            int64_t cols) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return absl::InvalidArgumentError(StrCat("the checkpoint has no tensor '", name, "'"));
  }
  const SafeTensor& tensor = found->second;
  if (!HasShape(tensor, rows, cols)) {
    return absl::InvalidArgumentError(StrCat("tensor '", name, "' has shape [",
                                             absl::StrJoin(tensor.shape, ", "),
                                             "], config.json asks for [", rows, ", ", cols, "]"));
  }
  const std::optional<DType> dtype = WeightDtype(tensor.dtype);
  if (!dtype.has_value()) {
    return absl::InvalidArgumentError(StrCat("tensor '", name, "' has dtype ", tensor.dtype,
                                             "; weights must be F32, F16 or BF16"));
  }
  if (reinterpret_cast<uintptr_t>(tensor.data.data()) % SizeOf(*dtype) != 0) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "' is not aligned; save the file again with safetensors"));
  }
  return HostMatrix{tensor.data.data(), rows, cols, *dtype};
}

std::vector<std::string> Checkpoint::Names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

std::string Checkpoint::Sha256() const {
  std::string digests;
  for (const MappedFile& file : files_) digests += Sha256Hex(AsText(file.bytes()));
  return files_.size() == 1 ? digests : Sha256Hex(digests);
}

}  // namespace spade
