#include "engine/runtime/generation.h"

#include <algorithm>
#include <utility>

#include "engine/sampling/vocab_scan.h"

namespace spade {
namespace {

// A history costs memory per distinct token: kept only where a penalty reads it.
TokenHistory MakeHistory(const GenerateRequest& request) {
  return TokenHistory(request.sampling.has_penalties()
                          ? std::span<const TokenId>(request.context.prompt)
                          : std::span<const TokenId>());
}

}  // namespace

double SecondsBetween(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

GeneratedSequence::GeneratedSequence(const Generation* generation, const Tokenizer* tokenizer,
                                     int32_t index)
    : generation_(generation),
      index_(index),
      history_(MakeHistory(generation->request())),
      matcher_(&generation->request().stop, generation->request().include_stop) {
  const GenerateRequest& request = generation->request();
  if (request.detokenize) {
    detokenizer_.emplace(tokenizer, request.context.prompt, request.skip_special_tokens);
  }
  drawn_.reserve(1);
  if (request.mode == ExitMode::kExact) return;
  early_.emplace(request.mode, generation->permit());
  drawn_.reserve(kMostParked + 1);
}

std::span<const TokenId> GeneratedSequence::banned() const {
  if (num_output_ >= generation_->request().min_tokens) return {};
  return generation_->stop_tokens();
}

SampledToken GeneratedSequence::Draw(std::span<const float> logits, int32_t position,
                                     SamplerScratch& scratch) const {
  if (generation_->is_forced()) return Score(logits, ForcedToken(), 0, scratch);
  return Sample(logits, generation_->request().sampling, history_, banned(),
                static_cast<uint32_t>(index_), position, scratch);
}

bool GeneratedSequence::AddQuery(int32_t row, int32_t vocab_size, int32_t position,
                                 LogitQueries& queries) const {
  if (!generation_->is_forced()) {
    return AddDraw(row, vocab_size, generation_->request().sampling, history_, banned(),
                   static_cast<uint32_t>(index_), position, queries);
  }
  AddScore(row, ForcedToken(), 0, queries);
  return true;
}

TokenId GeneratedSequence::Add(SampledToken token) {
  drawn_.push_back(std::move(token));
  if (early_) early_->EndRun();
  return drawn_.back().id;
}

bool GeneratedSequence::DrewNothing() const {
  return std::ranges::any_of(drawn_, [](const SampledToken& token) {
    return token.id == kNoTokenId || (token.rank == 1 && token.logprob == kNoLogit);
  });
}

TokenId GeneratedSequence::ForcedToken() const {
  const auto next = static_cast<size_t>(num_output_) + drawn_.size();
  return generation_->request().forced[static_cast<size_t>(index_)][next];
}

int32_t GeneratedSequence::max_tokens() const {
  const GenerateRequest& request = generation_->request();
  if (request.forced.empty()) return *request.max_tokens;
  return static_cast<int32_t>(request.forced[static_cast<size_t>(index_)].size());
}

GenerateDelta GeneratedSequence::Take(Clock::time_point now, int32_t cached_tokens) {
  GenerateDelta delta;
  delta.index = index_;
  if (!first_token_) {
    first_token_ = now;
    delta.prompt_logprobs = generation_->prompt_scores();
  }
  last_token_ = now;
  delta.tokens.reserve(drawn_.size());
  for (SampledToken& token : drawn_) {
    std::optional<Ending> ending = AddToken(std::move(token), &delta);
    if (!ending) continue;
    if (!ending->stop) AddHeldText(&*ending, &delta.text);
    delta.finish = Describe(*ending, cached_tokens);
    break;
  }
  drawn_.clear();
  return delta;
}

// Adds the next token and its text to the delta; how the sequence ends with it, if it does.
std::optional<GeneratedSequence::Ending> GeneratedSequence::AddToken(SampledToken token,
                                                                     GenerateDelta* delta) {
  const GenerateRequest& request = generation_->request();
  const TokenId id = token.id;
  delta->tokens.push_back(std::move(token));
  ++num_output_;
  if (request.sampling.has_penalties()) history_.Append(id);
  is_past_end_ = is_past_end_ || generation_->EndsText(id);
  std::optional<Ending> ending = AddText(id, &delta->text);
  if (!ending && num_output_ >= max_tokens()) {
    ending = Ending{FinishReason::kLength, std::nullopt, std::nullopt};
  }
  return ending;
}

// Appends the text that `id` completes; how the sequence ends, if it does.
std::optional<GeneratedSequence::Ending> GeneratedSequence::AddText(TokenId id, std::string* text) {
  const int32_t min_tokens = generation_->request().min_tokens;
  // A stop token drawn while banned is a plain token: nothing else could be drawn.
  if (num_output_ > min_tokens && generation_->IsStopToken(id)) {
    return Ending{FinishReason::kStop, id, std::nullopt};
  }
  if (!detokenizer_) return std::nullopt;
  const bool armed = num_output_ >= min_tokens;
  StopMatcher::Output output = matcher_.Push(detokenizer_->Append(id), armed);
  *text += output.text;
  if (!output.match) return std::nullopt;
  return Ending{FinishReason::kStop, std::nullopt, output.match};
}

// What detokenizer and matcher still hold back may itself hold a stop string.
void GeneratedSequence::AddHeldText(Ending* ending, std::string* text) {
  if (!detokenizer_) return;
  StopMatcher::Output output = matcher_.Push(detokenizer_->Flush(), /*armed=*/true);
  *text += output.text;
  if (!output.match) {
    *text += matcher_.Flush();
  } else if (!ending->token) {
    *ending = Ending{FinishReason::kStop, std::nullopt, output.match};
  }
}

SequenceFinish GeneratedSequence::Describe(const Ending& ending, int32_t cached_tokens) const {
  const GenerateRequest& request = generation_->request();
  SequenceFinish finish;
  finish.reason = ending.reason;
  finish.stop_token = ending.token;
  if (ending.stop) finish.stop_string = request.stop[static_cast<size_t>(*ending.stop)];
  finish.usage.prompt_tokens = static_cast<int32_t>(request.context.prompt.size());
  finish.usage.cached_tokens = cached_tokens;
  finish.usage.output_tokens = num_output_;
  const Clock::time_point scheduled = generation_->first_scheduled().value_or(*first_token_);
  finish.timings.queue_s = SecondsBetween(request.context.arrival, scheduled);
  finish.timings.prefill_s = SecondsBetween(scheduled, *first_token_);
  finish.timings.decode_s = SecondsBetween(*first_token_, *last_token_);
  return finish;
}

Generation::Generation(GenerateRequest request, std::shared_ptr<GenerateSink> sink,
                       const Tokenizer* tokenizer, std::span<const TokenId> eos_ids,
                       TokenPermit permit)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      permit_(permit),
      eos_ids_(eos_ids),
      stop_tokens_(request_.stop_token_ids) {
  if (!request_.ignore_eos) stop_tokens_.insert(stop_tokens_.end(), eos_ids.begin(), eos_ids.end());
  std::sort(stop_tokens_.begin(), stop_tokens_.end());
  if (scores_prompt()) prompt_scores_.resize(request_.context.prompt.size() - 1);
  sequences_.reserve(static_cast<size_t>(request_.num_sequences));
  for (int32_t i = 0; i < request_.num_sequences; ++i) {
    sequences_.push_back(std::make_unique<GeneratedSequence>(this, tokenizer, i));
  }
}

bool Generation::EndsText(TokenId id) const {
  return std::ranges::find(eos_ids_, id) != eos_ids_.end();
}

bool Generation::IsStopToken(TokenId id) const {
  return std::binary_search(stop_tokens_.begin(), stop_tokens_.end(), id);
}

}  // namespace spade
