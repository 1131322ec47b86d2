#include "engine/base/safetensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/safetensors_header.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kLengthBytes = sizeof(uint64_t);

absl::Status Malformed(const std::string& name, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "': ", what));
}

// The header's JSON text: an 8-byte little-endian length comes first.
absl::StatusOr<std::string_view> HeaderText(std::span<const std::byte> bytes) {
  if (bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError("not a safetensors file: shorter than 8 bytes");
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a safetensors file, or cut short: header of ", length,
                     " bytes in a file of ", bytes.size(), " bytes"));
  }
  return std::string_view(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
}

// Bytes the shape and dtype ask for.
absl::StatusOr<int64_t> ExpectedBytes(const std::string& name, const SafeTensorsEntry& entry) {
  auto bytes = static_cast<int64_t>(SafeTensorsDtypeSize(entry.dtype));
  if (bytes == 0) return Malformed(name, absl::StrCat("unknown dtype ", entry.dtype));
  for (const int64_t size : entry.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return Malformed(name, "shape overflows");
  }
  return bytes;
}

// Tensors fill the data exactly: in order of offset each begins where the one before it ends.
absl::Status CheckLayout(const SafeTensorsHeader& header, int64_t data_bytes) {
  std::vector<std::pair<const std::string*, const SafeTensorsEntry*>> entries;
  for (const auto& [name, entry] : header.tensors) {
    SPADE_ASSIGN_OR_RETURN(const int64_t expected, ExpectedBytes(name, entry));
    if (entry.end > data_bytes || entry.begin > entry.end) {
      return Malformed(name, "data_offsets lie outside the file");
    }
    if (entry.end - entry.begin != expected) {
      return Malformed(name, absl::StrCat("data_offsets span ", entry.end - entry.begin,
                                          " bytes, its shape and dtype need ", expected));
    }
    entries.emplace_back(&name, &entry);
  }
  std::ranges::sort(entries, {}, [](const auto& item) {
    return std::pair(item.second->begin, item.second->end);
  });
  int64_t filled = 0;
  for (const auto& [name, entry] : entries) {
    if (entry->begin < filled) return Malformed(*name, "overlaps another tensor");
    if (entry->begin > filled) return Malformed(*name, "leaves a hole before it");
    filled = entry->end;
  }
  if (filled != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("safetensors: ", data_bytes - filled, " bytes belong to no tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

size_t SafeTensorsDtypeSize(std::string_view dtype) {
  static constexpr std::pair<std::string_view, size_t> kSizes[] = {
      {"F32", 4}, {"F16", 2},  {"BF16", 2},    {"F64", 8},     {"I64", 8},     {"I32", 4},
      {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},     {"U16", 2},     {"U8", 1},
      {"C64", 8}, {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
  };
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return 0;
}

absl::StatusOr<SafeTensorsFile> ParseSafeTensors(std::span<const std::byte> bytes) {
  SPADE_ASSIGN_OR_RETURN(const std::string_view text, HeaderText(bytes));
  SPADE_ASSIGN_OR_RETURN(SafeTensorsHeader header, ParseSafeTensorsHeader(text));
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + text.size());
  SPADE_RETURN_IF_ERROR(CheckLayout(header, static_cast<int64_t>(data.size())));
  SafeTensorsFile file;
  file.metadata = std::move(header.metadata);
  for (auto& [name, entry] : header.tensors) {
    const auto begin = static_cast<size_t>(entry.begin);
    const auto size = static_cast<size_t>(entry.end) - begin;
    file.tensors.emplace(name, SafeTensor{std::move(entry.dtype), std::move(entry.shape),
                                          data.subspan(begin, size)});
  }
  return file;
}

}  // namespace spade
