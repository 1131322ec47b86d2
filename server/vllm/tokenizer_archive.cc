#include "server/vllm/tokenizer_archive.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

constexpr size_t kMaxFiles = 50;
constexpr size_t kMaxBytes = 200'000'000;

constexpr std::string_view kNames[] = {
    "tokenizer.json",    "tokenizer_config.json",   "config.json", "generation_config.json",
    "vocab.json",        "special_tokens_map.json", "merges.txt",  "chat_template.json",
    "added_tokens.json",
};

bool IsTokenizerFile(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) ||
         path.extension() == ".jinja";
}

// Little-endian, as the format is.
void Append(uint32_t value, int bytes, std::string* to) {
  for (int i = 0; i < bytes; ++i) to->push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

struct Entry {
  std::string name;
  uint32_t crc;
  uint32_t size;
  uint32_t offset;  // of its local header
};

// What the local and the central header of an entry share. The time is zip's first: archives of
// equal files are equal.
void AppendCommon(const Entry& entry, std::string* to) {
  constexpr uint32_t kVersion = 20;
  constexpr uint32_t kUtf8Names = 1u << 11;
  constexpr uint32_t kStored = 0;
  constexpr uint32_t kFirstDate = 1u << 5 | 1;  // 1 January 1980
  Append(kVersion, 2, to);
  Append(kUtf8Names, 2, to);
  Append(kStored, 2, to);
  Append(0, 2, to);
  Append(kFirstDate, 2, to);
  Append(entry.crc, 4, to);
  Append(entry.size, 4, to);
  Append(entry.size, 4, to);
  Append(static_cast<uint32_t>(entry.name.size()), 2, to);
  Append(0, 2, to);  // no extra field
}

void AppendFile(const std::string& name, std::string_view bytes, std::string* zip,
                std::vector<Entry>* entries) {
  const uLong crc =
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
  const Entry entry{name, static_cast<uint32_t>(crc), static_cast<uint32_t>(bytes.size()),
                    static_cast<uint32_t>(zip->size())};
  Append(0x04034b50, 4, zip);
  AppendCommon(entry, zip);
  zip->append(name).append(bytes);
  entries->push_back(entry);
}

void AppendDirectory(const std::vector<Entry>& entries, std::string* zip) {
  const auto start = static_cast<uint32_t>(zip->size());
  for (const Entry& entry : entries) {
    Append(0x02014b50, 4, zip);
    Append(20, 2, zip);
    AppendCommon(entry, zip);
    Append(0, 2, zip);  // no comment
    Append(0, 4, zip);  // first disk, binary
    Append(0, 4, zip);  // no attributes
    Append(entry.offset, 4, zip);
    zip->append(entry.name);
  }
  const auto size = static_cast<uint32_t>(zip->size()) - start;
  const auto count = static_cast<uint32_t>(entries.size());
  Append(0x06054b50, 4, zip);
  Append(0, 4, zip);  // one disk
  Append(count, 2, zip);
  Append(count, 2, zip);
  Append(size, 4, zip);
  Append(start, 4, zip);
  Append(0, 2, zip);  // no comment
}

}  // namespace

absl::StatusOr<TokenizerArchive> PackTokenizer(const std::string& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> paths;
  for (const auto& file : std::filesystem::directory_iterator(folder, error)) {
    if (file.is_regular_file(error) && IsTokenizerFile(file.path())) paths.push_back(file.path());
  }
  if (error || !std::filesystem::exists(folder + "/tokenizer.json", error)) {
    return absl::NotFoundError("the model's folder has no tokenizer.json");
  }
  if (paths.size() > kMaxFiles) return absl::ResourceExhaustedError("too many tokenizer files");
  std::sort(paths.begin(), paths.end());
  TokenizerArchive archive;
  std::vector<Entry> entries;
  for (const auto& path : paths) {
    SPADE_ASSIGN_OR_RETURN(const std::string bytes, ReadTextFile(path.string(), kMaxBytes));
    if (archive.zip.size() + bytes.size() > kMaxBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the tokenizer's files have more than ", kMaxBytes, " bytes"));
    }
    AppendFile(path.filename().string(), bytes, &archive.zip, &entries);
  }
  AppendDirectory(entries, &archive.zip);
  archive.sha256 = Sha256Hex(archive.zip);
  return archive;
}

TokenizerArchiveCache::TokenizerArchiveCache(std::function<absl::StatusOr<TokenizerArchive>()> pack)
    : pack_(std::move(pack)) {}

TokenizerArchiveCache::~TokenizerArchiveCache() {
  if (thread_.joinable()) thread_.join();
}

void TokenizerArchiveCache::Get(std::function<void(const Archive&)> done) {
  {
    std::lock_guard lock(mutex_);
    if (!archive_) {
      waiting_.push_back(std::move(done));
      if (!thread_.joinable()) thread_ = std::thread([this] { Pack(); });
      return;
    }
  }
  done(*archive_);  // it changes no more
}

void TokenizerArchiveCache::Pack() {
  absl::StatusOr<TokenizerArchive> packed = pack_();
  std::vector<std::function<void(const Archive&)>> waiting;
  {
    std::lock_guard lock(mutex_);
    if (packed.ok()) {
      archive_ = std::make_shared<const TokenizerArchive>(*std::move(packed));
    } else {
      archive_ = packed.status();
    }
    waiting.swap(waiting_);
  }
  for (const auto& done : waiting) done(*archive_);
}

}  // namespace spade
