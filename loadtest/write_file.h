#pragma once

#include <string>

#include "absl/status/status.h"

namespace spade::loadtest {

// UNAVAILABLE if the file cannot be written whole.
absl::Status WriteFile(const std::string& path, const std::string& text);

}  // namespace spade::loadtest
