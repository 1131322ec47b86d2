#include "engine/runtime/shadow_checks.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spade {
namespace {

constexpr size_t kMostWaiting = 64;

// Nobody waits for a check's answer.
class NoSink final : public DecideSink {
 public:
  void OnDecision(DecisionKind, const Decision&) override {}
  void OnDone(const absl::Status&) override {}
};

int32_t Best(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace

ShadowChecks::ShadowChecks(double share, int32_t num_layers, ExitRules* rules, ExitMetrics* metrics)
    : share_(share), num_layers_(num_layers), rules_(*rules), metrics_(*metrics) {}

void ShadowChecks::Report(const Certificate* certificate, size_t exit, int32_t layer, bool agreed) {
  const ExitGuards::State state = rules_.guards().Observe(certificate, exit, !agreed);
  const bool breached = state.action != ExitGuards::Action::kNone;
  metrics_.OnShadow(
      {layer, certificate->max_mismatch, agreed, state.lower, state.upper, breached, state.closed});
  if (!breached) return;
  spdlog::warn("early exit breaks its certified bound: {} layer={} max_mismatch={}",
               state.closed ? "the exit is closed" : "its threshold is halved", layer,
               certificate->max_mismatch);
}

void ShadowChecks::OnToken(const EarlyTokens& early, const TokenExitTaken& exit, TokenId full) {
  const std::vector<TokenExit>& exits = early.permit().calibration->exits;
  const auto place = std::ranges::find(exits, exit.offer.layer, &TokenExit::layer);
  Report(early.permit().certificate, static_cast<size_t>(place - exits.begin()), exit.offer.layer,
         exit.token == full);
}

void ShadowChecks::Enqueue(const DecisionState& state, const Decision& answer) {
  if (waiting_.size() >= kMostWaiting) return;
  Waiting check{state.request(), state.permit(),          state.exit(),
                answer.label,    answer.layer_rows_saved, answer.layer_rows_full};
  check.request.mode = ExitMode::kExact;
  check.request.context.id = absl::StrCat("shadow-", check.request.context.id);
  check.request.context.deadline.reset();
  waiting_.push_back(std::move(check));
}

std::unique_ptr<RequestState> ShadowChecks::Start() {
  if (running_ || waiting_.empty()) return nullptr;
  running_ = std::move(waiting_.front());
  waiting_.pop_front();
  auto request = std::make_unique<RequestState>();
  request->is_shadow = true;
  request->decision = std::make_unique<DecisionState>(running_->request, std::make_shared<NoSink>(),
                                                      running_->permit);
  request->decision->ProbeExits();
  return request;
}

void ShadowChecks::Finish(const DecisionState& state, bool answered) {
  const Waiting check = *std::exchange(running_, std::nullopt);
  if (!answered) return;
  const int32_t full = Best(state.label_logits());
  if (check.exit) {
    Report(check.permit.certificate, check.exit->index, check.exit->layer, check.label == full);
  }
  metrics_.OnShadowCompute(
      {check.layer_rows_saved, OracleSaving(state, full), check.layer_rows_full});
}

// Layer-rows saved by leaving at the first exit from which on every SPADE answer is full depth's.
double ShadowChecks::OracleSaving(const DecisionState& state, int32_t full_label) const {
  const std::vector<ExitHead>& exits = state.permit().calibration->exits;
  int32_t layer = num_layers_;
  for (size_t exit = exits.size(); exit-- > 0;) {
    if (Best(state.probe_logits(exit)) != full_label) break;
    layer = exits[exit].layer;
  }
  const int32_t rows = state.climbing_rows() - 1;
  return static_cast<double>(std::max(rows, 0)) * std::max(0, num_layers_ - 1 - layer);
}

}  // namespace spade
