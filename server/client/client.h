#pragma once

#include <iosfwd>

#include "server/client/client_options.h"

namespace spade {

// Makes the call that `options` describe: results to `out` as they arrive, errors and --stats to
// `err`. Returns the process's exit code.
int RunClient(const ClientOptions& options, std::ostream& out, std::ostream& err);

}  // namespace spade
