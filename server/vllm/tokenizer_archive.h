#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace spade {

struct TokenizerArchive {
  std::string zip;
  std::string sha256;  // hex
};

// A zip of the files in `folder` that a client needs to tokenize, detokenize and fill in the chat
// template; entries are stored, not compressed. NOT_FOUND: no tokenizer.json; RESOURCE_EXHAUSTED:
// more than clients accept (50 files, 200 MB).
absl::StatusOr<TokenizerArchive> PackTokenizer(const std::string& folder);

// Packs once, at the first call, on a thread of its own, for it may read hundreds of megabytes; and
// keeps whatever came of it: the folder is the model's and does not change. Thread-safe.
class TokenizerArchiveCache {
 public:
  using Archive = absl::StatusOr<std::shared_ptr<const TokenizerArchive>>;

  explicit TokenizerArchiveCache(std::function<absl::StatusOr<TokenizerArchive>()> pack);
  ~TokenizerArchiveCache();  // when it is packed, and all who wait are told
  TokenizerArchiveCache(const TokenizerArchiveCache&) = delete;
  TokenizerArchiveCache& operator=(const TokenizerArchiveCache&) = delete;

  // Calls done(archive) once: before it returns, or on the packing thread.
  void Get(std::function<void(const Archive&)> done);

 private:
  void Pack();

  const std::function<absl::StatusOr<TokenizerArchive>()> pack_;
  std::mutex mutex_;
  std::optional<Archive> archive_;
  std::vector<std::function<void(const Archive&)>> waiting_;
  std::thread thread_;
};

}  // namespace spade
