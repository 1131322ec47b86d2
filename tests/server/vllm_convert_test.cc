#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "server/vllm/generate_buffer.h"
#include "server/vllm/generate_convert.h"
#include "tests/server/fake_engine.h"

namespace spade {
namespace {

class VllmConvertTest : public ::testing::Test {
 protected:
  absl::StatusOr<GenerateRequest> Convert(const vllm_api::GenerateRequest& request) {
    return ConvertVllmRequest(request, converter_, /*max_context=*/256);
  }
  static vllm_api::GenerateRequest Request(int num_tokens = 4) {
    vllm_api::GenerateRequest request;
    for (int i = 0; i < num_tokens; ++i) request.mutable_tokenized()->add_input_ids(i + 100);
    return request;
  }

  FakeEngine engine_;
  RandomSource random_;
  const RequestConverter converter_{&engine_.tokenizer(), &engine_.info(), "fake", &random_};
};

TEST_F(VllmConvertTest, ZerosAreVllmsDefaults) {
  const auto request = Convert(Request());
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->sampling.temperature, 1.0f);
  EXPECT_EQ(request->sampling.top_p, 1.0f);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.0f);
  EXPECT_EQ(request->num_sequences, 1);
  EXPECT_FALSE(request->max_tokens.has_value());
  EXPECT_FALSE(request->sampling.num_logprobs.has_value());
  EXPECT_FALSE(request->detokenize);
  EXPECT_EQ(request->context.prompt, (std::vector<TokenId>{100, 101, 102, 103}));
}

TEST_F(VllmConvertTest, FieldsArriveAtTheEngine) {
  vllm_api::GenerateRequest proto = Request();
  vllm_api::SamplingParams& params = *proto.mutable_sampling_params();
  params.set_temperature(0);
  params.set_n(3);
  params.set_max_tokens(7);
  params.add_stop("x");
  params.add_stop_token_ids(9);
  params.set_ignore_eos(true);
  params.set_logprobs(5);
  params.set_seed(-1);
  (*params.mutable_logit_bias())[12] = 2;
  const auto request = Convert(proto);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->sampling.greedy());
  EXPECT_EQ(request->num_sequences, 3);
  EXPECT_EQ(request->max_tokens, 7);
  EXPECT_TRUE(request->detokenize) << "stop strings need the text";
  EXPECT_EQ(request->stop_token_ids, std::vector<TokenId>{9});
  EXPECT_TRUE(request->ignore_eos);
  EXPECT_EQ(request->sampling.num_logprobs, 5);
  EXPECT_EQ(request->sampling.seed, 0xFFFFFFFFFFFFFFFFu);
  EXPECT_EQ(request->sampling.logit_bias[0], std::make_pair(12, 2.0f));
}

TEST_F(VllmConvertTest, TruncationKeepsTheLastTokens) {
  vllm_api::GenerateRequest proto = Request(10);
  proto.mutable_sampling_params()->set_truncate_prompt_tokens(3);
  EXPECT_EQ(Convert(proto)->context.prompt, (std::vector<TokenId>{107, 108, 109}));
  proto = Request(1000);
  EXPECT_EQ(Convert(proto).status().code(), absl::StatusCode::kInvalidArgument);
  proto.mutable_sampling_params()->set_truncate_prompt_tokens(-1);
  EXPECT_EQ(Convert(proto)->context.prompt.size(), 256u);
}

TEST_F(VllmConvertTest, WrongValuesAreNamedAsVllmNamesThem) {
  using Change = std::function<void(vllm_api::SamplingParams&)>;
  const std::pair<const char*, Change> cases[] = {
      {"sampling_params.top_p", [](auto& p) { p.set_top_p(2); }},
      {"sampling_params.temperature", [](auto& p) { p.set_temperature(-1); }},
      {"sampling_params.max_tokens", [](auto& p) { p.set_max_tokens(0); }},
      {"sampling_params.logprobs", [](auto& p) { p.set_logprobs(-1); }},
      {"sampling_params.prompt_logprobs", [](auto& p) { p.set_prompt_logprobs(21); }},
      {"sampling_params.logit_bias", [](auto& p) { (*p.mutable_logit_bias())[-1] = 1; }},
      {"sampling_params.truncate_prompt_tokens", [](auto& p) { p.set_truncate_prompt_tokens(0); }},
      {"n:", [](auto& p) { p.set_n(1000); }},
  };
  for (const auto& [field, change] : cases) {
    vllm_api::GenerateRequest proto = Request();
    change(*proto.mutable_sampling_params());
    const absl::Status status = Convert(proto).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(std::string(status.message()).rfind(field, 0), 0u) << status;
  }
}

TEST_F(VllmConvertTest, WhatIsNotServedIsUnimplemented) {
  const std::function<void(vllm_api::GenerateRequest&)> cases[] = {
      [](auto& r) { r.mutable_sampling_params()->set_json_object(true); },
      [](auto& r) { r.mutable_sampling_params()->set_regex("a+"); },
      [](auto& r) { r.mutable_mm_inputs(); },
      [](auto& r) { r.mutable_media_refs(); },
      [](auto& r) { r.mutable_kv_transfer_params(); },
      [](auto& r) { r.set_kv_transfer_params_json("{}"); },
      [](auto& r) { r.set_data_parallel_rank(1); },
  };
  for (const auto& change : cases) {
    vllm_api::GenerateRequest proto = Request();
    change(proto);
    EXPECT_EQ(Convert(proto).status().code(), absl::StatusCode::kUnimplemented);
  }
}

