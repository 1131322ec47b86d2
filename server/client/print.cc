#include "server/client/print.h"

#include <spdlog/fmt/chrono.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <ctime>
#include <iterator>
#include <ostream>
#include <string>

#include "spade/v1/error_details.pb.h"

namespace spade {
namespace {

constexpr const char* kCodeNames[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

void PrintUsage(const v1::Usage& usage, const v1::Timings& timings, std::ostream& err) {
  err << fmt::format("tokens: {} prompt ({} cached), {} output\n", usage.prompt_tokens(),
                     usage.cached_tokens(), usage.output_tokens());
  err << fmt::format("time: {:.1f} ms queue, {:.1f} ms prefill, {:.1f} ms decode",
                     timings.queue() * 1e3, timings.prefill() * 1e3, timings.decode() * 1e3);
  if (usage.output_tokens() > 1 && timings.decode() > 0) {
    err << fmt::format(" ({:.1f} tokens/s)", (usage.output_tokens() - 1) / timings.decode());
  }
  err << "\n";
}

}  // namespace

void GeneratePrinter::Add(const v1::GenerateResponse& response) {
  any_ = true;
  if (response.index() == 0) {
    out_ << response.text_delta() << std::flush;
  } else {
    later_[response.index()] += response.text_delta();
  }
  if (response.has_finish()) finishes_[response.index()] = response.finish();
}

// FAST has nothing accepted: its early tokens are its answer.
void PrintEarlyTokens(const v1::EarlyTokens& early, std::ostream& err) {
  err << fmt::format("early tokens: {}", early.exited());
  if (early.accepted() > 0) err << fmt::format(", of which {} verified", early.accepted());
  err << fmt::format("; compute saved: {:.1f} %\n", early.compute_saved() * 100);
}

void GeneratePrinter::End() {
  if (any_) out_ << "\n";
  for (const auto& [index, text] : later_) out_ << "--- " << index << "\n" << text << "\n";
  if (!with_stats_) return;
  for (const auto& [index, finish] : finishes_) {
    err_ << fmt::format("finish {}: {}\n", index,
                        finish.reason() == v1::Finish::REASON_STOP ? "stop" : "length");
    PrintUsage(finish.usage(), finish.timings(), err_);
    if (finish.has_early_tokens()) PrintEarlyTokens(finish.early_tokens(), err_);
  }
}

void PrintDecision(const v1::DecideResponse& response, const v1::DecideRequest& request,
                   std::ostream& out) {
  out << response.label();
  if (response.kind() == v1::DecideResponse::KIND_EARLY) out << "\t(early)";
  if (response.corrected()) out << "\t(corrected)";
  out << "\n";
  for (int i = 0; i < response.probabilities_size() && i < request.labels_size(); ++i) {
    out << fmt::format("  {:.4f}\t{}\n", response.probabilities(i), request.labels(i));
  }
  out << std::flush;
}

void PrintDecisionStats(const v1::DecideResponse& response, std::ostream& err) {
  err << fmt::format("exit: layer {} of {}, entropy {:.4f}", response.exit_layer(),
                     response.num_layers(), response.entropy());
  if (response.threshold() > 0) err << fmt::format(" < {:.4f}", response.threshold());
  err << fmt::format("\ncompute saved: {:.1f} %\n", response.compute_saved() * 100);
  if (!response.certificate_id().empty()) {
    err << "certificate: " << response.certificate_id() << "\n";
  }
  PrintUsage(response.usage(), response.timings(), err);
}

void PrintTokens(const v1::TokenizeResponse& response, std::ostream& out) {
  const bool with_pieces = response.pieces_size() == response.token_ids_size();
  for (int i = 0; i < response.token_ids_size(); ++i) {
    if (with_pieces) {
      out << fmt::format("{}\t{}\n", response.token_ids(i), response.pieces(i));
    } else {
      out << (i == 0 ? "" : " ") << response.token_ids(i);
    }
  }
  if (!with_pieces || response.token_ids_size() == 0) out << "\n";
}

void PrintCalibration(const std::string& use, const v1::CalibrationInfo& calibration,
                      std::ostream& out) {
  out << fmt::format("calibration  {}, exits after layers {}", use,
                     fmt::join(calibration.exit_layers(), " "));
  if (calibration.max_mismatch_size() > 0) {
    out << fmt::format(", mismatch at most {}", fmt::join(calibration.max_mismatch(), " "));
  }
  out << fmt::format("\n             {}\n", calibration.id());
}

void PrintInfo(const v1::GetModelResponse& model, const v1::GetServerInfoResponse& server,
               std::ostream& out) {
  constexpr double kMiB = 1 << 20;
  out << fmt::format("model        {} ({}, {:.1f} M parameters, {}, {} products)\n", model.name(),
                     model.architecture(), model.num_parameters() / 1e6, model.weight_dtype(),
                     model.compute());
  out << fmt::format("shape        {} layers, hidden {}, {} heads ({} KV) of {}, vocabulary {}\n",
                     model.num_layers(), model.hidden_size(), model.num_heads(),
                     model.num_kv_heads(), model.head_dim(), model.vocab_size());
  out << fmt::format("context      {} positions\n", model.max_context());
  for (const v1::CalibrationInfo& calibration : model.calibrations()) {
    PrintCalibration(fmt::format("{} labels", calibration.labels_size()), calibration, out);
  }
  if (model.has_generation_calibration()) {
    PrintCalibration("generation", model.generation_calibration(), out);
  }
  out << fmt::format("server       {}, up {:.0f} s{}\n", server.version(), server.uptime_seconds(),
                     server.draining() ? ", draining" : "");
  out << fmt::format("device       {}\n", server.device());
  out << fmt::format("requests     {} running (at most {}), {} waiting, {} rows a step\n",
                     server.running(), server.max_sequences(), server.waiting(), server.max_rows());
  out << fmt::format("memory       {:.1f} MiB weights, {:.1f} MiB KV: {} of {} blocks of {} used\n",
                     server.weight_bytes() / kMiB, server.kv_bytes() / kMiB,
                     server.kv_blocks_in_use(), server.kv_blocks(), server.kv_block_size());
}

std::string Seconds(bool known, double seconds) {
  return known ? fmt::format("{:.3f}", seconds) : "-";
}

void PrintRequests(const v1::ListRequestsResponse& response, std::ostream& out) {
  constexpr const char* kRow =
      "{:<23} {:<20} {:<12} {:<8} {:<8} {:>9} {:>9} {:>9} {:>6} {:>6} {:>6} {:>5} {:<18} {}\n";
  out << fmt::format(kRow, "received", "id", "tenant", "kind", "mode", "scheduled", "first",
                     "ended", "prompt", "cached", "output", "early", "code", "reason");
  for (const v1::RequestRecord& record : response.requests()) {
    const std::time_t second = record.received().seconds();
    const auto code = static_cast<size_t>(record.code());
    // Of a decision, the layer that it left at.
    const uint32_t early = record.exit_layer() > 0 ? record.exit_layer() : record.early_tokens();
    out << fmt::format(
        kRow,
        fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}", fmt::gmtime(second),
                    record.received().nanos() / 1'000'000),
        record.request_id().substr(0, 20), record.tenant().empty() ? "-" : record.tenant(),
        record.kind(), record.mode(),
        Seconds(record.has_scheduled_seconds(), record.scheduled_seconds()),
        Seconds(record.has_first_answer_seconds(), record.first_answer_seconds()),
        Seconds(true, record.ended_seconds()), record.prompt_tokens(), record.cached_tokens(),
        record.output_tokens(), early, code < std::size(kCodeNames) ? kCodeNames[code] : "UNKNOWN",
        record.reason());
  }
}

void PrintError(const grpc::Status& status, std::ostream& err) {
  const auto code = static_cast<size_t>(status.error_code());
  err << (code < std::size(kCodeNames) ? kCodeNames[code] : "UNKNOWN") << ": "
      << status.error_message();
  v1::StatusDetails details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& any : details.details()) {
      v1::RetryInfo retry;
      if (any.type_url() == "type.googleapis.com/google.rpc.RetryInfo" &&
          retry.ParseFromString(any.value())) {
        err << fmt::format(" (retry in {:.1f} s)",
                           retry.retry_delay().seconds() + retry.retry_delay().nanos() / 1e9);
      }
    }
  }
  err << "\n";
}

}  // namespace spade
