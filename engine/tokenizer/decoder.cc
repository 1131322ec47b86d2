#include "engine/tokenizer/decoder.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace spade {
namespace {

using StageOr = absl::StatusOr<std::unique_ptr<DecodeStage>>;

StageOr ParseReplace(const Json& json, bool is_fused) {
  constexpr std::string_view kWhere = "Replace decoder";
  const Json* pattern = FindField(json, "pattern");
  if (pattern == nullptr) return BadField(kWhere, "'pattern' is missing");
  if (FindField(*pattern, "Regex") != nullptr) return NotSupported(kWhere, "a Regex pattern");
  SPADE_ASSIGN_OR_RETURN(std::string from, StringField(*pattern, "String", kWhere));
  SPADE_ASSIGN_OR_RETURN(std::string to, StringField(json, "content", kWhere));
  if (from.empty()) return NotSupported(kWhere, "an empty 'pattern'");
  return MakeReplaceStage(std::move(from), std::move(to), is_fused);
}

StageOr ParseStrip(const Json& json, bool is_fused) {
  constexpr std::string_view kWhere = "Strip decoder";
  SPADE_ASSIGN_OR_RETURN(const char32_t content, CharField(json, "content", kWhere));
  SPADE_ASSIGN_OR_RETURN(const int64_t start, IntField(json, "start", kWhere));
  SPADE_ASSIGN_OR_RETURN(const int64_t stop, IntField(json, "stop", kWhere));
  if (start < 0 || stop < 0) return BadField(kWhere, "'start' and 'stop' must not be negative");
  const StripLimits limits = {static_cast<size_t>(start), static_cast<size_t>(stop)};
  return MakeStripStage(content, limits, is_fused);
}

StageOr ParseMetaspaceStage(const Json& json, bool is_fused) {
  SPADE_ASSIGN_OR_RETURN(const Metaspace metaspace, ParseMetaspace(json));
  return MakeMetaspaceStage(metaspace, is_fused);
}

StageOr ParseWordSuffix(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(std::string suffix, StringField(json, "suffix", "BPEDecoder", "</w>"));
  if (suffix.empty()) return NotSupported("BPEDecoder", "an empty 'suffix'");
  return MakeWordSuffixStage(std::move(suffix));
}

// Stages whose work on one long piece could not go on as the parts of it come in.
bool NeedsSinglePieces(std::string_view type) {
  return type == "ByteLevel" || type == "ByteFallback" || type == "BPEDecoder";
}

StageOr ParseStage(const Json& json, std::string_view type, bool is_fused) {
  if (is_fused && NeedsSinglePieces(type)) {
    return NotSupported("decoder", StrCat(type, " after the pieces are joined"));
  }
  if (type == "ByteLevel") return MakeByteLevelStage();
  if (type == "ByteFallback") return MakeByteFallbackStage();
  if (type == "BPEDecoder") return ParseWordSuffix(json);
  if (type == "Metaspace") return ParseMetaspaceStage(json, is_fused);
  if (type == "Replace") return ParseReplace(json, is_fused);
  if (type == "Strip") return ParseStrip(json, is_fused);
  return NotSupported("decoder", StrCat("type ", type));
}

}  // namespace

absl::StatusOr<Decoder> Decoder::FromJson(const Json* json) {
  Decoder decoder;
  if (json == nullptr) {
    decoder.stages_.push_back(MakeJoinStage(" "));
    return decoder;
  }
  bool is_fused = false;
  SPADE_RETURN_IF_ERROR(decoder.Add(*json, is_fused));
  return decoder;
}

absl::Status Decoder::Add(const Json& json, bool& is_fused) {
  SPADE_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", "decoder"));
  if (type == "Sequence") {
    SPADE_ASSIGN_OR_RETURN(const Json* parts, ArrayField(json, "decoders", "Sequence decoder"));
    for (const Json& part : *parts) SPADE_RETURN_IF_ERROR(Add(part, is_fused));
    return absl::OkStatus();
  }
  if (type == "Fuse") {
    is_fused = true;
    return absl::OkStatus();
  }
  SPADE_ASSIGN_OR_RETURN(stages_.emplace_back(), ParseStage(json, type, is_fused));
  if (type == "ByteLevel") is_fused = true;
  return absl::OkStatus();
}

void Decoder::Run(size_t stage, std::string_view piece, State& state, std::string& text) const {
  if (stage == stages_.size()) {
    text += piece;
    return;
  }
  stages_[stage]->Push(piece, state[stage],
                       [&](std::string_view out) { Run(stage + 1, out, state, text); });
}

std::string Decoder::Push(std::string_view piece, State& state) const {
  std::string text;
  Run(0, piece, state, text);
  return text;
}

std::string Decoder::Flush(State& state) const {
  std::string text;
  for (size_t i = 0; i < stages_.size(); ++i) {
    stages_[i]->Flush(state[i], [&](std::string_view out) { Run(i + 1, out, state, text); });
  }
  return text;
}

void Decoder::DropHeld(State& state) const {
  for (size_t i = 0; i < stages_.size(); ++i) stages_[i]->DropHeld(state[i]);
}

}  // namespace spade
