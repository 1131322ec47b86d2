#include "kernels/cuda/launch.h"
#include "kernels/cuda/logit_draw.h"
#include "kernels/cuda/logits.h"

namespace spade::cuda {
namespace {

// The edits of one row, by its block.
struct Edits {
  const LogitEdit* list = nullptr;
  float* saved = nullptr;
  int num_added = 0;
  int count = 0;
  float repetition_penalty = 1;

  __device__ Edits(const LogitArgs& args, const LogitAsk& ask)
      : list(args.edits + ask.first_edit),
        saved(args.saved + ask.first_edit),
        num_added(ask.num_added),
        count(ask.num_added + ask.num_penalised),
        repetition_penalty(ask.repetition_penalty) {}

  // Adds to a logit all that is added to it, in order: by the thread that comes upon its first
  // edit.
  __device__ void Add(const LogitRow& row, int index) const {
    const int32_t id = list[index].id;
    for (int i = 0; i < index; ++i) {
      if (list[i].id == id) return;
    }
    float logit = row.data[id];
    for (int i = index; i < num_added; ++i) {
      if (list[i].id == id) logit += list[i].value;
    }
    row.data[id] = logit;
  }

  __device__ void Penalise(const LogitRow& row, int index) const {
    const float logit = row.data[list[index].id];
    const float penalised = logit > 0.0f ? logit / repetition_penalty : logit * repetition_penalty;
    row.data[list[index].id] = penalised - list[index].value;
  }

  __device__ void Apply(const LogitRow& row) const {
    const int thread = static_cast<int>(threadIdx.x);
    for (int i = thread; i < count; i += kRowThreads) saved[i] = row.data[list[i].id];
    __syncthreads();
    for (int i = thread; i < num_added; i += kRowThreads) Add(row, i);
    __syncthreads();
    for (int i = num_added + thread; i < count; i += kRowThreads) Penalise(row, i);
    __syncthreads();
  }

  __device__ void Undo(const LogitRow& row) const {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kRowThreads) {
      row.data[list[i].id] = saved[i];
    }
    __syncthreads();
  }
};

// The tokens of one row that can be drawn, and their logits one after another: all, in place, or
// those allowed.
struct Choice {
  const int32_t* ids = nullptr;
  float* gathered = nullptr;
  int32_t count = 0;  // 0: all

  __device__ Choice(const LogitArgs& args, const LogitAsk& ask)
      : ids(args.allowed + ask.first_allowed),
        gathered(args.gathered + ask.first_allowed),
        count(ask.num_allowed) {}

  __device__ LogitRow Gather(const LogitRow& row) const {
    if (count == 0) return row;
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kRowThreads) {
      gathered[i] = row.data[ids[i]];
    }
    __syncthreads();
    return {gathered, count, /*vectors=*/false};
  }
  __device__ int32_t IdAt(int32_t place) const { return count == 0 ? place : ids[place]; }
};

// What the host's Score computes, up to the logarithm of the sum.
__device__ void Score(const LogitRow& row, const LogitAsk& ask, int32_t token,
                      const BestTokens& best, RowShared& shared, LogitScoreOut& out) {
  const bool is_writer = threadIdx.x == 0;
  if (best.of_row == 0 || token < 0) {
    if (is_writer) out = {.logit = -INFINITY, .rank = 1};
    return;
  }
  const Weigher weigh = {LogitOf(best.of_row), 1.0f};
  const float at_token = row.data[token];
  const float logit = IsDrawable(at_token) ? Drawable(at_token) : -INFINITY;
  Fixed sum = 0;
  unsigned before = 0;
  ForTokens<2>(row, 0, row.size, static_cast<int>(threadIdx.x), kRowThreads,
               [&](int32_t id, float x) {
                 x = Drawable(x);  // NaN stays, and is neither more nor less
                 if (IsDrawable(x)) sum += ToFixed(weigh(x));
                 before += (id < token ? x >= logit : x > logit) ? 1 : 0;
               });
  sum = RowSum(sum, shared.partial);
  const Fixed rank = RowSum(static_cast<Fixed>(before), shared.partial) + 1;
  const int num_top = ask.num_top > 0 ? ListTop(row, best, ask.num_top, shared) : 0;
  if (static_cast<int>(threadIdx.x) < num_top) {
    const Code code = shared.codes[threadIdx.x];
    out.top_ids[threadIdx.x] = IdOf(code);
    out.top_logits[threadIdx.x] = LogitOf(code);
  }
  if (!is_writer) return;
  out.sum = sum;
  out.max = weigh.max;
  out.logit = logit;
  out.rank = static_cast<int32_t>(rank);
  out.num_top = num_top;
}

