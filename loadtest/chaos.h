#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "loadtest/rng.h"

namespace spade::loadtest {

// What a client does wrong, on purpose.
enum class Fault : uint8_t {
  kNone,
  kCancel,      // cancels after a random time, or after the first answer
  kDeadline,    // a deadline of 0 to 5 ms
  kBurst,       // sends `burst` copies at once, more than the server's queue holds
  kInvalid,     // a request that must be refused
  kSlowReader,  // pauses before each read, with the smallest flow-control window
};
inline constexpr int kNumFaults = 6;

std::string_view FaultName(Fault fault);

// Probability of each fault; what is left is kNone.
struct ChaosMix {
  std::array<double, kNumFaults> probability{};

  // "cancel:0.2,deadline:0.1,burst:0.01,invalid:0.1,slow:0.05"; INVALID_ARGUMENT for an unknown
  // name, a probability outside [0, 1] or a sum above 1.
  static absl::StatusOr<ChaosMix> Parse(std::string_view text);

  Fault Sample(Rng& rng) const;
};

// What kInvalid sends.
enum class InvalidRequest : uint8_t {
  kGarbageBytes,
  kNoPrompt,
  kTokenOutOfRange,
  kPromptTooLong,
  kUnknownModel,
  kNanTemperature,
  kTopPOutOfRange,
  kHugeN,
  kHugeLogprobs,
  kNoLabels,
  kEmptyLabel,
  kMismatchOutOfRange,
  kPriorsOfWrongLength,
};
inline constexpr int kNumInvalidRequests = 13;

std::string_view InvalidRequestName(InvalidRequest variant);

}  // namespace spade::loadtest
