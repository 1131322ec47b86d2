#include "server/cpu_cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>

namespace spade {

CorePlan PlanCores(int requested, const std::vector<int>& allowed, double quota) {
  CorePlan plan;
  plan.allowed = allowed;
  const int num_cores = std::max(1, static_cast<int>(allowed.size()));
  const bool limited = quota > 0 && quota < num_cores;
  const int usable = limited ? std::max(1, static_cast<int>(std::floor(quota))) : num_cores;
  const int reserved = usable >= 8 ? std::max(1, usable / 16) : 0;
  plan.compute_threads = requested > 0 ? requested : usable - reserved;
  plan.pin = !limited && plan.compute_threads <= num_cores;
  if (plan.pin && plan.compute_threads < num_cores) {
    plan.rpc_cores.assign(allowed.begin() + plan.compute_threads, allowed.end());
  }
  return plan;
}

std::vector<int> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

double CpuQuota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");  // "max 100000" or "200000 100000"
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::strtod(quota.c_str(), nullptr) / period;
}

void RunOn(const std::vector<int>& cores) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  // A refusal costs speed, not correctness.
  (void)sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace spade
