#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/exit/token_calibration.h"
#include "engine/model/regrouping.h"
#include "engine/runtime/request.h"

namespace spade {

// Rows of one sequence that may wait at exits, whatever the options (see MaxParked).
inline constexpr int32_t kMostParked = 15;

// What permits a generation to leave early.
struct TokenPermit {
  const TokenCalibration* calibration = nullptr;
  const Certificate* certificate = nullptr;  // FAST only
};

// An exit a row is at: what would be gained by leaving there.
struct ExitOffer {
  int32_t boundary = 0;    // stages the row has run
  int32_t layer = 0;       // layers it has run
  float threshold = 0;     // leave where the entropy is below
  int32_t max_in_row = 0;  // leave only with fewer exits since the last token of full depth
};

struct TokenExitTaken {
  ExitOffer offer;
  TokenId token = 0;
  float entropy = 0;
  bool is_shadowed = false;  // the row goes on all the same, to be compared
};

// A row that left at a boundary and goes deeper with the first later row that does.
struct ParkedToken {
  ParkedRow row;
  int32_t boundary = 0;
};

// A row that goes deeper, and waits at a boundary for others that do (HoldPolicy).
struct HeldRow {
  int32_t boundary = 0;
  Clock::time_point since;
};

// The early exits of one generated sequence; EXACT sequences have none. Owned by the loop.
class EarlyTokens {
 public:
  // `permit` outlives this.
  EarlyTokens(ExitMode mode, TokenPermit permit) : mode_(mode), permit_(permit) {
    parked_.reserve(kMostParked + 1);
  }

  // VERIFIED: early tokens are drafts until their rows have run to full depth.
  bool drafts() const { return mode_ == ExitMode::kVerified; }
  ExitMode mode() const { return mode_; }
  const TokenPermit& permit() const { return permit_; }

  // The exit taken in this step, if one was.
  const std::optional<TokenExitTaken>& taken() const { return taken_; }
  void BeginStep() { taken_.reset(); }
  void Take(const TokenExitTaken& taken) {
    taken_ = taken;
    ++num_in_row_;
    ++stats_.exited;
  }
  void ShadowTaken() { taken_->is_shadowed = true; }
  // A token came from full depth.
  void EndRun() { num_in_row_ = 0; }
  // Exits since then. Kept over preemption, so that the sequence leaves where it would have.
  int32_t num_in_row() const { return num_in_row_; }

  // Full depth accepted `accepted` of `drafted` drafts, up to position `end`. Where most failed,
  // the sequence drafts nothing for a while, twice as long each time on end: what it writes now is
  // not what drafting is good at.
  void OnVerified(int32_t drafted, int32_t accepted, int32_t end) {
    stats_.accepted += accepted;
    if (2 * accepted >= drafted) {
      pause_ = 0;
    } else {
      pause_ = std::clamp(2 * pause_, 1, kLongestPause);
      resumes_at_ = end + pause_;
    }
  }
  // Position from which on the sequence may draft.
  int32_t resumes_at() const { return resumes_at_; }
  // Without the layer-rows.
  const EarlyTokenStats& stats() const { return stats_; }

  // Ascending positions; boundaries never ascend (I1).
  std::vector<ParkedToken>& parked() { return parked_; }
  // The newest row, the last of parked(), waits for others to go deeper with: it gave no token yet.
  const std::optional<HeldRow>& held() const { return held_; }
  void Hold(const HeldRow& row) { held_ = row; }
  void Release() { held_.reset(); }

 private:
  static constexpr int32_t kLongestPause = 64;  // tokens

  const ExitMode mode_;
  const TokenPermit permit_;
  std::optional<TokenExitTaken> taken_;
  int32_t num_in_row_ = 0;
  EarlyTokenStats stats_;
  int32_t pause_ = 0;
  int32_t resumes_at_ = 0;
  std::vector<ParkedToken> parked_;
  std::optional<HeldRow> held_;
};

}  // namespace spade
