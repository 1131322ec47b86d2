#include "engine/runtime/memory_plan.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace spade {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr int64_t kCacheFactor = 2;  // room for the prefix cache beside full running sequences

std::optional<int64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;  // "max" is no number: no limit
  return std::nullopt;
}

// The value of "key: 123 kB" or "key 123" in a file of such lines.
std::optional<int64_t> ReadField(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key)) continue;
    std::istringstream fields(line.substr(key.size()));
    int64_t value = 0;
    if (fields >> value) return value;
  }
  return std::nullopt;
}

int64_t MachineAvailable(const MemorySources& sources) {
  const auto kilobytes = ReadField(sources.proc + "/meminfo", "MemAvailable:");
  return kilobytes ? *kilobytes * 1024 : kNoLimit;
}

// What one cgroup's limit leaves; clean page cache counts as free.
int64_t GroupAvailable(const std::string& group) {
  const auto limit = ReadNumber(group + "/memory.max");
  if (!limit) return kNoLimit;
  const int64_t used = ReadNumber(group + "/memory.current").value_or(0);
  const int64_t reclaimable = ReadField(group + "/memory.stat", "inactive_file ").value_or(0);
  return std::max<int64_t>(0, *limit - std::max<int64_t>(0, used - reclaimable));
}

// The process's path in the unified hierarchy ("0::/a/b"), or "/".
std::string GroupPath(const MemorySources& sources) {
  std::ifstream file(sources.proc + "/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("0::/")) return line.substr(3);
  }
  return "/";
}

}  // namespace

int64_t AvailableMemory(const MemorySources& sources) {
  int64_t available = MachineAvailable(sources);
  std::string path = GroupPath(sources);
  while (true) {
    available = std::min(available, GroupAvailable(sources.cgroup + path));
    if (path.size() <= 1) break;
    path.resize(path.rfind('/'));
  }
  return available == kNoLimit ? 0 : available;
}

int64_t ResidentMemory(const MemorySources& sources) {
  std::ifstream file(sources.proc + "/self/statm");
  int64_t total_pages = 0;
  int64_t resident_pages = 0;
  if (!(file >> total_pages >> resident_pages)) return 0;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

absl::StatusOr<int32_t> PlanKvBlocks(const KvDemand& demand) {
  const int64_t block_bytes = demand.shape.bytes_per_block();
  const int64_t block_size = demand.shape.block_size;
  const int64_t useful_blocks = kCacheFactor * demand.max_sequences *
                                ((int64_t{demand.max_context} + block_size - 1) / block_size);
  int64_t blocks = 0;
  if (demand.budget_bytes > 0) {
    if (demand.available_bytes > 0 && demand.budget_bytes > demand.available_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the KV memory (--kv-memory) is ", demand.budget_bytes, ", but only ",
                       demand.available_bytes, " bytes are available: lower it"));
    }
    blocks = demand.budget_bytes / block_bytes;
  } else {
    const auto given =
        static_cast<int64_t>(demand.share * static_cast<double>(demand.available_bytes));
    blocks = std::min(given / block_bytes, useful_blocks);
  }
  if (blocks < 1) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the KV cache needs at least one block of ", block_bytes,
                     " bytes: raise the KV memory (--kv-memory, now ", demand.budget_bytes,
                     ") or lower block_size"));
  }
  return static_cast<int32_t>(std::min<int64_t>(blocks, std::numeric_limits<int32_t>::max() / 2));
}

}  // namespace spade
