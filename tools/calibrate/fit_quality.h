#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "tools/calibrate/fit_target.h"

namespace spade {

// How a layer's L-SPADE, fitted to `target`, reads what validates it: shares of answers that agree.
struct FitQuality {
  FitTarget target = FitTarget::kSpade;
  double kl_full = 0;  // mean KL(full depth || L-SPADE), nats
  double matches_full = 0;
  double matches_spade = 0;
};

// Which of a layer's fits is kept: the one nearest to full depth, the first of equals.
size_t KeptFit(std::span<const FitQuality> fits);

// Columns of a table: their titles, and a layer's, with a mark at the one that is kept.
std::string FitTitles(std::span<const FitQuality> fits);
std::string FitCells(std::span<const FitQuality> fits);

}  // namespace spade
