#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "engine/tokenizer/tokenizer.h"

namespace spade {

// What a prompt is used for. A file may say so itself ("part": "fit", "validation" or
// "certification"); else a hash of the prompt decides.
enum class Part : uint8_t { kFit, kValidation, kCertification };

struct Prompt {
  std::vector<TokenId> ids;
  int32_t label = -1;    // place in PromptSet::label_texts; -1: not given
  int32_t messages = 0;  // "k" of the line, where given: for reports by size
  Part part = Part::kFit;
};

struct PromptSet {
  std::vector<Prompt> prompts;
  std::vector<std::string> label_texts;
  std::vector<TokenId> label_ids;
  int64_t skipped = 0;      // longer than the model's context
  std::string data_sha256;  // of the file's text
};

struct PromptOptions {
  std::string path;                 // one JSON object a line: "prompt", and optionally "label"
  bool labelled = true;             // false: labels are neither needed nor read
  std::vector<std::string> labels;  // empty: the distinct labels of the file, in order
  uint64_t seed = 1;                // of the split
  double fit_share = 0.4;
  double validation_share = 0.2;
  int64_t limit = 0;  // prompts to read; 0: all
};

// INVALID_ARGUMENT names the line that is malformed, the label that is not one token, or a prompt
// that does not begin with the model's start token.
absl::StatusOr<PromptSet> LoadPrompts(const PromptOptions& options, const Tokenizer& tokenizer,
                                      const ModelConfig& config);

// " a, b" as {" a", " b"}: labels are separated by commas, and spaces belong to them.
std::vector<std::string> SplitLabels(const std::string& text);

}  // namespace spade
