#include "tools/calibrate/fit_quality.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace spade {

size_t KeptFit(std::span<const FitQuality> fits) {
  return static_cast<size_t>(std::ranges::min_element(fits, {}, &FitQuality::kl_full) -
                             fits.begin());
}

std::string FitTitles(std::span<const FitQuality> fits) {
  std::string titles;
  for (const FitQuality& fit : fits) {
    absl::StrAppendFormat(
        &titles, "  %20s",
        fit.target == FitTarget::kSpade ? "fitted to SPADE   KL" : "to full depth   KL");
  }
  return titles;
}

std::string FitCells(std::span<const FitQuality> fits) {
  std::string cells;
  for (size_t i = 0; i < fits.size(); ++i) {
    const bool is_kept = fits.size() > 1 && i == KeptFit(fits);
    absl::StrAppendFormat(&cells, "  %s%5.3f/%5.3f %6.4f", is_kept ? ">" : " ",
                          fits[i].matches_full, fits[i].matches_spade, fits[i].kl_full);
  }
  return cells;
}

}  // namespace spade
