#pragma once

#include <cstdio>
#include <cstdlib>

// Checks for our own bugs only. What a user, a file or memory size can cause is an absl::Status.

namespace spade::internal {
[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}
}  // namespace spade::internal

#define SPADE_CHECK(condition) \
  ((condition) ? (void)0 : ::spade::internal::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define SPADE_DCHECK(condition) ((void)sizeof(!(condition)))
#else
#define SPADE_DCHECK(condition) SPADE_CHECK(condition)
#endif
