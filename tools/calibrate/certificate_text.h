#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/exit/calibration.h"
#include "engine/exit/choose_exits.h"

namespace spade {

// What a certificate allows and what it was seen to do. `layers`: of its exits; `units`: what its
// counts count; `effect`: what its saving is a share of.
std::string FormatCertificate(const Certificate& certificate, std::span<const int32_t> layers,
                              const std::string& units, const std::string& effect);

// Where the exits lie, what they are predicted to save, and why there are not more.
std::string FormatChoice(const ExitChoice& choice, std::span<const int32_t> layers,
                         const std::string& effect);

}  // namespace spade
