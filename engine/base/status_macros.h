#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expression` from the calling function unless it is OK.
#define SPADE_RETURN_IF_ERROR(expression)                   \
  do {                                                      \
    if (absl::Status status = (expression); !status.ok()) { \
      return status;                                        \
    }                                                       \
  } while (false)

#define SPADE_CONCAT_INNER(a, b) a##b
#define SPADE_CONCAT(a, b) SPADE_CONCAT_INNER(a, b)
#define SPADE_ASSIGN_OR_RETURN_INNER(temporary, target, expression) \
  auto temporary = (expression);                                    \
  if (!temporary.ok()) return std::move(temporary).status();        \
  target = *std::move(temporary)

// Assigns the value of a StatusOr expression to `target`, or returns its status.
#define SPADE_ASSIGN_OR_RETURN(target, expression) \
  SPADE_ASSIGN_OR_RETURN_INNER(SPADE_CONCAT(status_or_, __LINE__), target, expression)
