#include "engine/model/rope.h"

#include <cmath>
#include <numbers>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;

absl::StatusOr<RopeScaling> ParseLlama3(const JsonFields& fields, int32_t max_positions) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::kLlama3;
  SPADE_ASSIGN_OR_RETURN(scaling.factor, fields.Number("factor", 1, kMaxFactor));
  SPADE_ASSIGN_OR_RETURN(scaling.low_freq_factor,
                         fields.Number("low_freq_factor", 1e-6, kMaxFactor));
  SPADE_ASSIGN_OR_RETURN(scaling.high_freq_factor,
                         fields.Number("high_freq_factor", 1e-6, kMaxFactor));
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    return absl::InvalidArgumentError("config.json: high_freq_factor must exceed low_freq_factor");
  }
  SPADE_ASSIGN_OR_RETURN(const int64_t original, fields.IntOr("original_max_position_embeddings",
                                                              max_positions, 1, int64_t{1} << 30));
  scaling.original_max_position = static_cast<int32_t>(original);
  return scaling;
}

absl::StatusOr<RopeScaling> ParseScaling(const JsonFields& fields, int32_t max_positions) {
  SPADE_ASSIGN_OR_RETURN(const std::string old_name, fields.TextOr("type", "default"));
  SPADE_ASSIGN_OR_RETURN(const std::string kind, fields.TextOr("rope_type", old_name));
  if (kind == "default") return RopeScaling{};
  if (kind == "llama3") return ParseLlama3(fields, max_positions);
  if (kind != "linear") {
    return absl::UnimplementedError(
        absl::StrCat("config.json: rope_scaling of type ", kind,
                     " is not supported; default, linear and llama3 are"));
  }
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::kLinear;
  SPADE_ASSIGN_OR_RETURN(scaling.factor, fields.Number("factor", 1, kMaxFactor));
  return scaling;
}

// Llama 3.1's rule: long wavelengths are stretched by `factor`, short ones are left alone, and
// those between blend from one to the other.
double Llama3Frequency(const RopeScaling& scaling, double frequency) {
  const double turns = scaling.original_max_position * frequency / (2 * std::numbers::pi);
  if (turns > scaling.high_freq_factor) return frequency;
  if (turns < scaling.low_freq_factor) return frequency / scaling.factor;
  const double blend =
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - blend) * frequency / scaling.factor + blend * frequency;
}

double Scaled(const RopeScaling& scaling, double frequency) {
  switch (scaling.kind) {
    case RopeScaling::Kind::kNone:
      return frequency;
    case RopeScaling::Kind::kLinear:
      return frequency / scaling.factor;
    case RopeScaling::Kind::kLlama3:
      return Llama3Frequency(scaling, frequency);
  }
  return frequency;
}

}  // namespace

absl::StatusOr<RopeParameters> ParseRope(const JsonFields& config, int32_t max_positions) {
  RopeParameters rope;
  SPADE_ASSIGN_OR_RETURN(rope.theta, config.NumberOr("rope_theta", rope.theta, 1, kMaxTheta));
  const bool new_layout = config.Has("rope_parameters");
  SPADE_ASSIGN_OR_RETURN(const std::optional<JsonFields> fields,
                         config.Object(new_layout ? "rope_parameters" : "rope_scaling"));
  if (!fields.has_value()) return rope;
  if (fields->HasNestedObjects()) {
    return absl::UnimplementedError("config.json: rope_parameters per kind of layer");
  }
  SPADE_ASSIGN_OR_RETURN(rope.theta, fields->NumberOr("rope_theta", rope.theta, 1, kMaxTheta));
  SPADE_ASSIGN_OR_RETURN(const double rotated, fields->NumberOr("partial_rotary_factor", 1, 0, 1));
  if (rotated != 1) return absl::UnimplementedError("config.json: partial_rotary_factor below 1");
  SPADE_ASSIGN_OR_RETURN(rope.scaling, ParseScaling(*fields, max_positions));
  return rope;
}

std::vector<float> InverseFrequencies(const ModelConfig& config) {
  std::vector<float> frequencies;
  for (int32_t i = 0; i < config.head_dim / 2; ++i) {
    const double frequency = std::pow(config.rope_theta, -2.0 * i / config.head_dim);
    frequencies.push_back(static_cast<float>(Scaled(config.rope_scaling, frequency)));
  }
  return frequencies;
}

}  // namespace spade
