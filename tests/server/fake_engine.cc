#include "tests/server/fake_engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "kernels/check.h"

namespace spade {

FakeEngine::FakeEngine(FakeEngineOptions options) : options_(options) {
  const auto json =
      ReadTextFile(std::string(SPADE_SOURCE_DIR) + "/models/tickets-5m/tokenizer.json", 1 << 24);
  SPADE_CHECK(json.ok());
  tokenizer_ = *Tokenizer::Parse(*json);
  info_.config.architecture_name = "FakeForCausalLM";
  info_.config.num_layers = 12;
  info_.config.vocab_size = 4096;
  info_.max_context = 256;
  info_.device = "fake";
  thread_ = std::thread([this] { Run(); });
}

FakeEngine::~FakeEngine() {
  Drain(std::chrono::milliseconds(0));
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

absl::StatusOr<InferenceEngine::RequestHandle> FakeEngine::Generate(
    GenerateRequest request, std::shared_ptr<GenerateSink> sink) {
  return Submit(Job{Generation{std::move(request), std::move(sink), 0}, false});
}

absl::StatusOr<InferenceEngine::RequestHandle> FakeEngine::Decide(
    DecideRequest request, std::shared_ptr<DecideSink> sink) {
  if (request.mode == ExitMode::kFast) return absl::FailedPreconditionError("no certificate");
  return Submit(Job{Choice{std::move(request), std::move(sink)}, false});
}

absl::Status FakeEngine::CheckQueue(const GenerateRequest& request) {
  return CheckQueueOf(request.context);
}

absl::Status FakeEngine::CheckQueue(const DecideRequest& request) {
  return CheckQueueOf(request.context);
}

absl::Status FakeEngine::CheckQueueOf(const RequestContext& context) {
  std::lock_guard lock(mutex_);
  last_tenant_ = context.tenant;
  return refusal_at_once_;
}

absl::StatusOr<InferenceEngine::RequestHandle> FakeEngine::Submit(Job job) {
  if (on_submit_) on_submit_();
  std::lock_guard lock(mutex_);
  last_tenant_ = std::visit([](auto& work) { return work.request.context.tenant; }, job.work);
  if (!refusal_.ok()) return refusal_;
  if (!accepting_) return absl::UnavailableError("draining");
  if (jobs_.size() >= options_.max_requests) return absl::ResourceExhaustedError("queue is full");
  ++num_accepted_;
  std::visit([&](auto& work) { cache_salts_.push_back(work.request.context.cache_salt); },
             job.work);
  const RequestHandle handle = next_handle_++;
  jobs_.emplace(handle, std::move(job));
  wake_.notify_all();
  return handle;
}

void FakeEngine::Cancel(RequestHandle handle) {
  std::lock_guard lock(mutex_);
  const auto job = jobs_.find(handle);
  if (job == jobs_.end()) return;
  job->second.cancelled = true;
  ++num_cancelled_;
  wake_.notify_all();
}

std::vector<std::string> FakeEngine::cache_salts() const {
  std::lock_guard lock(mutex_);
  return cache_salts_;
}

void FakeEngine::StopAccepting() {
  std::lock_guard lock(mutex_);
  accepting_ = false;
}

int FakeEngine::Drain(std::chrono::milliseconds grace) {
  std::unique_lock lock(mutex_);
  accepting_ = false;
  none_left_.wait_for(lock, grace, [this] { return jobs_.empty(); });
  const int cut_off = static_cast<int>(jobs_.size());
  FinishAll(absl::UnavailableError("shut down before it finished"));
  return cut_off;
}

EngineStats FakeEngine::Stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats;
  stats.running = static_cast<int32_t>(jobs_.size());
  stats.idle = jobs_.empty();
  stats.seconds_since_step = std::chrono::duration<double>(Clock::now() - last_step_).count();
  return stats;
}

std::vector<RequestRecord> FakeEngine::RecentRequests(size_t count) const {
  std::lock_guard lock(mutex_);
  return {recent_.begin(),
          recent_.begin() + static_cast<ptrdiff_t>(std::min(count, recent_.size()))};
}

void FakeEngine::SetRecentRequests(std::vector<RequestRecord> records) {
  std::lock_guard lock(mutex_);
  recent_ = std::move(records);
}

std::string FakeEngine::last_tenant() const {
  std::lock_guard lock(mutex_);
  return last_tenant_;
}

void FakeEngine::RefuseAtOnce(absl::Status status) {
  std::lock_guard lock(mutex_);
  refusal_at_once_ = std::move(status);
}

void FakeEngine::Refuse(absl::Status status) {
  std::lock_guard lock(mutex_);
  refusal_ = std::move(status);
}

void FakeEngine::Pause() {
  std::lock_guard lock(mutex_);
  paused_ = true;
}

void FakeEngine::Resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  wake_.notify_all();
}

