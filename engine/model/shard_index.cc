#include "engine/model/shard_index.h"

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace spade {
namespace {

using Json = nlohmann::json;

// A name that cannot lead out of its folder, nor name anything but weights in it.
bool IsPlainFileName(std::string_view name) {
  return name.size() <= 255 && name.ends_with(".safetensors") && !name.starts_with('.') &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view json) {
  const Json index =
      Json::parse(json.begin(), json.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return absl::InvalidArgumentError("model.safetensors.index.json has no weight_map object");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(
          absl::StrCat("model.safetensors.index.json: the shard of tensor '", tensor,
                       "' must be the plain name of a .safetensors file"));
    }
    shards.emplace(tensor, file.get<std::string>());
  }
  if (shards.empty()) {
    return absl::InvalidArgumentError("model.safetensors.index.json lists no tensors");
  }
  return shards;
}

}  // namespace spade
