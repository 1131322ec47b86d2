#include "tools/trace/trace_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace spade {
namespace {

constexpr size_t kKeyBytes = 64;

absl::Status FileError(const std::string& path, const char* what) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

bool ReadExactly(int descriptor, char* data, size_t size, off_t offset) {
  while (size > 0) {
    const ssize_t got = pread(descriptor, data, size, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    data += got;
    size -= static_cast<size_t>(got);
    offset += got;
  }
  return true;
}

bool WriteAll(int descriptor, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t put = write(descriptor, data, size);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    data += put;
    size -= static_cast<size_t>(put);
  }
  return true;
}

// The whole records of a file that has this key.
std::vector<float> ReadRecords(int descriptor, const std::string& key, size_t record_bytes,
                               size_t most) {
  std::string found(kKeyBytes, '\0');
  struct stat info = {};
  if (!ReadExactly(descriptor, found.data(), kKeyBytes, 0) || found != key ||
      fstat(descriptor, &info) != 0) {
    return {};
  }
  const size_t bytes = static_cast<size_t>(info.st_size) - kKeyBytes;
  const size_t records = std::min(bytes / record_bytes, most);
  std::vector<float> values(records * record_bytes / sizeof(float));
  if (!ReadExactly(descriptor, reinterpret_cast<char*>(values.data()), records * record_bytes,
                   kKeyBytes)) {
    return {};
  }
  return values;
}

}  // namespace

absl::StatusOr<TraceFile> TraceFile::Open(const std::string& path, const std::string& key,
                                          int64_t record_floats, size_t most_records) {
  SPADE_CHECK(key.size() == kKeyBytes);
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return FileError(path, "open");
  const size_t record_bytes = static_cast<size_t>(record_floats) * sizeof(float);
  std::vector<float> records = ReadRecords(descriptor, key, record_bytes, most_records);
  const size_t kept = records.size() * sizeof(float);
  TraceFile file(path, descriptor, std::move(records));
  if (kept == 0) {
    if (ftruncate(descriptor, 0) != 0 || lseek(descriptor, 0, SEEK_SET) != 0 ||
        !WriteAll(descriptor, key.data(), key.size())) {
      return FileError(path, "write");
    }
    return file;
  }
  const auto end = static_cast<off_t>(kKeyBytes + kept);
  if (ftruncate(descriptor, end) != 0 || lseek(descriptor, end, SEEK_SET) != end) {
    return FileError(path, "write");
  }
  return file;
}

TraceFile::TraceFile(TraceFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      records_(std::move(other.records_)) {}

TraceFile::~TraceFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status TraceFile::Append(std::span<const float> records) {
  if (!WriteAll(descriptor_, reinterpret_cast<const char*>(records.data()), records.size_bytes())) {
    return FileError(path_, "write");
  }
  return absl::OkStatus();
}

}  // namespace spade
