#include "loadtest/client.h"

#include <grpcpp/alarm.h>
#include <grpcpp/create_channel.h>

#include <limits>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loadtest/call.h"

namespace spade::loadtest {
namespace {

constexpr auto kIdlePoll = std::chrono::milliseconds(1);
constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kSmallestWindow = 5;  // bytes, as gRPC allows

grpc::ChannelArguments MakeArguments(int connection, bool slow) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt("spade.connection", connection);
  if (slow) {
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kSmallestWindow);
  }
  return arguments;
}

}  // namespace

// A completion queue, the thread that drains it, and the connections whose calls report to it.
class Client::Worker final {
 public:
  Worker(Client& client, int index) : client_(client), index_(index) {
    shared_.counts = &client.counts_;
    if (client.options_.check_repeats) shared_.memory = &client.memory_;
    const int num_fast = client.options_.num_connections;
    for (int i = 0; i < num_fast; ++i) AddChannel(i, /*slow=*/false);
    if (client.workload_.options().chaos) AddChannel(num_fast, /*slow=*/true);
    thread_ = std::thread([this] { Loop(); });
  }

  ~Worker() {
    while (CancelAll() > 0) std::this_thread::sleep_for(kIdlePoll);
    queue_.Shutdown();
    thread_.join();
  }

  const std::vector<std::shared_ptr<grpc::Channel>>& channels() const { return channels_; }

  // Call it when no stream runs.
  RunLog TakeLog() { return std::exchange(shared_.log, RunLog()); }

  void Wake() {
    std::lock_guard lock(wake_mutex_);
    if (wake_alarm_) return;
    wake_alarm_ = std::make_unique<grpc::Alarm>();
    wake_alarm_->Set(&queue_, gpr_inf_past(GPR_CLOCK_REALTIME), nullptr);
  }

  void Start(const RequestSpec& spec, double due) {
    const std::string payload = client_.workload_.MakePayload(spec);
    const size_t num_fast = client_.options_.num_connections;
    const size_t stub = spec.fault == Fault::kSlowReader ? num_fast : next_stub_++ % num_fast;
    auto owned = std::make_unique<Call>(spec, client_.workload_);
    Call* call = owned.get();
    std::lock_guard lock(mutex_);
    running_.emplace(call, std::move(owned));
    call->Start(*stubs_[stub], queue_, payload, client_.options_, due, client_.Now());
  }

  // Returns how many streams ran.
  size_t CancelAll() {
    std::lock_guard lock(mutex_);
    for (auto& [call, owned] : running_) call->Cancel();
    return running_.size();
  }

 private:
  void AddChannel(int connection, bool slow) {
    channels_.push_back(grpc::CreateCustomChannel(
        client_.options_.target, client_.options_.credentials, MakeArguments(connection, slow)));
    stubs_.push_back(std::make_unique<grpc::GenericStub>(channels_.back()));
  }

  // One thread sends and receives: at high rates a turn comes with an event that is there anyway,
  // where a thread that keeps the time would wake this one for every request.
  void Loop() {
    void* tag = nullptr;
    bool ok = false;
    while (true) {
      const auto event = queue_.AsyncNext(&tag, &ok, TurnDeadline());
      if (event == grpc::CompletionQueue::SHUTDOWN) return;
      if (event == grpc::CompletionQueue::GOT_EVENT) OnEvent(tag, ok);
      if (next_turn_ < kNever && client_.Now() >= next_turn_) TakeTurn();
    }
  }

  gpr_timespec TurnDeadline() const {
    if (next_turn_ == kNever) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    const auto micros = static_cast<int64_t>(1e6 * (next_turn_ - client_.Now()));
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(micros, GPR_TIMESPAN));
  }

  void OnEvent(void* tag, bool ok) {
    if (tag == nullptr) {
      OnWake();
      return;
    }
    const double now = client_.Now();
    const auto bits = reinterpret_cast<uintptr_t>(tag);
    auto* call = reinterpret_cast<Call*>(bits & ~Call::kOperationMask);
    const auto operation = static_cast<Call::Operation>(bits & Call::kOperationMask);
    if (!call->Handle(operation, ok, now, shared_)) return;
    Remove(call);
    client_.hooks_.on_end(index_);
    client_.counts_.ended.fetch_add(1);  // last, so that idle means that nothing can start
  }

  void OnWake() {
    {
      std::lock_guard lock(wake_mutex_);
      wake_alarm_.reset();
    }
    TakeTurn();
  }

  void TakeTurn() { next_turn_ = client_.hooks_.on_turn(index_); }

  void Remove(Call* call) {
    std::lock_guard lock(mutex_);
    running_.erase(call);
  }

  Client& client_;
  const int index_;
  grpc::CompletionQueue queue_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;  // the slow one, if any, last
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  uint64_t next_stub_ = 0;     // of the loop
  double next_turn_ = kNever;  // of the loop
  std::mutex wake_mutex_;
  std::unique_ptr<grpc::Alarm> wake_alarm_;  // guarded by wake_mutex_; null: no wake is under way
  std::mutex mutex_;
  std::unordered_map<Call*, std::unique_ptr<Call>> running_;  // guarded by mutex_
  Call::Context shared_;                                      // of the loop
  std::thread thread_;
};

Client::Client(ClientOptions options, const Workload& workload, Hooks hooks)
    : options_(std::move(options)),
      workload_(workload),
      hooks_(std::move(hooks)),
      start_(std::chrono::steady_clock::now()) {
  if (!options_.credentials) options_.credentials = grpc::InsecureChannelCredentials();
  for (int i = 0; i < options_.num_threads; ++i) {
    workers_.push_back(std::make_unique<Worker>(*this, i));
  }
}

Client::~Client() = default;

absl::Status Client::Connect(std::chrono::seconds timeout) {
  const auto deadline = std::chrono::system_clock::now() + timeout;
  for (const std::unique_ptr<Worker>& worker : workers_) {
    for (const std::shared_ptr<grpc::Channel>& channel : worker->channels()) {
      if (channel->WaitForConnected(deadline)) continue;
      return absl::UnavailableError(absl::StrCat("no server answers at ", options_.target));
    }
  }
  start_ = std::chrono::steady_clock::now();
  return absl::OkStatus();
}

void Client::Wake(int worker) { workers_[worker]->Wake(); }

void Client::Start(int worker, const RequestSpec& spec, double due) {
  counts_.started.fetch_add(1);
  workers_[worker]->Start(spec, due);
}

double Client::Now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

bool Client::WaitIdle(double timeout_s) const {
  const double deadline = Now() + timeout_s;
  while (num_running() > 0) {
    if (Now() > deadline) return false;
    std::this_thread::sleep_for(kIdlePoll);
  }
  return true;
}

void Client::CancelAll() {
  for (const std::unique_ptr<Worker>& worker : workers_) worker->CancelAll();
}

RunLog Client::TakeLog() {
  RunLog log;
  for (const std::unique_ptr<Worker>& worker : workers_) log.Append(worker->TakeLog());
  return log;
}

}  // namespace spade::loadtest
