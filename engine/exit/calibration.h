#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "kernels/dtype.h"

namespace spade {

// RoPE position of the answer row in the SPADE pass: its own, or 1 (right after the start token).
enum class SpadePosition { kKept, kReset };

// L-SPADE for one label set at one exit: label logits = weight * (h / rms(h)) + bias, divided by
// `temperature`; their softmax's entropy is the confidence, never the answer.
struct ExitHead {
  int32_t layer = 0;          // the exit lies after this many layers
  std::vector<float> weight;  // (labels, hidden)
  std::vector<float> bias;    // (labels)
  float temperature = 1.0f;

  // Label probabilities and their entropy in nats for a hidden state h (hidden) at this exit.
  // `probabilities`: (labels), written.
  float Entropy(std::span<const float> hidden, std::span<float> probabilities) const;
};

// What was certified for one mismatch bound: among decisions that leave at exit e because their
// entropy is below thresholds[e], P(label differs from full depth) <= max_mismatch, at
// 95 % confidence for all exits together (exact binomial on prompts not used for fitting).
struct Certificate {
  double max_mismatch = 0;
  std::vector<float> thresholds;    // (exits): leave where entropy < threshold; 0: never
  std::vector<int64_t> exited;      // (exits): certification prompts that left there
  std::vector<int64_t> mismatched;  // (exits): of them, label differed from full depth
  int64_t prompts = 0;              // certification prompts in all
  double saving = 0;  // share of their full-depth compute (layer-rows) not run, checks deducted
};

// One point of the trade between answers and compute, on the certification prompts.
struct TradePoint {
  double mismatch = 0;  // of all prompts: left, with a label that is not full depth's
  double exited = 0;    // of all prompts
  double saving = 0;    // as in Certificate
};

// What a calibration was made for, and must be used with.
struct CalibrationIdentity {
  std::string id;                   // hex digest of the content: names the certificate in answers
  std::string model_sha256;         // Checkpoint::Sha256
  std::string tokenizer_sha256;     // Tokenizer::sha256
  std::string weight_dtype;         // NameOf(dtype) the engine ran with
  Compute compute = Compute::kF32;  // the type of its products
  DType kv_dtype = DType::kF32;     // of its cache
  int32_t hidden_size = 0;
};

// Everything that early exit needs for one model and one label set, as spade-calibrate writes it.
// Immutable after loading: thread-safe.
struct Calibration : CalibrationIdentity {
  SpadePosition position = SpadePosition::kKept;
  std::vector<std::string> label_texts;
  std::vector<TokenId> label_ids;         // one token each
  std::vector<ExitHead> exits;            // ascending layers
  std::vector<Certificate> certificates;  // ascending max_mismatch
  std::vector<TradePoint> curve;          // from no exits to all; for reports only
  // Of the layers that were watched and got no exit, ascending; for reports only.
  std::vector<ExitHead> other_heads;
};

// The loosest of the certificates (ascending max_mismatch) within `max_mismatch`; nullptr if none
// is strict enough.
const Certificate* CertificateFor(const std::vector<Certificate>& certificates,
                                  double max_mismatch);

// One safetensors file with JSON metadata. INVALID_ARGUMENT names what is malformed; of a file that
// spade-calibrate made for something else, too.
absl::StatusOr<Calibration> LoadCalibration(const std::string& path);
absl::Status SaveCalibration(const Calibration& calibration, const std::string& path);

}  // namespace spade
