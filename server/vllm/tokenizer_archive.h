#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

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

// Packs once, at the first call, whatever comes of it: the folder is the model's and does not
// change. Thread-safe.
class TokenizerArchiveCache {
 public:
  explicit TokenizerArchiveCache(std::string folder) : folder_(std::move(folder)) {}

  absl::StatusOr<std::shared_ptr<const TokenizerArchive>> Get();

 private:
  const std::string folder_;
  std::mutex mutex_;
  std::optional<absl::StatusOr<std::shared_ptr<const TokenizerArchive>>> archive_;
};

}  // namespace spade
