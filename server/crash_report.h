#pragma once

#include <string_view>

#include "engine/runtime/step_facts.h"

namespace spade {

// What the process says to stderr, before it dies of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT (a
// failed check, memory that ran out): version, model, uptime, and where the engine's loop was. One
// line; nothing of any request. The signal then takes its course, with a core dump where those are
// on. The handler calls async-signal-safe functions only.
namespace crash_report {

// Installs the handlers, on a stack of their own for this thread. Once, at the start.
void Install(std::string_view version, std::string_view model);
// The engine is there, or (null) is about to go. `facts` lives until then.
void SetEngine(const StepFacts* facts);

}  // namespace crash_report
}  // namespace spade