void FakeEngine::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    for (auto job = jobs_.begin(); job != jobs_.end();) {
      job = Advance(job->second) ? jobs_.erase(job) : std::next(job);
    }
    if (!paused_ || jobs_.empty()) last_step_ = Clock::now();
    if (jobs_.empty()) none_left_.notify_all();
    wake_.wait_for(lock, options_.tick);
  }
}

bool FakeEngine::Advance(Job& job) {
  const bool over = std::visit(
      [&](auto& work) {
        const auto& deadline = work.request.context.deadline;
        if (deadline.has_value() && Clock::now() >= *deadline) {
          work.sink->OnDone(absl::DeadlineExceededError("deadline"));
          return true;
        }
        if (job.cancelled) work.sink->OnDone(absl::CancelledError("cancelled"));
        return job.cancelled;
      },
      job.work);
  if (over || paused_) return over;
  if (auto* generation = std::get_if<Generation>(&job.work)) return AdvanceGeneration(*generation);
  return Answer(std::get<Choice>(job.work));
}

bool FakeEngine::AdvanceGeneration(Generation& generation) {
  const GenerateRequest& request = generation.request;
  const int32_t max_tokens = request.max_tokens.value_or(16);
  for (int i = 0; i < options_.tokens_per_tick; ++i) {
    const TokenId id = 100 + generation.num_tokens++;
    const bool last = generation.num_tokens >= max_tokens;
    for (int32_t index = 0; index < request.num_sequences; ++index) {
      GenerateDelta delta;
      delta.index = index;
      delta.tokens.push_back(SampledToken{id, -0.5f, 1, {}});
      delta.text = absl::StrCat("w", id, " ");
      if (last) {
        delta.finish.emplace();
        delta.finish->reason = FinishReason::kLength;
        delta.finish->usage = {static_cast<int32_t>(request.context.prompt.size()), 0, max_tokens};
      }
      generation.sink->OnDelta(std::move(delta));
    }
    if (!last) continue;
    generation.sink->OnDone(absl::OkStatus());
    return true;
  }
  return false;
}

bool FakeEngine::Answer(Choice& choice) {
  const size_t num_labels = NumLabels(choice.request);
  Decision decision;
  decision.probabilities.assign(num_labels, 1.0f / static_cast<float>(num_labels));
  decision.exit_layer = 4;
  decision.layer_rows_saved = 25;
  decision.layer_rows_full = 100;
  if (choice.request.mode == ExitMode::kVerified) {
    choice.sink->OnDecision(DecisionKind::kEarly, decision);
  }
  decision.exit_layer = info_.config.num_layers;
  decision.label = static_cast<int32_t>(choice.request.context.prompt.size() % num_labels);
  choice.sink->OnDecision(DecisionKind::kFinal, decision);
  choice.sink->OnDone(absl::OkStatus());
  return true;
}

void FakeEngine::FinishAll(const absl::Status& status) {
  for (auto& [handle, job] : jobs_) {
    std::visit([&](auto& work) { work.sink->OnDone(status); }, job.work);
  }
  jobs_.clear();
}

}  // namespace spade
