#include "server/auth/watched_files.h"

#include <utility>

#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

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
    SPADE_ASSIGN_OR_RETURN(std::string text, ReadTextFile(path, max_bytes_));
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

Repeater::Repeater(std::chrono::milliseconds interval, std::function<void()> function)
    : thread_([this, interval, function = std::move(function)] {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
          lock.unlock();
          function();
          lock.lock();
        }
      }) {}

Repeater::~Repeater() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace spade
