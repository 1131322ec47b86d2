// StepRunner at a boundary between two stages: who leaves, who joins.
#include <algorithm>
#include <functional>
#include <optional>

#include "engine/runtime/step_rows.h"
#include "engine/runtime/step_runner.h"

namespace spade {
namespace {

// The exit (index) after `layer` layers that the item's decision probes; nullopt: none.
std::optional<int32_t> ProbeAt(const StepItem& item, int32_t layer) {
  if (item.generated != nullptr || !item.rows.samples) return std::nullopt;
  const DecisionState& decision = *item.request->decision;
  if (!decision.probes()) return std::nullopt;
  const std::vector<ExitHead>& exits = decision.permit().calibration->exits;
  const auto exit = std::ranges::find(exits, layer, &ExitHead::layer);
  if (exit == exits.end()) return std::nullopt;
  return static_cast<int32_t>(exit - exits.begin());
}

bool HasParkedAt(const StepItem& item, int32_t boundary) {
  EarlyTokens* const early = EarlyOf(item);
  return early != nullptr && !early->parked().empty() &&
         early->parked().back().boundary == boundary;
}

}  // namespace

void StepRunner::CrossBoundary(int32_t boundary, std::span<StepItem> items) {
  if (!options_.early_exit) return;
  const int32_t layer = model_->stage(boundary - 1).last;
  if (!resuming_) {
    AskDecisions(layer, items);
    if (exits_ != nullptr) AskTokens(boundary, layer, items);
    DecideHolds(boundary, items);
  }
  if (Changes(boundary, items)) Regroup(boundary, items);
}

// ---- Who leaves

// The hidden states of rows_, together.
Tensor StepRunner::GatherAnswers() {
  const Tensor answers{answers_.data(), static_cast<int64_t>(rows_.size()),
                       model_->config().hidden_size, DType::kF32};
  backend_->GatherRows(model_->hidden(), rows_, answers);
  return answers;
}

void StepRunner::AskDecisions(int32_t layer, std::span<StepItem> items) {
  rows_.clear();
  candidates_.clear();
  int32_t row = 0;
  for (const Rider& rider : riders_) {
    row += rider.count;
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    if (item.generated != nullptr || !item.rows.samples || item.sequence->fills_cache) continue;
    if (!item.request->decision->may_exit()) continue;
    rows_.push_back(row - 1);
    candidates_.push_back(rider.item);
  }
  if (rows_.empty()) return;
  const float* hidden = backend_->HostView(GatherAnswers());
  const auto hidden_size = static_cast<size_t>(model_->config().hidden_size);
  const auto try_exit = [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    items[static_cast<size_t>(candidates_[index])].request->decision->TryExit(
        layer, std::span(hidden + index * hidden_size, hidden_size), rules_.guards());
  };
  backend_->ParallelFor(static_cast<int64_t>(rows_.size()), std::ref(try_exit));
}

void StepRunner::AskTokens(int32_t boundary, int32_t layer, std::span<StepItem> items) {
  rows_.clear();
  candidates_.clear();
  guesses_.clear();
  offers_.clear();
  int32_t row = 0;
  for (const Rider& rider : riders_) {
    row += rider.count;
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    if (item.generated == nullptr || !item.rows.samples) continue;
    const EarlyTokens* early = item.generated->early();
    if (early == nullptr || early->taken() || !item.generated->MayExit(rider.end() - 1)) continue;
    const ExitOffer offer = rules_.OfferTo(*early, boundary, layer);
    if (offer.threshold <= 0 || early->num_in_row() >= offer.max_in_row) continue;
    rows_.push_back(row - 1);
    candidates_.push_back(rider.item);
    TokenGuess& guess = guesses_.emplace_back();
    guess.sequence = item.rows.sequence;
    guess.position = rider.end() - 1;
    guess.draw = item.generated->GuessQuery(guess.position);
    offers_.push_back(offer);
  }
  if (rows_.empty()) return;
  const Backend::TimeMark begin = backend_->MarkTime();
  exits_->Guess(layer, GatherAnswers(), guesses_);
  const auto count = static_cast<int64_t>(rows_.size());
  NoteSpan(model_->num_stages() + kCheckCost, count, begin);
  const int64_t lanes = std::min(kSamplerLanes, count);
  const auto try_exits = [&](int64_t lane) {
    for (auto i = static_cast<size_t>(lane); i < rows_.size(); i += static_cast<size_t>(lanes)) {
      items[static_cast<size_t>(candidates_[i])].generated->TryExit(
          offers_[i], guesses_[i], exits_->candidates(), scratch_[static_cast<size_t>(lane)]);
    }
  };
  backend_->ParallelFor(lanes, std::ref(try_exits));
  if (!sample_shadow_) return;
  for (const int32_t candidate : candidates_) {
    EarlyTokens& early = *items[static_cast<size_t>(candidate)].generated->early();
    if (early.taken() && !early.drafts() && sample_shadow_()) early.ShadowTaken();
  }
}

// ---- The batch beyond the boundary

bool StepRunner::Changes(int32_t boundary, std::span<const StepItem> items) const {
  if (!resuming_ && (holds_here_ || releases_here_)) return true;
  const int32_t layer = model_->stage(boundary - 1).last;
  for (const Rider& rider : riders_) {
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    if (resuming_) continue;
    if (LeftAsDecision(item) || LeavesAt(item, boundary) || HasParkedAt(item, boundary) ||
        ProbeAt(item, layer)) {
      return true;
    }
  }
  if (!resuming_) return false;
  return std::ranges::any_of(
      parked_decisions_, [&](const ParkedDecision& parked) { return parked.boundary == boundary; });
}

void StepRunner::Regroup(int32_t boundary, std::span<StepItem> items) {
  for (auto* list : {&park_rows_, &park_slots_, &joined_slots_, &spade_rows_, &spade_positions_}) {
    list->clear();
  }
  next_riders_.clear();
  regrouping_.Begin(batch_);
  if (resuming_) {
    RegroupResumed(boundary);
    return;
  }
  if (releases_here_) ReleaseHeld(boundary, items);
  int32_t row = 0;
  for (Rider rider : riders_) {
    StepItem& item = items[static_cast<size_t>(rider.item)];
    const int32_t first_row = row;
    row += rider.count;
    int32_t staying = rider.count;
    if (LeftAsDecision(item)) {
      LeaveAsSpade(rider, first_row, boundary, item);
      continue;
    }
    if (LeavesAt(item, boundary)) {
      LeaveEarly(rider, first_row, boundary, item);
      staying = rider.count;
    } else if (holds_here_ && MayWait(item)) {
      HoldBack(rider, first_row, boundary, item);
      continue;
    } else {
      JoinParked(rider, boundary, item);
    }
    Probe(rider, first_row, boundary, item);
    for (int32_t i = 0; i < staying; ++i) regrouping_.Stay(first_row + i);
    if (rider.count > 0) next_riders_.push_back(rider);
  }
  for (; row < batch_.rows(); ++row) regrouping_.Stay(row);
  for (size_t i = 0; i < spade_rows_.size(); ++i) {
    regrouping_.BecomeSpade(spade_rows_[i], spade_positions_[i]);
  }
  // What leaves is copied out before what joins is copied in; only then are its slots free.
  if (!park_rows_.empty()) model_->Park(park_rows_, park_slots_, parking_.rows());
  FinishRegrouping();
}

void StepRunner::FinishRegrouping() {
  model_->Regroup(regrouping_, batch_, parking_.rows());
  for (const int32_t slot : joined_slots_) parking_.Give(slot);
  std::swap(riders_, next_riders_);
}

// All stay, and the decisions that were parked here join; the scratch's after the pool's.
void StepRunner::RegroupResumed(int32_t boundary) {
  for (const bool scratch : {false, true}) {
    int32_t row = 0;
    for (const Rider& rider : riders_) {
      const int32_t first_row = row;
      row += rider.count;
      if (batch_.IsScratch(rider.table) != scratch) continue;
      for (int32_t i = 0; i < rider.count; ++i) regrouping_.Stay(first_row + i);
      next_riders_.push_back(rider);
    }
    JoinDecisions(boundary, scratch);
  }
  FinishRegrouping();
}

ParkedRow StepRunner::Park(const Rider& rider, int32_t first_row, int32_t offset) {
  const int32_t row = first_row + offset;
  const int32_t slot = parking_.Take();
  park_rows_.push_back(row);
  park_slots_.push_back(slot);
  return {batch_.ids[static_cast<size_t>(row)], rider.first + offset, slot};
}

// A copy of the answer row goes on as a SPADE row, beside the prompt's rows.
void StepRunner::Probe(const Rider& rider, int32_t first_row, int32_t boundary,
                       const StepItem& item) {
  const std::optional<int32_t> exit = ProbeAt(item, model_->stage(boundary - 1).last);
  if (!exit) return;
  spade_rows_.push_back(first_row + rider.count - 1);
  spade_positions_.push_back(item.request->decision->spade_position(rider.end() - 1));
  spades_.push_back({rider.item, *exit});
}

// The answer row becomes a SPADE row; the prompt's rows are parked or dropped.
void StepRunner::LeaveAsSpade(const Rider& rider, int32_t first_row, int32_t boundary,
                              StepItem& item) {
  DecisionState& decision = *item.request->decision;
  spade_rows_.push_back(first_row + rider.count - 1);
  spade_positions_.push_back(decision.spade_position(rider.end() - 1));
  spades_.push_back({rider.item, -1});
  RemovedBy(item) += rider.count - 1;
  item.parked = decision.parks();
  if (!item.parked) return;
  ParkedDecision& parked = parked_decisions_.emplace_back();
  parked.item = rider.item;
  parked.boundary = boundary;
  for (int32_t i = 0; i < rider.count; ++i) parked.rows.push_back(Park(rider, first_row, i));
}

// A decoding sequence's rows all wait here. Of a prefill (after a preemption) only the newest does:
// the others go on, as they would have if there had been no preemption.
void StepRunner::LeaveEarly(Rider& rider, int32_t first_row, int32_t boundary,
                            const StepItem& item) {
  std::vector<ParkedToken>& parked = item.generated->early()->parked();
  const int32_t staying = item.rows.count == 1 ? 0 : rider.count - 1;
  for (int32_t i = staying; i < rider.count; ++i) {
    parked.push_back({Park(rider, first_row, i), boundary});
  }
  RemovedBy(item) += rider.count - staying;
  rider.count = staying;
  rider.wanted = std::max(0, rider.wanted - 1);
}

// The rows that wait here run just before those that come by (I2). The last of them is wanted where
// it is the newest itself.
void StepRunner::JoinParked(Rider& rider, int32_t boundary, const StepItem& item) {
  if (!HasParkedAt(item, boundary)) return;
  std::vector<ParkedToken>& parked = item.generated->early()->parked();
  auto first = parked.end();
  while (first != parked.begin() && std::prev(first)->boundary == boundary) --first;
  const auto count = static_cast<int32_t>(parked.end() - first);
  SPADE_DCHECK(first->row.position + count == rider.first);
  int32_t wanted = rider.count == 0 ? 1 : 0;
  if (item.generated->early()->drafts()) wanted = count;
  for (auto joining = first; joining != parked.end(); ++joining) {
    regrouping_.Join(joining->row, rider.table, parked.end() - joining <= wanted);
    joined_slots_.push_back(joining->row.slot);
  }
  RemovedBy(item) -= count;
  sample_.deferred_rows += rider.count == 0 ? count - 1 : count;
  rider.first -= count;
  rider.count += count;
  rider.wanted += wanted;
  parked.erase(first, parked.end());
}

void StepRunner::JoinDecisions(int32_t boundary, bool scratch) {
  for (const ParkedDecision& parked : parked_decisions_) {
    if (parked.boundary != boundary) continue;
    if (batch_.IsScratch(parked.table) != scratch) continue;
    const auto count = static_cast<int32_t>(parked.rows.size());
    for (const ParkedRow& row : parked.rows) {
      regrouping_.Join(row, parked.table, /*wants_output=*/&row == &parked.rows.back());
      joined_slots_.push_back(row.slot);
    }
    next_riders_.push_back({parked.item, parked.table, parked.rows.front().position, count, 1});
    removed_[static_cast<size_t>(ExitMode::kVerified)] -= count;
    sample_.deferred_rows += count;
  }
}

}  // namespace spade
