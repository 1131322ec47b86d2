// A sequence's blocks: allocation, preemption, prefix cache.
#include <algorithm>
#include <optional>
#include <span>

#include "engine/schedule/scheduler_impl.h"
#include "kernels/check.h"

namespace spade {

// Blocks still to be allocated before all the sequence's tokens can run.
int64_t Scheduler::Impl::Demand(const Sequence& sequence) const {
  if (sequence.uses_scratch) return 0;
  // Rejected drafts may leave a block too many.
  return std::max<int64_t>(
      BlocksFor(sequence.length()) - static_cast<int64_t>(sequence.blocks.size()), 0);
}

// Allocates blocks for the next `rows` rows, preempting lower ranks where there are none. Returns
// the rows that have their block: fewer only when no rank is lower, and for a whole prompt that
// fits one step all or 0; otherwise it preempts no more than a first row needs.
int32_t Scheduler::Impl::Reserve(Sequence& sequence, int32_t rows) {
  if (sequence.uses_scratch) return ReserveScratch(sequence, rows);
  const bool all = sequence.spec.whole_prompt && sequence.pending() <= options_.max_rows;
  const int32_t start = sequence.frontier.filled(0);
  const auto rows_covered = [&] {
    const int64_t slots = static_cast<int64_t>(sequence.blocks.size()) * options_.block_size;
    return static_cast<int32_t>(std::min<int64_t>(slots - start, rows));
  };
  while (rows_covered() < rows) {
    if (const std::optional<BlockId> block = pool_->Allocate()) {
      sequence.blocks.push_back(*block);
      --pass_.demand;
    } else if ((rows_covered() > 0 && !all) || running_.back() == &sequence) {
      break;
    } else {
      PreemptLowest();
    }
  }
  return all && rows_covered() < rows ? 0 : rows_covered();
}

// Whether nothing of the sequence is needed beyond the one step that runs all its rows.
bool Scheduler::Impl::FitsScratch(const SequenceSpec& spec) const {
  const auto rows = static_cast<int64_t>(spec.prompt.size());
  return spec.whole_prompt && spec.max_tokens == 0 && !UsesCache(spec) &&
         rows <= options_.max_rows &&
         BlocksFor(static_cast<int32_t>(rows)) <= options_.scratch_blocks;
}

// All rows, or 0.
int32_t Scheduler::Impl::ReserveScratch(Sequence& sequence, int32_t rows) {
  SPADE_CHECK(sequence.frontier.filled(0) == 0 && rows == sequence.length());
  const int32_t count = BlocksFor(rows);
  if (count > options_.scratch_blocks - pass_.scratch_used) return 0;
  sequence.blocks.clear();  // of a step that failed
  for (int32_t i = 0; i < count; ++i) sequence.blocks.push_back(pass_.scratch_used++);
  return rows;
}

void Scheduler::Impl::PreemptLowest() {
  Sequence* const lowest = running_.back();
  if (CanRun(*lowest)) {
    pass_.demand -= Demand(*lowest);
    if (Decodes(*lowest)) pass_.decodes_ahead -= DecodeRows(*lowest);
  }
  if (lowest->is_held) ForgetHeld(*lowest);
  running_.pop_back();
  pass_.scratch_users -= lowest->uses_scratch ? 1 : 0;
  DropDrafts(*lowest, /*num_kept=*/0);
  ReleaseBlocks(*lowest);
  lowest->phase = SequencePhase::kWaiting;
  ++lowest->num_preemptions;
  tenants_.WaitAgain(lowest->tenant);
  Enqueue(lowest);
  plan_.preempted.push_back(lowest->id);
}

// Its row runs again when the sequence, the lowest-ranked, is recomputed.
void Scheduler::Impl::ForgetHeld(Sequence& sequence) {
  if (!plan_.held.empty()) {
    plan_.held.pop_back();  // it is the last, by rank
    pass_.budget += sequence.num_parked();
    pass_.held_rows -= sequence.num_parked();
  }
  sequence.is_held = false;
  sequence.awaits_token = false;
}

void Scheduler::Impl::ReleaseBlocks(Sequence& sequence) {
  if (!sequence.uses_scratch) {
    for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block) {
      pool_->Release(*block);
    }
  }
  sequence.blocks.clear();
  sequence.num_published = 0;
  sequence.frontier.Truncate(0);
}

// Takes the cached blocks that the sequence's tokens begin with. Never one with the last token:
// its row must run, and nothing is written to a shared block.
void Scheduler::Impl::ShareCachedPrefix(Sequence& sequence) {
  if (!UsesCache(sequence)) return;
  const auto limit = static_cast<size_t>((sequence.length() - 1) / options_.block_size);
  while (sequence.blocks.size() < limit) {
    const std::optional<BlockId> block = pool_->Find(HashOf(sequence, sequence.blocks.size()));
    if (!block.has_value()) break;
    sequence.blocks.push_back(*block);
  }
  sequence.num_published = static_cast<int32_t>(sequence.blocks.size());
  sequence.frontier.Fill(options_.num_stages, sequence.num_published * options_.block_size);
}

// Whether a sequence that could leave early runs to full depth for the prefix cache: the second one
// that begins with a block the cache lacks does, and now and then a later one, should that one have
// come to nothing. Those after it skip the block's rows at every layer.
bool Scheduler::Impl::FillsCache(Sequence& sequence) {
  if (!sequence.spec.may_leave || !UsesCache(sequence)) return false;
  constexpr int32_t kFillEvery = 16;
  const int32_t full = (sequence.num_prompt() - 1) / options_.block_size;
  const auto first = static_cast<int32_t>(sequence.blocks.size());
  bool fills = false;
  for (int32_t block = first; block < full; ++block) {
    const int32_t seen = sightings_.Count(HashOf(sequence, static_cast<size_t>(block)));
    if (block == first) fills = seen % kFillEvery == 1;
  }
  return fills;
}

void Scheduler::Impl::PublishFullBlocks(Sequence& sequence) {
  const int32_t full = sequence.frontier.complete() / options_.block_size;
  for (; sequence.num_published < full; ++sequence.num_published) {
    const auto block = static_cast<size_t>(sequence.num_published);
    pool_->Publish(sequence.blocks[block], HashOf(sequence, block));
  }
}

const BlockHash& Scheduler::Impl::HashOf(Sequence& sequence, size_t block) {
  const auto size = static_cast<size_t>(options_.block_size);
  while (sequence.hashes.size() <= block) {
    const BlockHash parent =
        sequence.hashes.empty() ? hasher_->Root(sequence.spec.cache_salt) : sequence.hashes.back();
    const auto tokens = std::span(sequence.tokens).subspan(sequence.hashes.size() * size, size);
    sequence.hashes.push_back(hasher_->Next(parent, tokens));
  }
  return sequence.hashes[block];
}

}  // namespace spade