// Of the softmax over the tokens and the column after them. Infinite where a logit is not finite.
__device__ float Entropy(const LogitArgs& args, const LogitRow& row, const BestTokens& best,
                         RowShared& shared) {
  const float other = row.data[row.size] + args.other.bias;
  const float best_token = best.of_row != 0 ? LogitOf(best.of_row) : -INFINITY;
  const float top = other > best_token ? other : best_token;
  double sum = 0;
  double weighted = 0;  // sum of exp(z) * z, z = (logit - top) / temperature
  const auto add = [&](float x) {
    const float z = (x - top) / args.other.temperature;
    const float power = z <= 0.0f ? ExpOrZero(z) : NAN;
    sum += double{power};
    if (power != 0.0f) weighted += double{power} * double{z};
  };
  ForTokens<2>(row, 0, row.size, static_cast<int>(threadIdx.x), kRowThreads,
               [&](int32_t, float x) { add(x); });
  if (threadIdx.x == 0) add(other);
  sum = RowSum(sum, shared.partial_double);
  weighted = RowSum(weighted, shared.partial_double);
  const double entropy = log(sum) - weighted / sum;
  if (!(fabs(entropy) <= double{FLT_MAX})) return INFINITY;
  return entropy > 0 ? static_cast<float>(entropy) : 0.0f;
}

__global__ void __launch_bounds__(kRowThreads, 1) ReadLogitsKernel(LogitArgs args) {
  __shared__ RowShared shared;
  const LogitAsk& ask = args.asks[blockIdx.x];
  const LogitRow row = {args.logits + ask.row * args.cols, args.num_tokens, args.vectors};
  const bool is_writer = threadIdx.x == 0;
  const Edits edits(args, ask);
  const Choice choice(args, ask);
  if (edits.count > 0) edits.Apply(row);
  const LogitRow drawn = choice.Gather(row);
  BestTokens best = FindBest(drawn, shared);
  int32_t token = ask.scored;
  if (token < 0 && best.of_row != 0) {
    const bool is_greedy = ask.temperature == 0.0f;
    token = choice.IdAt(is_greedy ? IdOf(best.of_row) : Draw(drawn, ask, best, shared));
  }
  if (edits.count > 0) edits.Undo(row);
  if (token < 0) {
    best = FindBest(choice.Gather(row), shared);
    if (best.of_row != 0) token = choice.IdAt(IdOf(best.of_row));
  }
  const bool is_read_on = ask.score >= 0 || args.wants_entropy;
  if (is_read_on && (edits.count > 0 || choice.count > 0)) best = FindBest(row, shared);
  if (is_writer) args.tokens[blockIdx.x] = token;
  const float entropy = args.wants_entropy ? Entropy(args, row, best, shared) : 0.0f;
  if (is_writer) args.entropies[blockIdx.x] = entropy;
  if (ask.score >= 0) Score(row, ask, token, best, shared, args.scores[ask.score]);
}

}  // namespace

void ReadLogits(const LogitArgs& args, cudaStream_t stream) {
  Launch(ReadLogitsKernel, {static_cast<unsigned>(args.count), kRowThreads}, stream, args);
}

}  // namespace spade::cuda
