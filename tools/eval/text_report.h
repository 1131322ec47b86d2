#pragma once

#include <string>

#include "tools/eval/evaluation.h"

namespace spade {

// The evaluation as tables for a terminal.
std::string FormatEvaluation(const Evaluation& evaluation);

}  // namespace spade
