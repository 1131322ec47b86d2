#include <gtest/gtest.h>

#include <algorithm>

#include "tests/runtime/engine_fixture.h"
#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

constexpr TokenId kEos = 1;

class GenerateTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { engine_ = new TestEngine(MakeEngine(SmallOptions())); }
  static void TearDownTestSuite() { delete engine_; }

  static Engine& engine() { return **engine_; }
  static SequenceResult Run(GenerateRequest request) {
    return RunToEnd(engine(), std::move(request)).at(0);
  }
  // Greedy, 16 tokens, no stop.
  static const SequenceResult& Plain() {
    static const SequenceResult plain = Run(PlainRequest());
    return plain;
  }
  static GenerateRequest PlainRequest() {
    return MakeRequest(*engine().tokenizer().Encode("Once upon a time there was a", true), 16);
  }
  // EOS is all that greedy can want.
  static GenerateRequest EosRequest() {
    GenerateRequest request = PlainRequest();
    request.ignore_eos = false;
    request.sampling.logit_bias = {{kEos, 100.0f}};
    return request;
  }

 private:
  static TestEngine* engine_;
};

TestEngine* GenerateTest::engine_ = nullptr;

TEST_F(GenerateTest, EndsByLength) {
  const SequenceResult& result = Plain();
  EXPECT_EQ(result.tokens.size(), 16u);
  ASSERT_TRUE(result.finish);
  EXPECT_EQ(result.finish->reason, FinishReason::kLength);
  EXPECT_EQ(result.finish->usage.prompt_tokens, PlainRequest().context.prompt.size());
  EXPECT_EQ(result.finish->usage.output_tokens, 16);
  EXPECT_GE(result.finish->timings.queue_s, 0);
  EXPECT_GT(result.finish->timings.prefill_s, 0);
  EXPECT_GT(result.finish->timings.decode_s, 0);
}

TEST_F(GenerateTest, TextIsTheTokensDecoded) {
  EXPECT_EQ(Plain().text, engine().tokenizer().Decode(Plain().tokens, true));
}

TEST_F(GenerateTest, WithoutTextOnRequest) {
  GenerateRequest request = PlainRequest();
  request.detokenize = false;
  const SequenceResult result = Run(request);
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.tokens, Plain().tokens);
}

TEST_F(GenerateTest, FillsTheContextByDefault) {
  GenerateRequest request = MakeRequest(MakePrompt(240, 5), 1);
  request.max_tokens.reset();
  const SequenceResult result = Run(request);
  EXPECT_EQ(result.tokens.size(), 16u);
  EXPECT_EQ(result.finish->reason, FinishReason::kLength);
}

TEST_F(GenerateTest, EosEndsAndIsNoText) {
  const SequenceResult result = Run(EosRequest());
  EXPECT_EQ(result.tokens, std::vector<TokenId>{kEos});
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.finish->reason, FinishReason::kStop);
  EXPECT_EQ(result.finish->stop_token, kEos);
}

TEST_F(GenerateTest, IgnoredEosIsAToken) {
  GenerateRequest request = EosRequest();
  request.ignore_eos = true;
  EXPECT_EQ(Run(request).tokens, std::vector<TokenId>(16, kEos));
}

TEST_F(GenerateTest, MinTokensBansEos) {
  GenerateRequest request = EosRequest();
  request.min_tokens = 5;
  const SequenceResult result = Run(request);
  ASSERT_EQ(result.tokens.size(), 6u);
  EXPECT_EQ(std::count(result.tokens.begin(), result.tokens.end(), kEos), 1);
  EXPECT_EQ(result.tokens.back(), kEos);
}

TEST_F(GenerateTest, StopTokenEnds) {
  const TokenId stop = Plain().tokens[6];
  const auto first = std::find(Plain().tokens.begin(), Plain().tokens.end(), stop);
  GenerateRequest request = PlainRequest();
  request.stop_token_ids = {stop};
  const SequenceResult result = Run(request);
  EXPECT_EQ(result.tokens, std::vector<TokenId>(Plain().tokens.begin(), first + 1));
  EXPECT_EQ(result.finish->stop_token, stop);
  EXPECT_EQ(result.text, engine().tokenizer().Decode({Plain().tokens.begin(), first}, true));
}

// A string of the plain output that no single token holds.
std::string CrossingStop(const Engine& engine, const SequenceResult& plain) {
  const std::string begin =
      engine.tokenizer().Decode({plain.tokens.begin(), plain.tokens.begin() + 6}, true);
  return plain.text.substr(begin.size() - 2, 4);
}

