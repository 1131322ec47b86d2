#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loadtest/chaos.h"
#include "loadtest/lengths.h"
#include "loadtest/request.h"
#include "loadtest/trace.h"

namespace spade::loadtest {

// What the load generator must know of the server's model.
struct ModelFacts {
  std::string name;
  uint32_t vocab_size = 0;
  uint32_t max_context = 0;
  bool has_bos = false;
  uint32_t bos_token_id = 0;
  std::vector<uint32_t> eos_token_ids;
};

struct DecidePrompt {
  std::string text;
  std::string label;  // the right answer; empty if unknown
};

struct WorkloadOptions {
  uint64_t seed = 1;
  Lengths input_lens;              // of token-id prompts
  Lengths output_lens;             // Generate
  uint32_t shared_prefix_len = 0;  // the same first tokens in every token-id prompt
  std::string cold_salt;           // not empty: no request shares cached prefixes with another one
  bool ignore_eos = true;
  float temperature = 0;
  std::vector<TraceRow> trace;  // if not empty, the lengths of Generate, row by row, in a cycle
  double decide_share = 0;      // of the requests, in [0, 1]
  std::vector<DecidePrompt> decide_prompts;  // empty: token-id prompts
  bool generate_from_prompts = false;        // Generate continues decide_prompts too
  std::vector<std::string> labels;
  std::vector<Mode> decide_modes = {Mode::kExact};    // one at random
  std::vector<Mode> generate_modes = {Mode::kExact};  // one at random
  double max_mismatch = 0.01;
  bool chaos = false;
  ChaosMix chaos_mix;
  uint32_t burst = 64;
};

// Makes requests. Immutable, hence thread-safe; the same options and index give the same request.
class Workload final {
 public:
  // INVALID_ARGUMENT if the options contradict each other or the model.
  static absl::StatusOr<Workload> Make(WorkloadOptions options, ModelFacts model);

  RequestSpec MakeSpec(uint64_t index) const;

  // The serialized GenerateRequest or DecideRequest.
  std::string MakePayload(const RequestSpec& spec) const;

  const WorkloadOptions& options() const { return options_; }
  const ModelFacts& model() const { return model_; }

 private:
  Workload(WorkloadOptions options, ModelFacts model)
      : options_(std::move(options)), model_(std::move(model)) {}

  template <typename Message>
  void SetPrompt(const RequestSpec& spec, Message& request) const;
  bool HasText(const RequestSpec& spec) const;
  void SetLengths(Rng& rng, RequestSpec& spec) const;
  void ChooseFault(Rng& rng, RequestSpec& spec) const;
  std::vector<uint32_t> MakeTokens(const RequestSpec& spec) const;

  WorkloadOptions options_;
  ModelFacts model_;
};

// JSON lines with "prompt" and, if known, "label". INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<DecidePrompt>> ReadDecidePrompts(const std::string& path);

}  // namespace spade::loadtest
