#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/tokenizer/regex_syntax.h"

namespace spade {
namespace {

constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kDepthLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 64 << 10;
constexpr size_t kJitStackBytes = size_t{8} << 20;
// Start positions that one PCRE2 call may try, so that the clock is read between calls.
constexpr size_t kStartsPerCall = 512;
constexpr uint32_t kCallsPerClockRead = 64;
constexpr std::chrono::milliseconds kBaseAllowance{2000};
constexpr std::chrono::nanoseconds kAllowancePerByte{4000};

std::string ErrorText(int code) {
  std::array<PCRE2_UCHAR, 256> buffer;
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

MatchScratch::MatchScratch(size_t text_size)
    : match_data_(pcre2_match_data_create(/*ovecsize=*/1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      deadline_(std::chrono::steady_clock::now() + kBaseAllowance + text_size * kAllowancePerByte) {
  if (context_ == nullptr) return;  // Find reports it
  pcre2_set_match_limit(context_, kMatchLimit);
  pcre2_set_depth_limit(context_, kDepthLimit);
  pcre2_set_heap_limit(context_, kHeapLimitKib);
}

MatchScratch::~MatchScratch() {
  pcre2_jit_stack_free(jit_stack_);
  pcre2_match_context_free(context_);
  pcre2_match_data_free(match_data_);
}

absl::Status MatchScratch::CheckTime(bool found) {
  // Calls without a match may have run far; of those with one there are many.
  if (found && ++num_calls_ % kCallsPerClockRead != 0) return absl::OkStatus();
  if (std::chrono::steady_clock::now() < deadline_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      "the tokenizer's regular expressions take too long on this text; shorten the text");
}

void MatchScratch::GrowJitStack() {
  jit_stack_ = pcre2_jit_stack_create(kJitStackBytes / 64, kJitStackBytes, nullptr);
  pcre2_jit_stack_assign(context_, nullptr, jit_stack_);
}

void Regex::CodeDeleter::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  SPADE_ASSIGN_OR_RETURN(const std::string translated, TranslateOniguruma(pattern));
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
      &error, &error_offset, context.get());
  if (code == nullptr) {
    return absl::InvalidArgumentError(StrCat("regular expression '", pattern,
                                             "': ", ErrorText(error), " (translated to '",
                                             translated, "', offset ", error_offset, ")"));
  }
  // Without JIT support the same code runs interpreted.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return Regex(code);
}

absl::StatusOr<std::optional<Regex::Match>> Regex::Find(std::string_view text, size_t start,
                                                        MatchScratch& scratch) const {
  if (scratch.match_data_ == nullptr || scratch.context_ == nullptr) {
    return absl::ResourceExhaustedError("no memory to match a regular expression");
  }
  while (start <= text.size()) {
    size_t last_start = std::min(start + kStartsPerCall, text.size());
    while (last_start < text.size() && (text[last_start] & 0xC0) == 0x80) ++last_start;
    pcre2_set_offset_limit(scratch.context_, last_start);
    const int result =
        pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start,
                    PCRE2_NO_UTF_CHECK, scratch.match_data_, scratch.context_);
    SPADE_RETURN_IF_ERROR(scratch.CheckTime(/*found=*/result >= 0));
    if (result >= 0) {
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(scratch.match_data_);
      return Match{range[0], std::max(range[0], range[1])};
    }
    if (result == PCRE2_ERROR_JIT_STACKLIMIT && scratch.jit_stack_ == nullptr) {
      scratch.GrowJitStack();
      if (scratch.jit_stack_ != nullptr) continue;
    }
    if (result != PCRE2_ERROR_NOMATCH) {
      return absl::ResourceExhaustedError(
          StrCat("the tokenizer's regular expression failed on this text: ", ErrorText(result),
                 "; shorten the text"));
    }
    if (last_start == text.size()) break;
    start = last_start + FirstChar(text.substr(last_start)).length;
  }
  return std::nullopt;
}

absl::Status Regex::ForEachMatch(std::string_view text, MatchScratch& scratch,
                                 absl::FunctionRef<void(Match)> visit) const {
  size_t start = 0;
  std::optional<size_t> last_end;
  while (start <= text.size()) {
    SPADE_ASSIGN_OR_RETURN(const std::optional<Match> match, Find(text, start, scratch));
    if (!match.has_value()) break;
    if (match->begin == match->end && last_end == match->end) {
      start = match->end + (match->end < text.size() ? FirstChar(text.substr(start)).length : 1);
      continue;
    }
    visit(*match);
    start = match->end;
    last_end = match->end;
  }
  return absl::OkStatus();
}

}  // namespace spade
