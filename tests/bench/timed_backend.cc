#include "tests/bench/timed_backend.h"

#include <chrono>
#include <utility>

namespace spade::bench {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

TimedBackend::TimedBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

template <typename Operation>
void TimedBackend::Note(const Operation& operation) {
  const Clock::time_point begin = Clock::now();
  operation();
  seconds_ += Seconds(Clock::now() - begin);
  ++operations_;
}

// Two looks at the clock, of which one is seen as the operation's.
double TimedBackend::NotingSeconds() {
  constexpr int kLooks = 100'000;
  const Clock::time_point begin = Clock::now();
  Clock::time_point last = begin;
  for (int i = 0; i < kLooks; ++i) last = Clock::now();
  return Seconds(last - begin) / kLooks;
}

void TimedBackend::CopyToHost(void* host, const void* device, size_t bytes) {
  Note([&] { backend_->CopyToHost(host, device, bytes); });
}
void TimedBackend::CopyFromHost(void* device, const void* host, size_t bytes) {
  Note([&] { backend_->CopyFromHost(device, host, bytes); });
}
void TimedBackend::Synchronize() {
  Note([&] { backend_->Synchronize(); });
}
void TimedBackend::Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) {
  Note([&] { backend_->Embed(table, ids, out); });
}
void TimedBackend::RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) {
  Note([&] { backend_->RmsNorm(x, weight, epsilon, out); });
}
void TimedBackend::MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options,
                          Tensor out) {
  Note([&] { backend_->MatMul(x, weight, options, out); });
}
void TimedBackend::NormMatMul(Tensor x, const RowNorm& norm, const Matrix& weight,
                              const float* bias, Tensor normed, Tensor out) {
  Note([&] { backend_->NormMatMul(x, norm, weight, bias, normed, out); });
}
void TimedBackend::NormGateUp(Tensor x, const RowNorm& norm, const Matrix& weight,
                              const float* bias, Tensor normed, Tensor gate_up, Tensor gated) {
  Note([&] { backend_->NormGateUp(x, norm, weight, bias, normed, gate_up, gated); });
}
void TimedBackend::MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                                 Tensor out) {
  Note([&] { backend_->MatMulColumns(x, weight, ids, out); });
}
void TimedBackend::RopeAngles(std::span<const int32_t> positions, std::span<const float> inv_freq,
                              Tensor angles) {
  Note([&] { backend_->RopeAngles(positions, inv_freq, angles); });
}
void TimedBackend::Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles) {
  Note([&] { backend_->Rope(qkv, heads, norm, angles); });
}
void TimedBackend::RopeAndStoreKv(Tensor qkv, const HeadLayout& heads, const QkNorm& norm,
                                  Tensor angles, const BatchView& batch, KvView kv) {
  Note([&] { backend_->RopeAndStoreKv(qkv, heads, norm, angles, batch, kv); });
}
void TimedBackend::StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) {
  Note([&] { backend_->StoreKv(qkv, heads, batch, kv); });
}
void TimedBackend::Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv,
                             Tensor out) {
  Note([&] { backend_->Attention(qkv, heads, batch, kv, out); });
}
void TimedBackend::StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                                      Tensor out) {
  Note([&] { backend_->StartSelfAttention(qkv, heads, start, out); });
}
void TimedBackend::SiluMul(Tensor gate_up, Tensor out) {
  Note([&] { backend_->SiluMul(gate_up, out); });
}
void TimedBackend::GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) {
  Note([&] { backend_->GatherRows(x, rows, out); });
}
void TimedBackend::CopyRows(Tensor x, std::span<const int32_t> from, std::span<const int32_t> to,
                            Tensor out) {
  Note([&] { backend_->CopyRows(x, from, to, out); });
}

}  // namespace spade::bench
