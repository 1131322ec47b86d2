#include "engine/tokenizer/post_processor.h"

#include <limits>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace spade {
namespace {

constexpr std::string_view kTemplate = "TemplateProcessing";

absl::StatusOr<int32_t> ParseId(const Json& json, std::string_view where) {
  if (!json.is_number_integer()) return BadField(where, "token ids must be integers");
  const int64_t id = json.get<int64_t>();
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
    return BadField(where, StrCat("id ", id, " is out of range"));
  }
  return static_cast<int32_t>(id);
}

// The ids that `special_tokens` gives for the name in a SpecialToken part.
absl::StatusOr<std::vector<int32_t>> SpecialIds(const Json& json, const Json& part) {
  SPADE_ASSIGN_OR_RETURN(const std::string name, StringField(part, "id", kTemplate));
  const Json* tokens = FindField(json, "special_tokens");
  const Json* token = tokens == nullptr ? nullptr : FindField(*tokens, name);
  if (token == nullptr) {
    return BadField(kTemplate, StrCat("'special_tokens' lacks '", name, "'"));
  }
  SPADE_ASSIGN_OR_RETURN(const Json* ids_json, ArrayField(*token, "ids", kTemplate));
  std::vector<int32_t> ids;
  for (const Json& id : *ids_json) {
    SPADE_ASSIGN_OR_RETURN(ids.emplace_back(), ParseId(id, kTemplate));
  }
  return ids;
}

// ["[SEP]", 102]
absl::StatusOr<int32_t> NamedId(const Json& json, std::string_view key, std::string_view where) {
  SPADE_ASSIGN_OR_RETURN(const Json* pair, ArrayField(json, key, where));
  if (pair->size() != 2) return BadField(where, StrCat("'", key, "' must be [token, id]"));
  return ParseId((*pair)[1], where);
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::FromJson(const Json& json) {
  PostProcessor processor;
  SPADE_RETURN_IF_ERROR(processor.Add(json));
  return processor;
}

absl::Status PostProcessor::Add(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", "post_processor"));
  if (type == "ByteLevel") return absl::OkStatus();  // moves offsets only
  if (type == "TemplateProcessing") {
    SPADE_ASSIGN_OR_RETURN(templates_.emplace_back(), ParseTemplate(json));
    return absl::OkStatus();
  }
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    SPADE_ASSIGN_OR_RETURN(templates_.emplace_back(), ParseClsSep(json, type));
    return absl::OkStatus();
  }
  if (type != "Sequence") return NotSupported("post_processor", StrCat("type ", type));
  SPADE_ASSIGN_OR_RETURN(const Json* parts,
                         ArrayField(json, "processors", "Sequence post-processor"));
  for (const Json& part : *parts) SPADE_RETURN_IF_ERROR(Add(part));
  return absl::OkStatus();
}

absl::StatusOr<PostProcessor::Template> PostProcessor::ParseTemplate(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const Json* parts, ArrayField(json, "single", kTemplate));
  Template result;
  for (const Json& part : *parts) {
    if (const Json* sequence = FindField(part, "Sequence")) {
      SPADE_ASSIGN_OR_RETURN(const std::string name, StringField(*sequence, "id", kTemplate));
      if (name != "A") return BadField(kTemplate, "'single' may only hold the sequence A");
      result.push_back({/*is_text=*/true, {}});
    } else if (const Json* special = FindField(part, "SpecialToken")) {
      SPADE_ASSIGN_OR_RETURN(std::vector<int32_t> ids, SpecialIds(json, *special));
      result.push_back({/*is_text=*/false, std::move(ids)});
    } else {
      return BadField(kTemplate, "'single' must hold Sequence and SpecialToken parts");
    }
  }
  return result;
}

absl::StatusOr<PostProcessor::Template> PostProcessor::ParseClsSep(const Json& json,
                                                                   std::string_view where) {
  SPADE_ASSIGN_OR_RETURN(const int32_t cls, NamedId(json, "cls", where));
  SPADE_ASSIGN_OR_RETURN(const int32_t sep, NamedId(json, "sep", where));
  return Template{{false, {cls}}, {true, {}}, {false, {sep}}};
}

std::vector<int32_t> PostProcessor::Apply(std::vector<int32_t> ids) const {
  for (const Template& parts : templates_) {
    std::vector<int32_t> result;
    result.reserve(ids.size() + parts.size());
    for (const Part& part : parts) {
      const std::vector<int32_t>& source = part.is_text ? ids : part.ids;
      result.insert(result.end(), source.begin(), source.end());
    }
    ids = std::move(result);
  }
  return ids;
}

}  // namespace spade
