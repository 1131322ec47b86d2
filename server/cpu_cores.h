#pragma once

#include <vector>

namespace spade {

// Which cores compute and which serve RPCs.
struct CorePlan {
  int compute_threads = 1;
  bool pin = false;            // workers on the first `compute_threads` of `allowed`
  std::vector<int> allowed;    // cores, ascending
  std::vector<int> rpc_cores;  // the rest; empty: no core to spare
};

// `requested` threads, or with 0: one for each usable core, less one in 16 (at least one) for RPCs
// from 8 cores on. `quota`: CPUs' worth of time that the container may use; 0: no limit. Under a
// quota the cores are shared with other containers, so nothing is pinned.
CorePlan PlanCores(int requested, const std::vector<int>& allowed, double quota);

std::vector<int> AllowedCores();            // of the calling thread
double CpuQuota();                          // of the cgroup (v2); 0: no limit
void RunOn(const std::vector<int>& cores);  // the calling thread and the threads it will start

}  // namespace spade
