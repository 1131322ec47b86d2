#include "loadtest/chaos.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace spade::loadtest {
namespace {

constexpr std::array<std::string_view, kNumFaults> kFaultNames = {"none",  "cancel",  "deadline",
                                                                  "burst", "invalid", "slow"};
constexpr std::array<std::string_view, kNumInvalidRequests> kInvalidNames = {
    "garbage bytes",         "no prompt",
    "token id out of range", "prompt too long",
    "unknown model",         "NaN temperature",
    "top_p out of range",    "huge n",
    "huge logprobs",         "no labels",
    "empty label",           "max_mismatch out of range",
    "priors of wrong length"};

absl::Status BadMix(std::string_view entry) {
  return absl::InvalidArgumentError(
      absl::StrCat("chaos mix '", std::string(entry),
                   "': write NAME:PROBABILITY of cancel, deadline, burst, invalid, slow"));
}

}  // namespace

std::string_view FaultName(Fault fault) { return kFaultNames[static_cast<size_t>(fault)]; }

std::string_view InvalidRequestName(InvalidRequest variant) {
  return kInvalidNames[static_cast<size_t>(variant)];
}

absl::StatusOr<ChaosMix> ChaosMix::Parse(std::string_view text) {
  ChaosMix mix;
  double sum = 0;
  for (const std::string& entry :
       std::vector<std::string>(absl::StrSplit(std::string(text), ',', absl::SkipEmpty()))) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(entry, absl::MaxSplits(':', 1));
    const auto* name = std::find(kFaultNames.begin() + 1, kFaultNames.end(), parts.first);
    double probability = 0;
    if (name == kFaultNames.end() || !absl::SimpleAtod(parts.second, &probability) ||
        !(probability >= 0 && probability <= 1)) {
      return BadMix(entry);
    }
    mix.probability[name - kFaultNames.begin()] = probability;
  }
  for (double probability : mix.probability) sum += probability;
  if (sum > 1) return absl::InvalidArgumentError("the probabilities of the chaos mix exceed 1");
  return mix;
}

Fault ChaosMix::Sample(Rng& rng) const {
  double rest = rng.Uniform();
  for (int i = 1; i < kNumFaults; ++i) {
    if (rest < probability[i]) return static_cast<Fault>(i);
    rest -= probability[i];
  }
  return Fault::kNone;
}

}  // namespace spade::loadtest
