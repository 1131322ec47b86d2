#pragma once

#include <span>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "tools/trace/traces.h"

namespace spade {

// Traces on disk while they are being made, so that an interrupted run goes on where it stopped.
// The file begins with a key of 64 characters that names everything the traces depend on; whole
// records follow. A record that was cut short is dropped.
class TraceFile {
 public:
  // Opens `path` for appending, with the records it has if `key` is the file's; else starts over.
  // UNAVAILABLE where it cannot be written.
  static absl::StatusOr<TraceFile> Open(const std::string& path, const std::string& key,
                                        const TraceShape& shape, size_t most_prompts);
  TraceFile(TraceFile&& other) noexcept;
  TraceFile& operator=(TraceFile&&) = delete;
  TraceFile(const TraceFile&) = delete;
  ~TraceFile();

  // The records that were there when it was opened.
  Traces TakeTraces() { return std::move(traces_); }
  // `records`: whole records, handed to the operating system when this returns.
  absl::Status Append(std::span<const float> records);

 private:
  TraceFile(std::string path, int descriptor, Traces traces)
      : path_(std::move(path)), descriptor_(descriptor), traces_(std::move(traces)) {}

  std::string path_;
  int descriptor_;
  Traces traces_;
};

}  // namespace spade
