#include "server/auth/watched_files.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

// By read, not by mapping: a file that is cut short in place while it is read must not be a SIGBUS.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  std::error_code error;
  std::ifstream file(path, std::ios::binary);
  if (!std::filesystem::is_regular_file(path, error) || !file) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read as a file"));
  }
  std::string text(max_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": more than the limit of ", max_bytes, " bytes"));
  }
  return text;
}

std::string Fingerprint(const absl::StatusOr<WatchedFiles::Contents>& contents) {
  if (!contents.ok()) return contents.status().ToString();
  std::string hashes;
  for (const std::string& content : *contents) hashes += Sha256Hex(content);
  return hashes;
}

}  // namespace

absl::StatusOr<WatchedFiles::Contents> WatchedFiles::ReadAll() const {
  Contents contents;
  for (const std::string& path : paths_) {
    SPADE_ASSIGN_OR_RETURN(std::string text, ReadFile(path, max_bytes_));
    contents.push_back(std::move(text));
  }
  return contents;
}

absl::StatusOr<WatchedFiles::Contents> WatchedFiles::Read() {
  auto contents = ReadAll();
  taken_ = seen_ = Fingerprint(contents);
  return contents;
}

std::optional<absl::StatusOr<WatchedFiles::Contents>> WatchedFiles::Changed() {
  auto contents = ReadAll();
  std::string fingerprint = Fingerprint(contents);
  const bool settled = fingerprint == seen_;
  seen_ = std::move(fingerprint);
  if (!settled || seen_ == taken_) return std::nullopt;
  taken_ = seen_;
  return contents;
}

}  // namespace spade
