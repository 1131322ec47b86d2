#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace spade {

// What one thread needs to match: PCRE2's working memory, and a time allowance, so that a pattern
// which is quadratic in the text ends in a Status and not in a hung request. One per call that
// matches; serves any number of patterns.
class MatchScratch {
 public:
  // `text_size`: bytes of the whole text that will be matched; the allowance grows with it.
  explicit MatchScratch(size_t text_size);
  ~MatchScratch();
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

 private:
  friend class Regex;
  absl::Status CheckTime(bool found);
  void GrowJitStack();

  pcre2_real_match_data_8* match_data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* jit_stack_ = nullptr;
  std::chrono::steady_clock::time_point deadline_;
  uint32_t num_calls_ = 0;
};

// A compiled pattern in Oniguruma's syntax. Immutable; matching is thread-safe with one
// MatchScratch per thread.
class Regex {
 public:
  struct Match {
    size_t begin;
    size_t end;
  };

  // INVALID_ARGUMENT for a syntax error, UNIMPLEMENTED for syntax outside TranslateOniguruma.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  // Calls `visit` with the byte range of each match in valid UTF-8 `text`, from left to right, not
  // overlapping; an empty match right after another match is left out. RESOURCE_EXHAUSTED where
  // matching takes more steps or time than the limits allow.
  absl::Status ForEachMatch(std::string_view text, MatchScratch& scratch,
                            absl::FunctionRef<void(Match)> visit) const;

 private:
  struct CodeDeleter {
    void operator()(pcre2_real_code_8* code) const;
  };

  explicit Regex(pcre2_real_code_8* code) : code_(code) {}
  absl::StatusOr<std::optional<Match>> Find(std::string_view text, size_t start,
                                            MatchScratch& scratch) const;

  std::unique_ptr<pcre2_real_code_8, CodeDeleter> code_;
};

}  // namespace spade
