#include "engine/tokenizer/metaspace.h"

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace spade {

absl::StatusOr<Metaspace> ParseMetaspace(const Json& json) {
  constexpr std::string_view kWhere = "Metaspace";
  Metaspace metaspace;
  SPADE_ASSIGN_OR_RETURN(metaspace.replacement, CharField(json, "replacement", kWhere));
  SPADE_ASSIGN_OR_RETURN(metaspace.split, BoolField(json, "split", kWhere, /*fallback=*/true));
  SPADE_ASSIGN_OR_RETURN(const bool add_prefix_space,
                         BoolField(json, "add_prefix_space", kWhere, /*fallback=*/true));
  const bool has_scheme = FindField(json, "prepend_scheme") != nullptr;
  SPADE_ASSIGN_OR_RETURN(
      const std::string scheme,
      StringField(json, "prepend_scheme", kWhere, add_prefix_space ? "always" : "never"));
  if (scheme == "always") {
    metaspace.scheme = Metaspace::Scheme::kAlways;
  } else if (scheme == "first") {
    metaspace.scheme = Metaspace::Scheme::kFirst;
  } else if (scheme == "never") {
    metaspace.scheme = Metaspace::Scheme::kNever;
  } else {
    return NotSupported(kWhere, StrCat("prepend_scheme ", scheme));
  }
  if (has_scheme && !add_prefix_space && metaspace.scheme != Metaspace::Scheme::kNever) {
    return BadField(kWhere, "'add_prefix_space' contradicts 'prepend_scheme'");
  }
  return metaspace;
}

}  // namespace spade
