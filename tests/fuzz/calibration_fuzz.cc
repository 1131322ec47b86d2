#include <cstdint>
#include <span>
#include <vector>

#include "engine/exit/calibration_format.h"
#include "kernels/check.h"

// A calibration that parses must be usable by the engine as it is.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto calibration = spade::ParseCalibration(std::as_bytes(std::span(data, size)));
  if (!calibration.ok()) return 0;
  const std::vector<float> hidden(static_cast<size_t>(calibration->hidden_size), 1.0f);
  std::vector<float> probabilities(calibration->label_ids.size());
  for (const spade::ExitHead& exit : calibration->exits) exit.Entropy(hidden, probabilities);
  for (const spade::Certificate& certificate : calibration->certificates) {
    SPADE_CHECK(certificate.thresholds.size() == calibration->exits.size());
  }
  return 0;
}
