#pragma once

#include <string>

#include "tools/calibrate/calibrator.h"

namespace spade {

// The calibration as tables for a terminal.
std::string FormatResult(const CalibrateResult& result);

}  // namespace spade
