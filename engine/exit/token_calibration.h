#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/exit/calibration.h"

namespace spade {

// L-SPADE for the open vocabulary at one exit, a low-rank map of the residual stream (after
// Din et al., arXiv 2303.09435, and the Tuned Lens, arXiv 2303.08112): of a hidden state h,
//   x = final_norm(h + up * (down * h))
//   logits = (candidate rows of the model's head) * x, and other * x + other_bias
// all divided by `temperature`. `other` stands for every token that is no candidate. The entropy of
// their softmax is the confidence; the best candidate is the early token.
struct TokenExit {
  int32_t layer = 0;         // the exit lies after this many layers
  std::vector<float> down;   // (rank, hidden)
  std::vector<float> up;     // (hidden, rank)
  std::vector<float> other;  // (hidden)
  float other_bias = 0;
  float temperature = 1.0f;
};

// What drafting at one exit may expect: of the tokens whose entropy is below `threshold`, which are
// `share` of all, `agreement` are full depth's. For tokens that are verified: no guarantee.
struct DraftPoint {
  float threshold = 0;
  double share = 0;
  double agreement = 0;
};

// Everything that early exit needs to generate with one model, as spade-calibrate --generate writes
// it. A certificate's counts are of tokens drawn greedily, one a prompt. Immutable after loading:
// thread-safe.
struct TokenCalibration : CalibrationIdentity {
  int32_t rank = 0;
  std::vector<TokenId> candidates;              // ascending
  std::vector<TokenExit> exits;                 // ascending layers
  std::vector<std::vector<DraftPoint>> drafts;  // (exits): ascending thresholds
  std::vector<Certificate> certificates;        // ascending max_mismatch; per exit
};

// As LoadCalibration and SaveCalibration.
absl::StatusOr<TokenCalibration> LoadTokenCalibration(const std::string& path);
absl::Status SaveTokenCalibration(const TokenCalibration& calibration, const std::string& path);

// Either kind.
using AnyCalibration = std::variant<Calibration, TokenCalibration>;
absl::StatusOr<AnyCalibration> LoadAnyCalibration(const std::string& path);

}  // namespace spade