class VllmBufferTest : public ::testing::Test {
 protected:
  static VllmGenerateBuffer Buffer(bool stream, int32_t num_sequences = 1) {
    VllmGenerateBuffer buffer(stream);
    GenerateRequest request;
    request.context.prompt = {5, 6, 7};
    request.num_sequences = num_sequences;
    request.sampling.num_logprobs = 1;
    buffer.SetRequest(request, /*eos_ids=*/{1});
    return buffer;
  }
  static GenerateDelta Delta(TokenId id) {
    GenerateDelta delta;
    delta.tokens.push_back(SampledToken{id, -0.5f, 1, {{id, -0.5f}}});
    return delta;
  }
  static GenerateDelta Last(TokenId id, std::optional<TokenId> stop_token) {
    GenerateDelta delta = Delta(id);
    delta.finish.emplace();
    delta.finish->reason = stop_token ? FinishReason::kStop : FinishReason::kLength;
    delta.finish->stop_token = stop_token;
    delta.finish->usage = {3, 2, 2};
    return delta;
  }
};

TEST_F(VllmBufferTest, StreamHasEveryTokenInAChunkThenCompletes) {
  VllmGenerateBuffer buffer = Buffer(true);
  buffer.Add(Delta(10));
  buffer.Add(Delta(11));
  buffer.Add(Last(12, std::nullopt));
  const auto chunk = buffer.Take().chunk();
  EXPECT_EQ(chunk.token_ids_size(), 3) << "what waits is merged";
  EXPECT_EQ(chunk.completion_tokens(), 3u);
  EXPECT_EQ(chunk.prompt_tokens(), 3u);
  EXPECT_EQ(chunk.output_logprobs().token_logprobs_size(), 3);
  EXPECT_EQ(chunk.output_logprobs().top_logprobs_size(), 3);
  const auto complete = buffer.Take().complete();
  EXPECT_EQ(complete.finish_reason(), "length");
  EXPECT_EQ(complete.output_ids_size(), 1) << "the last delta again, as vLLM does";
  EXPECT_EQ(complete.cached_tokens(), 2u);
  EXPECT_TRUE(buffer.empty());
}

TEST_F(VllmBufferTest, ChunksAreBounded) {
  VllmGenerateBuffer buffer = Buffer(true);
  for (int i = 0; i < 2000; ++i) buffer.Add(Delta(10));
  EXPECT_EQ(buffer.Take().chunk().token_ids_size(), VllmGenerateBuffer::kMaxTokensPerChunk);
  EXPECT_EQ(buffer.Take().chunk().token_ids_size(), 2000 - VllmGenerateBuffer::kMaxTokensPerChunk);
}

TEST_F(VllmBufferTest, WithoutStreamingOneCompleteHasItAll) {
  VllmGenerateBuffer buffer = Buffer(false);
  buffer.Add(Delta(10));
  EXPECT_TRUE(buffer.empty());
  buffer.Add(Last(11, std::nullopt));
  const auto complete = buffer.Take().complete();
  EXPECT_EQ(complete.output_ids_size(), 2);
  EXPECT_EQ(complete.completion_tokens(), 2u);
  EXPECT_EQ(complete.output_logprobs().token_logprobs_size(), 2);
}

TEST_F(VllmBufferTest, StopTokensAreMatchesAndEosIsNot) {
  VllmGenerateBuffer eos = Buffer(false);
  eos.Add(Last(1, 1));
  const auto at_eos = eos.Take().complete();
  EXPECT_EQ(at_eos.finish_reason(), "stop");
  EXPECT_EQ(at_eos.matched_stop_case(), vllm_api::GenerateComplete::MATCHED_STOP_NOT_SET);
  VllmGenerateBuffer stop = Buffer(false);
  stop.Add(Last(9, 9));
  EXPECT_EQ(stop.Take().complete().matched_token_id(), 9u);
}

TEST_F(VllmBufferTest, PromptLogprobsStartWithAnUnscoredToken) {
  VllmGenerateBuffer buffer = Buffer(true);
  GenerateDelta delta = Delta(10);
  delta.prompt_logprobs = {SampledToken{6, -1, 2, {}}, SampledToken{7, -2, 3, {}}};
  buffer.Add(delta);
  const auto chunk = buffer.Take().chunk();
  ASSERT_EQ(chunk.input_logprobs().token_ids_size(), 3);
  EXPECT_EQ(chunk.input_logprobs().token_ids(0), 5u);
  EXPECT_FALSE(chunk.input_logprobs().token_logprobs(0).has_value());
  EXPECT_EQ(chunk.input_logprobs().token_logprobs(2).value(), -2);
}

TEST_F(VllmBufferTest, AbortEndsWhatHasNotEnded) {
  VllmGenerateBuffer buffer = Buffer(false, 2);
  buffer.Add(Last(10, std::nullopt));
  buffer.Add(VllmGenerateBuffer::Aborted{});
  EXPECT_EQ(buffer.Take().complete().finish_reason(), "length");
  const auto aborted = buffer.Take().complete();
  EXPECT_EQ(aborted.finish_reason(), "abort");
  EXPECT_EQ(aborted.index(), 1u);
  EXPECT_TRUE(buffer.empty());
}

}  // namespace
}  // namespace spade
