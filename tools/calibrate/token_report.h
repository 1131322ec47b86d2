#pragma once

#include <string>

#include "tools/calibrate/token_calibrator.h"

namespace spade {

// The calibration as tables for a terminal.
std::string FormatTokenResult(const TokenCalibrateResult& result);

}  // namespace spade
