#pragma once

#include <string>

#include "tools/eval/evaluation.h"

namespace spade {

// The evaluation as one page that needs nothing else: styles and charts are inline.
std::string RenderHtml(const Evaluation& evaluation);

}  // namespace spade
