#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/types.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_frontier.h"
#include "engine/schedule/tenant_shares.h"

namespace spade {

using SequenceId = uint64_t;

// What the scheduler must know of one sequence, fixed when it is added.
struct SequenceSpec {
  std::vector<TokenId> prompt;  // not empty
  int32_t max_tokens = 0;       // output tokens at most
  int32_t priority = 0;         // lower runs sooner, of one tenant
  std::string tenant;           // whose share it takes
  std::string cache_salt;
  // False where every prompt row's logits are wanted: neither takes blocks from the prefix cache
  // nor puts any in.
  bool use_prefix_cache = true;
  // Siblings of one request (n > 1) wait for this sequence's prefill, to share its prompt's blocks.
  // 0: none.
  SequenceId share_prefix_of = 0;
  // Decisions run their whole prompt in one step, or in chunks of it where it exceeds the budget,
  // and keep no KV afterwards, but for what the prefix cache keeps.
  bool whole_prompt = false;
  // Its prompt's rows may leave early: the prefix cache then gets none of its blocks.
  bool may_leave = false;
  // Work of the server's own: after everybody's, and nobody is charged for it.
  bool background = false;
};

enum class SequencePhase { kWaiting, kRunning, kEnded };

// Scheduling state of one sequence. Owned by the Scheduler; others read it.
struct Sequence {
  SequenceId id = 0;
  SequenceSpec spec;
  SequencePhase phase = SequencePhase::kWaiting;
  std::vector<TokenId> tokens;    // prompt, then output
  std::vector<BlockId> blocks;    // holds positions [0, blocks.size() * block_size)
  std::vector<BlockHash> hashes;  // chain over the full blocks of `tokens`, as far as computed
  KvFrontier frontier{1};
  int32_t num_published = 0;  // blocks [0, num_published) were offered to the prefix cache
  bool awaits_token = false;  // its last row ran: nothing more to run before Append
  bool is_held = false;       // that row waits at an exit, and goes on in a later step
  int32_t num_drafts = 0;     // of `tokens`, at the end: not verified yet
  bool uses_scratch = false;  // `blocks` are the scratch's, given anew in the step that runs it
  bool fills_cache = false;   // may_leave, but others begin with its prompt: it must not leave
  uint64_t arrival = 0;       // order of Add
  TenantIndex tenant = 0;
  int32_t tenant_rank = 0;    // while running: of its tenant, as of this step
  int32_t cached_tokens = 0;  // of the prompt, from the prefix cache, at first admission
  int32_t num_preemptions = 0;

  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  int32_t num_prompt() const { return static_cast<int32_t>(spec.prompt.size()); }
  int32_t num_output() const { return length() - num_prompt(); }
  // Positions still to enter the first stage before the next token can be drawn (1 in steady
  // decode).
  int32_t pending() const { return length() - frontier.filled(0); }
  // Rows that left at an exit: whenever a later row goes deeper, they go with it.
  int32_t num_parked() const { return frontier.filled(0) - frontier.complete(); }
};

}  // namespace spade
