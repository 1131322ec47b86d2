#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/kv/kv_cache.h"

namespace spade {

// Where the kernel tells about memory; other roots in tests.
struct MemorySources {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

// Bytes this process may still use: the smallest of the machine's available memory and what each
// cgroup (v2) above the process leaves. 0 where nothing can be read.
int64_t AvailableMemory(const MemorySources& sources);

// Bytes of this process in physical memory; 0 where it cannot be read.
int64_t ResidentMemory(const MemorySources& sources);

// Of the memory that is free after loading. The host's is for others too; what is left of a GPU's
// holds what step and libraries allocate later.
inline constexpr double kHostShare = 0.25;
inline constexpr double kDeviceShare = 0.85;

struct KvDemand {
  KvShape shape;
  int64_t budget_bytes = 0;  // 0: `share` of `available_bytes`, at most what could be of use
  int64_t available_bytes = 0;
  double share = kHostShare;
  int32_t max_sequences = 0;
  int32_t max_context = 0;
};

// Number of KV blocks. RESOURCE_EXHAUSTED, naming the option, where the memory does not hold one
// block or a given budget exceeds what is available.
absl::StatusOr<int32_t> PlanKvBlocks(const KvDemand& demand);

}  // namespace spade
