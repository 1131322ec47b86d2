#include "tests/bench/exit_run.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <utility>

namespace spade::bench {
namespace {

void DieUnlessOk(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "a request failed: %s\n", status.ToString().c_str());
  std::exit(1);
}

// How many more requests may be sent.
class Places {
 public:
  explicit Places(int32_t count) : free_(count) {}
  void Take(int32_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return free_ >= count; });
    free_ -= count;
  }
  void Give() {
    std::lock_guard lock(mutex_);
    ++free_;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int32_t free_;
};

class GenerateReply final : public GenerateSink {
 public:
  GenerateReply(Places* places, Reply* reply) : places_(*places), reply_(*reply) {}
  void OnDelta(GenerateDelta delta) override {
    for (const SampledToken& token : delta.tokens) reply_.tokens.push_back(token.id);
    if (!delta.finish || !delta.finish->early) return;
    reply_.layer_rows_saved = delta.finish->early->layer_rows_saved;
    reply_.layer_rows_full = delta.finish->early->layer_rows_full;
  }
  void OnDone(const absl::Status& status) override {
    DieUnlessOk(status);
    places_.Give();
  }

 private:
  Places& places_;
  Reply& reply_;
};

class DecideReply final : public DecideSink {
 public:
  DecideReply(Places* places, Reply* reply) : places_(*places), reply_(*reply) {}
  void OnDecision(DecisionKind kind, const Decision& decision) override {
    if (kind == DecisionKind::kEarly) return;
    reply_.label = decision.label;
    reply_.probabilities = decision.probabilities;
    reply_.exit_layer = decision.exit_layer;
    reply_.layer_rows_saved = decision.layer_rows_saved;
    reply_.layer_rows_full = decision.layer_rows_full;
  }
  void OnDone(const absl::Status& status) override {
    DieUnlessOk(status);
    places_.Give();
  }

 private:
  Places& places_;
  Reply& reply_;
};

}  // namespace

template <typename Sink, typename Submit>
double ExitRun::Run(int32_t count, const Submit& submit, std::vector<Reply>* replies) {
  replies->assign(static_cast<size_t>(count), {});
  Places places(in_flight_);
  const auto begin = std::chrono::steady_clock::now();
  for (int32_t i = 0; i < count; ++i) {
    places.Take(1);
    DieUnlessOk(
        submit(i, std::make_shared<Sink>(&places, &(*replies)[static_cast<size_t>(i)])).status());
  }
  places.Take(in_flight_);  // all are back
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double ExitRun::Generate(int32_t count, const std::function<GenerateRequest(int32_t)>& request,
                         std::vector<Reply>* replies) {
  const auto submit = [&](int32_t i, std::shared_ptr<GenerateSink> sink) {
    return engine_.Generate(request(i), std::move(sink));
  };
  return Run<GenerateReply>(count, submit, replies);
}

double ExitRun::Decide(int32_t count, const std::function<DecideRequest(int32_t)>& request,
                       std::vector<Reply>* replies) {
  const auto submit = [&](int32_t i, std::shared_ptr<DecideSink> sink) {
    return engine_.Decide(request(i), std::move(sink));
  };
  return Run<DecideReply>(count, submit, replies);
}

}  // namespace spade::bench
