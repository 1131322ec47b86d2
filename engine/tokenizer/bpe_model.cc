#include "engine/tokenizer/bpe_model.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"

namespace spade {
namespace {

constexpr int32_t kNoSymbol = -1;
constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
// Up to here a scan for the lowest rank beats a queue.
constexpr size_t kMaxShortWord = 32;

}  // namespace

// A word too long to scan for each merge: symbols in a linked list, candidate merges in a queue.
class BpeModel::LongWord {
 public:
  LongWord(const BpeModel& model, const std::vector<int32_t>& ids) : model_(model) {
    nodes_.reserve(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      nodes_.push_back({ids[i], i == 0 ? kNone : i - 1, i + 1 < ids.size() ? i + 1 : kNone});
    }
    std::vector<Candidate> candidates;
    for (size_t i = 0; i + 1 < nodes_.size(); ++i) {
      if (const Merge* merge = model_.FindMerge(ids[i], ids[i + 1])) {
        candidates.push_back({merge->rank, i, merge->id});
      }
    }
    queue_ = Queue(std::greater<Candidate>(), std::move(candidates));
  }

  std::vector<int32_t> MergeAll() {
    while (!queue_.empty()) {
      const Candidate candidate = queue_.top();
      queue_.pop();
      if (IsCurrent(candidate)) Apply(candidate);
    }
    std::vector<int32_t> ids;
    for (size_t i = 0; i != kNone; i = nodes_[i].next) ids.push_back(nodes_[i].id);
    return ids;
  }

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();
  struct Node {
    int32_t id;  // kNoSymbol once merged into the node before
    size_t previous;
    size_t next;
  };
  struct Candidate {
    uint32_t rank;
    size_t left;
    int32_t id;
    bool operator>(const Candidate& other) const {
      return std::tie(rank, left) > std::tie(other.rank, other.left);
    }
  };
  using Queue = std::priority_queue<Candidate, std::vector<Candidate>, std::greater<Candidate>>;

  // The neighbours may have merged with others since the candidate was queued.
  bool IsCurrent(const Candidate& candidate) const {
    const Node& left = nodes_[candidate.left];
    if (left.id == kNoSymbol || left.next == kNone) return false;
    const Merge* merge = model_.FindMerge(left.id, nodes_[left.next].id);
    return merge != nullptr && merge->id == candidate.id;
  }

  void Apply(const Candidate& candidate) {
    Node& left = nodes_[candidate.left];
    Node& right = nodes_[left.next];
    left.id = candidate.id;
    right.id = kNoSymbol;
    left.next = right.next;
    if (left.next != kNone) nodes_[left.next].previous = candidate.left;
    if (left.previous != kNone) Enqueue(left.previous);
    Enqueue(candidate.left);
  }

  void Enqueue(size_t left) {
    const size_t right = nodes_[left].next;
    if (right == kNone) return;
    if (const Merge* merge = model_.FindMerge(nodes_[left].id, nodes_[right].id)) {
      queue_.push({merge->rank, left, merge->id});
    }
  }

