#include <numeric>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/model/model_config.h"

namespace spade {

absl::StatusOr<ModelConfig> ShardOf(const ModelConfig& config, int32_t shards) {
  const int32_t common =
      std::gcd(std::gcd(config.num_heads, config.num_kv_heads), config.intermediate_size);
  if (shards < 1 || common % shards != 0) {
    std::vector<int32_t> fitting;
    for (int32_t count = 1; count <= common; ++count) {
      if (common % count == 0) fitting.push_back(count);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("the model's ", config.num_heads, " heads, ", config.num_kv_heads,
                     " KV heads and intermediate size ", config.intermediate_size,
                     " cannot be shared out evenly to ", shards, " devices; use --tensor-parallel ",
                     absl::StrJoin(fitting, ", ")));
  }
  ModelConfig shard = config;
  shard.num_heads /= shards;
  shard.num_kv_heads /= shards;
  shard.intermediate_size /= shards;
  return shard;
}

}  // namespace spade