TEST_F(GenerateTest, StopStringAcrossTokens) {
  const std::string stop = CrossingStop(engine(), Plain());
  GenerateRequest request = PlainRequest();
  request.stop = {"never seen", stop};
  const SequenceResult result = Run(request);
  EXPECT_EQ(result.text, Plain().text.substr(0, Plain().text.find(stop)));
  EXPECT_EQ(result.finish->reason, FinishReason::kStop);
  EXPECT_EQ(result.finish->stop_string, stop);
  EXPECT_LT(result.tokens.size(), Plain().tokens.size());
}

TEST_F(GenerateTest, StopStringStaysOnRequest) {
  const std::string stop = CrossingStop(engine(), Plain());
  GenerateRequest request = PlainRequest();
  request.stop = {stop};
  request.include_stop = true;
  EXPECT_EQ(Run(request).text, Plain().text.substr(0, Plain().text.find(stop) + stop.size()));
}

TEST_F(GenerateTest, StopStringBeforeMinTokensIsText) {
  const std::string stop = CrossingStop(engine(), Plain());
  GenerateRequest request = PlainRequest();
  request.stop = {stop};
  request.min_tokens = 16;
  const SequenceResult result = Run(request);
  EXPECT_EQ(result.tokens, Plain().tokens);
  EXPECT_EQ(result.text, Plain().text);
}

TEST_F(GenerateTest, HeldTextComesWithTheEnd) {
  GenerateRequest request = PlainRequest();
  request.stop = {Plain().text.substr(Plain().text.size() - 3) + "and more"};
  const SequenceResult result = Run(request);
  EXPECT_EQ(result.text, Plain().text);
  EXPECT_EQ(result.finish->reason, FinishReason::kLength);
}

TEST_F(GenerateTest, LogprobsHaveAlternatives) {
  GenerateRequest request = PlainRequest();
  request.sampling.num_logprobs = 3;
  for (const SampledToken& token : Run(request).sampled) {
    EXPECT_EQ(token.rank, 1);  // greedy
    ASSERT_EQ(token.top.size(), 3u);
    EXPECT_EQ(token.top[0].id, token.id);
    EXPECT_EQ(token.top[0].logprob, token.logprob);
    EXPECT_LE(token.logprob, 0);
  }
}

// Prompt logprobs are those of a plain run over the prompt, to the bit, in slices or not.
TEST_F(GenerateTest, PromptLogprobsAreTeacherForced) {
  const auto backend = MakeTestBackend("cpu");
  const auto model = LoadModelOrDie(backend.get(), TicketsModel(), ModelOptions{});
  ModelRunner runner(backend.get(), model.get());
  const std::vector<TokenId> prompt = MakePrompt(70, 2);
  const auto logits = runner.Prefill(0, 0, prompt);
  EngineOptions chunked = SmallOptions();
  chunked.max_rows = 9;
  const TestEngine small = MakeEngine(chunked);
  for (Engine* engine : {&GenerateTest::engine(), small.engine.get()}) {
    GenerateRequest request = MakeRequest(prompt, 3);
    request.prompt_logprobs = 2;
    request.num_sequences = 3;
    for (const SequenceResult& result : RunToEnd(*engine, request)) {
      ASSERT_EQ(result.prompt_logprobs.size(), prompt.size() - 1);
      SamplerScratch scratch;
      for (size_t i = 0; i + 1 < prompt.size(); ++i) {
        const SampledToken expected = Score(logits[i], prompt[i + 1], 2, scratch);
        EXPECT_EQ(result.prompt_logprobs[i].id, prompt[i + 1]);
        EXPECT_EQ(result.prompt_logprobs[i].logprob, expected.logprob);
        EXPECT_EQ(result.prompt_logprobs[i].rank, expected.rank);
        ASSERT_EQ(result.prompt_logprobs[i].top.size(), 2u);
        EXPECT_EQ(result.prompt_logprobs[i].top[1].id, expected.top[1].id);
      }
    }
  }
}

TEST_F(GenerateTest, SequencesDiffer) {
  GenerateRequest request = PlainRequest();
  request.num_sequences = 3;
  request.sampling.temperature = 1.5f;
  request.sampling.seed = 3;
  const auto results = RunToEnd(engine(), request);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_NE(results[0].tokens, results[1].tokens);
  EXPECT_NE(results[1].tokens, results[2].tokens);
}

TEST_F(GenerateTest, InfoDescribesTheModel) {
  EXPECT_EQ(engine().info().config.num_layers, 12);
  EXPECT_EQ(engine().info().weight_dtype, "bf16");
  EXPECT_EQ(engine().info().max_context, 256);
  EXPECT_GT(engine().info().weight_bytes, 0);
}

}  // namespace
}  // namespace spade::testing
