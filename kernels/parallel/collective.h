#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace spade {

// What the shards of a tensor-parallel backend do together. Used by one thread at a time.
class Collective {
 public:
  virtual ~Collective() = default;

  // From now on this thread works for `shard`: called before every call of its backend. Between
  // operations it is shard 0.
  virtual void Enter(int32_t shard) = 0;

  // places[s], `count` floats of shard s's memory, become the sum over all shards, with the same
  // bits on each. Comes after what the shards' backends have queued, and before what they will.
  virtual void AllReduce(std::span<float* const> places, int64_t count) = 0;
};

// Of shards in this process's own memory: sums in their order.
std::unique_ptr<Collective> MakeHostCollective();

}  // namespace spade
