#pragma once

#include <spdlog/logger.h>

#include <memory>

#include "server/server_options.h"

namespace spade {

// Logs to stderr, as text or one JSON object a line {"time","level","message"}. Thread-safe.
std::shared_ptr<spdlog::logger> MakeLogger(const LogOptions& options);

}  // namespace spade
