#include "tools/trace/prompt_file.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxFileBytes = size_t{4} << 30;

struct Line {
  int64_t number;
  std::string prompt;
  std::string label;
  std::string part;
  int32_t messages;
};

absl::Status LineError(const PromptOptions& options, int64_t number, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(options.path, ":", number, ": ", what));
}

std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

absl::StatusOr<std::vector<Line>> ParseLines(const PromptOptions& options,
                                             const std::string& text) {
  std::vector<Line> lines;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || TextOf(object, "prompt").empty()) {
      return LineError(options, number, "expected {\"prompt\": \"...\", \"label\": \"...\"}");
    }
    const auto messages = object.find("k");
    const bool counted = messages != object.end() && messages->is_number_integer();
    lines.push_back({number, TextOf(object, "prompt"), TextOf(object, "label"),
                     TextOf(object, "part"), counted ? messages->get<int32_t>() : 0});
    if (options.limit > 0 && static_cast<int64_t>(lines.size()) == options.limit) break;
  }
  if (lines.empty()) return absl::InvalidArgumentError(absl::StrCat(options.path, ": no prompts"));
  return lines;
}

absl::Status ResolveLabels(const PromptOptions& options, const std::vector<Line>& lines,
                           const Tokenizer& tokenizer, PromptSet& set) {
  set.label_texts = options.labels;
  if (set.label_texts.empty()) {
    for (const Line& line : lines) {
      const bool known = std::ranges::find(set.label_texts, line.label) != set.label_texts.end();
      if (!line.label.empty() && !known) set.label_texts.push_back(line.label);
    }
  }
  if (set.label_texts.size() < 2) {
    return absl::InvalidArgumentError(
        "fewer than two labels: give --labels \" yes, no\", or a \"label\" in the lines");
  }
  for (const std::string& text : set.label_texts) {
    SPADE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                           tokenizer.Encode(text, /*add_special_tokens=*/false));
    if (ids.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("label '", text, "' is ", ids.size(),
                       " tokens; early exit decides one token: try it with a leading space"));
    }
    if (std::ranges::find(set.label_ids, ids[0]) != set.label_ids.end()) {
      return absl::InvalidArgumentError(absl::StrCat("label '", text, "' comes twice"));
    }
    set.label_ids.push_back(ids[0]);
  }
  return absl::OkStatus();
}

// Uniform in [0, 1), the same for equal prompts, so that copies never straddle parts.
double HashFraction(uint64_t seed, const std::string& prompt) {
  const std::string digest = Sha256Hex(absl::StrCat(seed, "\n", prompt));
  return static_cast<double>(std::stoull(digest.substr(0, 13), nullptr, 16)) / 0x1p52;
}

absl::StatusOr<Part> PartOf(const PromptOptions& options, const Line& line) {
  if (line.part == "fit") return Part::kFit;
  if (line.part == "validation") return Part::kValidation;
  if (line.part == "certification") return Part::kCertification;
  if (!line.part.empty()) {
    return LineError(options, line.number,
                     "\"part\" must be \"fit\", \"validation\" or \"certification\"");
  }
  const double fraction = HashFraction(options.seed, line.prompt);
  if (fraction < options.fit_share) return Part::kFit;
  return fraction < options.fit_share + options.validation_share ? Part::kValidation
                                                                 : Part::kCertification;
}

}  // namespace

absl::StatusOr<PromptSet> LoadPrompts(const PromptOptions& options, const Tokenizer& tokenizer,
                                      const ModelConfig& config) {
  SPADE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(options.path, kMaxFileBytes));
  SPADE_ASSIGN_OR_RETURN(const std::vector<Line> lines, ParseLines(options, text));
  PromptSet set;
  set.data_sha256 = Sha256Hex(text);
  if (options.labelled) SPADE_RETURN_IF_ERROR(ResolveLabels(options, lines, tokenizer, set));
  for (const Line& line : lines) {
    absl::StatusOr<std::vector<TokenId>> ids =
        tokenizer.Encode(line.prompt, /*add_special_tokens=*/true);
    if (!ids.ok()) return LineError(options, line.number, std::string(ids.status().message()));
    if (!config.bos_id || ids->empty() || ids->front() != *config.bos_id) {
      return LineError(options, line.number,
                       "the prompt does not begin with the model's start token, which early exit "
                       "needs");
    }
    if (static_cast<int64_t>(ids->size()) > config.max_context) {
      ++set.skipped;
      continue;
    }
    SPADE_ASSIGN_OR_RETURN(const Part part, PartOf(options, line));
    const auto label = std::ranges::find(set.label_texts, line.label);
    if (options.labelled && !line.label.empty() && label == set.label_texts.end()) {
      return LineError(options, line.number,
                       absl::StrCat("label '", line.label, "' is not one of --labels"));
    }
    const int32_t index =
        label == set.label_texts.end() ? -1 : static_cast<int32_t>(label - set.label_texts.begin());
    set.prompts.push_back({*std::move(ids), index, line.messages, part});
  }
  if (set.prompts.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.path, ": every prompt is longer than the model's ", config.max_context, " tokens"));
  }
  return set;
}

std::vector<std::string> SplitLabels(const std::string& text) {
  std::vector<std::string> labels;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) labels.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return labels;
}

}  // namespace spade
