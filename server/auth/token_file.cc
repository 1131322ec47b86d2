#include "server/auth/token_file.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/auth/tenant_name.h"

namespace spade {
namespace {

constexpr size_t kDigestBytes = 64;
constexpr int32_t kMaxInFlight = 1'000'000;
constexpr double kMinRate = 1e-3;
constexpr double kMaxRate = 1e6;
constexpr std::string_view kBlanks = " \t\r";

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  for (size_t at = line.find_first_not_of(kBlanks); at != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, at), line.size());
    words.push_back(line.substr(at, end - at));
    at = line.find_first_not_of(kBlanks, end);
  }
  return words;
}

// Empty: it is none.
std::string LowerHex(std::string_view digest) {
  if (digest.size() != kDigestBytes) return "";
  std::string hex(digest);
  for (char& c : hex) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return "";
  }
  return hex;
}

absl::Status SetLimit(std::string_view word, TenantLimits& limits) {
  const size_t equals = std::min(word.find('='), word.size());
  const std::string key(word.substr(0, equals));
  const std::string value(word.substr(std::min(equals + 1, word.size())));
  if (key == "max-in-flight" && !limits.max_in_flight.has_value()) {
    int32_t number = 0;
    if (!absl::SimpleAtoi(value, &number) || number < 1 || number > kMaxInFlight) {
      return absl::InvalidArgumentError(
          absl::StrCat("max-in-flight must be a whole number from 1 to ", kMaxInFlight));
    }
    limits.max_in_flight = number;
    return absl::OkStatus();
  }
  if (key == "requests-per-second" && !limits.requests_per_second.has_value()) {
    double rate = 0;
    if (!absl::SimpleAtod(value, &rate) || !(rate >= kMinRate && rate <= kMaxRate)) {
      return absl::InvalidArgumentError(
          absl::StrCat("requests-per-second must be from ", kMinRate, " to ", kMaxRate));
    }
    limits.requests_per_second = rate;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "after the hash come max-in-flight=N, requests-per-second=R and admin, each at most once");
}

// Messages never quote a line: it may hold a token by mistake.
absl::StatusOr<TokenEntry> ParseLine(const std::vector<std::string_view>& words) {
  TokenEntry entry;
  if (!IsTenantName(words[0])) {
    return absl::InvalidArgumentError(absl::StrCat("the name must be at most ", kMaxTenantNameBytes,
                                                   " letters, digits, '-', '_' or '.'"));
  }
  entry.tenant = std::string(words[0]);
  entry.digest = words.size() > 1 ? LowerHex(words[1]) : "";
  if (entry.digest.empty()) {
    return absl::InvalidArgumentError(
        "after the name comes the token's SHA-256, 64 hexadecimal digits (spade-client make-token "
        "writes such a line)");
  }
  for (size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "admin" && !entry.admin) {
      entry.admin = true;
      continue;
    }
    SPADE_RETURN_IF_ERROR(SetLimit(words[i], entry.limits));
  }
  return entry;
}

// What has been read, and what must hold between lines.
class Entries {
 public:
  absl::Status Add(TokenEntry entry) {
    if (entries_.size() == kMaxTokens) {
      return absl::InvalidArgumentError(absl::StrCat("at most ", kMaxTokens, " tokens"));
    }
    if (!digests_.insert(entry.digest).second) {
      return absl::InvalidArgumentError("this token is in the file already");
    }
    const auto [first, added] = limits_.emplace(entry.tenant, entry.limits);
    if (!added && first->second != entry.limits) {
      return absl::InvalidArgumentError(absl::StrCat(
          entry.tenant, " has other limits on an earlier line; all its lines must state the same"));
    }
    entries_.push_back(std::move(entry));
    return absl::OkStatus();
  }
  std::vector<TokenEntry> Take() { return std::move(entries_); }

 private:
  std::vector<TokenEntry> entries_;
  std::unordered_set<std::string> digests_;
  std::map<std::string, TenantLimits> limits_;
};

}  // namespace

absl::StatusOr<std::vector<TokenEntry>> ParseTokenFile(const std::string& path,
                                                       std::string_view text) {
  Entries entries;
  int number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    ++number;
    const std::vector<std::string_view> words = Words(line);
    if (words.empty() || words[0].starts_with('#')) continue;
    absl::StatusOr<TokenEntry> entry = ParseLine(words);
    const absl::Status status = entry.ok() ? entries.Add(*std::move(entry)) : entry.status();
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ", line ", number, ": ", status.message()));
    }
  }
  std::vector<TokenEntry> all = entries.Take();
  if (all.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": no token in it; without --token-file everybody is let in"));
  }
  return all;
}

}  // namespace spade
