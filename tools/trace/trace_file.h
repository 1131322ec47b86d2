#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace spade {

// Traces on disk while they are being made, so that an interrupted run goes on where it stopped.
// The file begins with a key of 64 characters that names everything the traces depend on; whole
// records follow. A record that was cut short is dropped.
class TraceFile {
 public:
  // Opens `path` for appending, with the records it has if `key` is the file's; else starts over.
  // UNAVAILABLE where it cannot be written.
  static absl::StatusOr<TraceFile> Open(const std::string& path, const std::string& key,
                                        int64_t record_floats, size_t most_records);
  TraceFile(TraceFile&& other) noexcept;
  TraceFile& operator=(TraceFile&&) = delete;
  TraceFile(const TraceFile&) = delete;
  ~TraceFile();

  // The records that were there when it was opened: (records, record_floats).
  std::vector<float> TakeRecords() { return std::move(records_); }
  // `records`: whole records, handed to the operating system when this returns.
  absl::Status Append(std::span<const float> records);

 private:
  TraceFile(std::string path, int descriptor, std::vector<float> records)
      : path_(std::move(path)), descriptor_(descriptor), records_(std::move(records)) {}

  std::string path_;
  int descriptor_;
  std::vector<float> records_;
};

}  // namespace spade