  const BpeModel& model_;
  std::vector<Node> nodes_;
  Queue queue_;
};

absl::Status BpeModel::Tokenize(std::string_view text, std::vector<int32_t>& ids) const {
  const auto whole = vocab_.find(text);
  if (whole != vocab_.end() && (ignore_merges_ || whole->second.is_whole)) {
    ids.push_back(whole->second.id);
    return absl::OkStatus();
  }
  SPADE_ASSIGN_OR_RETURN(std::vector<int32_t> symbols, Symbols(text));
  if (symbols.size() > kMaxShortWord) {
    symbols = LongWord(*this, symbols).MergeAll();
  } else {
    MergeShort(symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  return absl::OkStatus();
}

// An unknown symbol waits until the next known one, so that a run of them can fuse. Bytes do not
// end the wait, which is how the file format's reference implementation orders them.
absl::StatusOr<std::vector<int32_t>> BpeModel::Symbols(std::string_view text) const {
  std::vector<int32_t> symbols;
  symbols.reserve(text.size());
  int32_t waiting_unk = kNoSymbol;
  for (size_t i = 0; i < text.size();) {
    const size_t length = FirstChar(text.substr(i)).length;
    const std::string_view c = text.substr(i, length);
    const bool is_first = i == 0;
    i += length;
    const int32_t symbol = SymbolOf(c, is_first, /*is_last=*/i == text.size());
    if (symbol != kNoSymbol) {
      if (waiting_unk != kNoSymbol) symbols.push_back(std::exchange(waiting_unk, kNoSymbol));
      symbols.push_back(symbol);
      continue;
    }
    if (byte_fallback_ && AppendBytes(c, symbols)) continue;
    if (!unk_token_.has_value()) continue;
    if (waiting_unk != kNoSymbol && !fuse_unk_) symbols.push_back(waiting_unk);
    const std::optional<int32_t> unk = IdOf(*unk_token_);
    if (!unk.has_value()) {
      return absl::FailedPreconditionError(
          StrCat("tokenizer.json: the text needs the unknown token '", *unk_token_,
                 "', which is not in the vocabulary"));
    }
    waiting_unk = *unk;
  }
  if (waiting_unk != kNoSymbol) symbols.push_back(waiting_unk);
  return symbols;
}

int32_t BpeModel::SymbolOf(std::string_view text, bool is_first, bool is_last) const {
  const bool has_prefix = !is_first && !continuing_prefix_.empty();
  const bool has_suffix = is_last && !word_suffix_.empty();
  if (has_prefix || has_suffix) {
    return IdOf(StrCat(has_prefix ? continuing_prefix_ : "", text, has_suffix ? word_suffix_ : ""))
        .value_or(kNoSymbol);
  }
  const char32_t c = FirstChar(text).code_point;
  if (c < symbol_of_char_.size()) return symbol_of_char_[c];
  return IdOf(text).value_or(kNoSymbol);
}

bool BpeModel::AppendBytes(std::string_view symbol, std::vector<int32_t>& symbols) const {
  const size_t size = symbols.size();
  for (const char byte : symbol) {
    const int32_t id = id_of_byte_[static_cast<unsigned char>(byte)];
    if (id == kNoSymbol) {
      symbols.resize(size);
      return false;
    }
    symbols.push_back(id);
  }
  return true;
}

const BpeModel::Merge* BpeModel::FindMerge(int32_t left, int32_t right) const {
  const auto it = merges_.find(static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right));
  return it == merges_.end() ? nullptr : &it->second;
}

void BpeModel::MergeShort(std::vector<int32_t>& symbols) const {
  std::array<Merge, kMaxShortWord> merges;  // of each symbol with the one after it
  const auto merge_at = [&](size_t i) {
    const Merge* merge = FindMerge(symbols[i], symbols[i + 1]);
    return merge == nullptr ? Merge{kNoRank, kNoSymbol} : *merge;
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i) merges[i] = merge_at(i);
  while (symbols.size() > 1) {
    const size_t num_pairs = symbols.size() - 1;
    const auto best = std::min_element(merges.begin(), merges.begin() + num_pairs,
                                       [](Merge a, Merge b) { return a.rank < b.rank; });
    if (best->rank == kNoRank) return;
    const size_t left = best - merges.begin();
    symbols[left] = best->id;
    symbols.erase(symbols.begin() + left + 1);
    std::copy(best + 1, merges.begin() + num_pairs, best);
    if (left + 1 < symbols.size()) merges[left] = merge_at(left);
    if (left > 0) merges[left - 1] = merge_at(left - 1);
  }
}

std::optional<int32_t> BpeModel::IdOf(std::string_view piece) const {
  const auto it = vocab_.find(piece);
  if (it == vocab_.end()) return std::nullopt;
  return it->second.id;
}

std::optional<std::string_view> BpeModel::Piece(int32_t id) const {
  if (id < 0 || id >= id_bound() || !is_used_[id]) return std::nullopt;
  return piece_of_[id];
}

}  // namespace spade
