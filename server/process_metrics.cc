#include "server/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "server/version.h"

namespace spade {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Family(const std::string& name, const std::string& help, MetricType type,
                    double value) {
  prometheus::ClientMetric metric;
  if (type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return MetricFamily{name, help, type, {metric}};
}

// The fields of /proc/self/stat that are exported; proc(5) numbers them.
struct ProcStat {
  double cpu_seconds = 0;     // 14 + 15
  double num_threads = 0;     // 20
  double start_seconds = 0;   // 22, since boot
  double virtual_bytes = 0;   // 23
  double resident_bytes = 0;  // 24
};

ProcStat ReadProcStat() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(')');  // the name may hold spaces and parentheses
  ProcStat stat;
  if (name_end == std::string::npos) return stat;
  std::istringstream fields(text.substr(name_end + 1));
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::string field;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    if (number < 14) continue;
    const double value = std::strtod(field.c_str(), nullptr);
    if (number == 14 || number == 15) stat.cpu_seconds += value / ticks;
    if (number == 20) stat.num_threads = value;
    if (number == 22) stat.start_seconds = value / ticks;
    if (number == 23) stat.virtual_bytes = value;
    if (number == 24) stat.resident_bytes = value * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
  return stat;
}

double BootTime() {
  std::ifstream file("/proc/stat");
  std::string key;
  double value = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    if (fields >> key && key == "btime" && fields >> value) return value;
  }
  return 0;
}

double OpenFiles() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
       !error && entry != end; entry.increment(error)) {
    ++count;
  }
  return count;
}

double MaxFiles() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<double>(limit.rlim_cur) : 0;
}

MetricFamily BuildInfo() {
  MetricFamily family = Family("spade_build_info", "Version of the server", MetricType::Gauge, 1);
  family.metric[0].label = {{"version", kVersion}};
  return family;
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  const ProcStat stat = ReadProcStat();
  return {
      Family("process_cpu_seconds_total", "User and system CPU time", MetricType::Counter,
             stat.cpu_seconds),
      Family("process_resident_memory_bytes", "Resident memory", MetricType::Gauge,
             stat.resident_bytes),
      Family("process_virtual_memory_bytes", "Virtual memory", MetricType::Gauge,
             stat.virtual_bytes),
      Family("process_start_time_seconds", "Start, in seconds since the epoch", MetricType::Gauge,
             BootTime() + stat.start_seconds),
      Family("process_open_fds", "Open file descriptors", MetricType::Gauge, OpenFiles()),
      Family("process_max_fds", "Most file descriptors allowed", MetricType::Gauge, MaxFiles()),
      Family("process_threads", "Threads", MetricType::Gauge, stat.num_threads),
      BuildInfo(),
  };
}

}  // namespace spade
