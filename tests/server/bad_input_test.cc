#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "tests/server/server_fixture.h"

namespace spade {
namespace {

class BadInputTest : public ServerTest {
 protected:
  BadInputTest() { Serve(); }

  // The refusal of a good request after `change`.
  grpc::Status Generate(const std::function<void(v1::GenerateRequest&)>& change) {
    v1::GenerateRequest request = Generation(4);
    change(request);
    const auto context = Context();
    const auto reader = stub().Generate(context.get(), request);
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
  grpc::Status Decide(const std::function<void(v1::DecideRequest&)>& change) {
    v1::DecideRequest request = Question("q");
    change(request);
    const auto context = Context();
    const auto reader = stub().Decide(context.get(), request);
    v1::DecideResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
};

void ExpectNames(const grpc::Status& status, const std::string& field) {
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << field;
  EXPECT_NE(status.error_message().find(field), std::string::npos) << status.error_message();
}

const float kNan = std::nanf("");
const float kInfinity = std::numeric_limits<float>::infinity();

TEST_F(BadInputTest, SamplingOutOfRange) {
  using Change = std::function<void(v1::Sampling&)>;
  const std::pair<const char*, Change> cases[] = {
      {"sampling.temperature", [](auto& s) { s.set_temperature(-1); }},
      {"sampling.temperature", [](auto& s) { s.set_temperature(kNan); }},
      {"sampling.temperature", [](auto& s) { s.set_temperature(kInfinity); }},
      {"sampling.top_k", [](auto& s) { s.set_top_k(0x80000000u); }},
      {"sampling.top_p", [](auto& s) { s.set_top_p(0); }},
      {"sampling.top_p", [](auto& s) { s.set_top_p(1.5f); }},
      {"sampling.top_p", [](auto& s) { s.set_top_p(kNan); }},
      {"sampling.min_p", [](auto& s) { s.set_min_p(-0.1f); }},
      {"sampling.repetition_penalty", [](auto& s) { s.set_repetition_penalty(0); }},
      {"sampling.presence_penalty", [](auto& s) { s.set_presence_penalty(3); }},
      {"sampling.frequency_penalty", [](auto& s) { s.set_frequency_penalty(kNan); }},
      {"sampling.logit_bias", [](auto& s) { (*s.mutable_logit_bias())[4096] = 1; }},
      {"sampling.logit_bias", [](auto& s) { (*s.mutable_logit_bias())[1] = kInfinity; }},
      {"sampling.allowed_token_ids", [](auto& s) { s.add_allowed_token_ids(0xffffffffu); }},
      {"sampling.allowed_token_ids",
       [](auto& s) {
         for (int i = 0; i < 5000; ++i) s.add_allowed_token_ids(1);
       }},
  };
  for (const auto& [field, change] : cases) {
    ExpectNames(
        Generate([&change = change](auto& request) { change(*request.mutable_sampling()); }),
        field);
  }
}

TEST_F(BadInputTest, StoppingAndOutputOutOfRange) {
  using Change = std::function<void(v1::GenerateRequest&)>;
  const std::pair<const char*, Change> cases[] = {
      {"stopping.max_tokens", [](auto& r) { r.mutable_stopping()->set_max_tokens(0); }},
      {"stopping.max_tokens", [](auto& r) { r.mutable_stopping()->set_max_tokens(1u << 31); }},
      {"stopping.min_tokens", [](auto& r) { r.mutable_stopping()->set_min_tokens(5); }},
      {"stopping.stop", [](auto& r) { r.mutable_stopping()->add_stop(""); }},
      {"stopping.stop", [](auto& r) { r.mutable_stopping()->add_stop(std::string(300, 'x')); }},
      {"stopping.stop",
       [](auto& r) {
         for (int i = 0; i < 20; ++i) r.mutable_stopping()->add_stop(std::string("x"));
       }},
      {"stopping.stop_token_ids", [](auto& r) { r.mutable_stopping()->add_stop_token_ids(9999); }},
      {"output.logprobs", [](auto& r) { r.mutable_output()->set_logprobs(21); }},
      {"output.prompt_logprobs", [](auto& r) { r.mutable_output()->set_prompt_logprobs(21); }},
      {"output.text",
       [](auto& r) {
         r.mutable_stopping()->add_stop(std::string("x"));
         r.mutable_output()->set_text(false);
       }},
      {"n", [](auto& r) { r.set_n(1000); }},
  };
  for (const auto& [field, change] : cases) ExpectNames(Generate(change), field);
}

TEST_F(BadInputTest, PromptAndIdentity) {
  using Change = std::function<void(v1::GenerateRequest&)>;
  const std::pair<const char*, Change> cases[] = {
      {"prompt", [](auto& r) { r.clear_prompt(); }},
      {"prompt", [](auto& r) { r.mutable_token_ids(); }},
      {"token_ids", [](auto& r) { r.mutable_token_ids()->add_ids(4096); }},
      {"token_ids",
       [](auto& r) {
         for (int i = 0; i < 257; ++i) r.mutable_token_ids()->add_ids(1);
       }},
      {"text", [](auto& r) { r.set_text(std::string(100'000, 'x')); }},
      {"request_id", [](auto& r) { r.set_request_id(std::string(2000, 'x')); }},
      {"cache_salt", [](auto& r) { r.set_cache_salt(std::string(2000, 'x')); }},
  };
  for (const auto& [field, change] : cases) ExpectNames(Generate(change), field);
}

TEST_F(BadInputTest, GenerateModes) {
  using Change = std::function<void(v1::GenerateRequest&)>;
  const std::pair<const char*, Change> cases[] = {
      {"mode", [](auto& r) { r.set_mode(static_cast<v1::Mode>(17)); }},
      {"max_mismatch", [](auto& r) { r.set_max_mismatch(0.1); }},
      {"max_mismatch", [](auto& r) { r.set_mode(v1::MODE_FAST); }},
      {"max_mismatch",
       [](auto& r) {
         r.set_mode(v1::MODE_VERIFIED);
         r.set_max_mismatch(0.1);
       }},
      {"max_mismatch",
       [](auto& r) {
         r.set_mode(v1::MODE_FAST);
         r.set_max_mismatch(1);
       }},
  };
  for (const auto& [field, change] : cases) ExpectNames(Generate(change), field);
}

TEST_F(BadInputTest, AnotherModelIsNotFound) {
  const grpc::Status status = Generate([](auto& request) { request.set_model("other"); });
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(Generate([](auto& request) { request.set_model("fake"); }).ok());
}

TEST_F(BadInputTest, DecideFields) {
  using Change = std::function<void(v1::DecideRequest&)>;
  const std::pair<const char*, Change> cases[] = {
      {"labels", [](auto& r) { r.clear_labels(); }},
      {"labels",
       [](auto& r) {
         for (int i = 0; i < 2000; ++i) r.add_labels(" x");
       }},
      {"labels[2]", [](auto& r) { r.add_labels(" car"); }},
      {"labels[2]", [](auto& r) { r.add_labels(""); }},
      {"labels[2]",
       [](auto& r) {
         r.add_labels(" incomprehensibilities");
         r.set_mode(v1::MODE_FAST);
         r.set_max_mismatch(0.1);
       }},
      {"labels",
       [](auto& r) {
         for (int i = 0; i < 200; ++i) r.add_labels(" incomprehensible" + std::to_string(i));
       }},
      {"mode", [](auto& r) { r.set_mode(static_cast<v1::Mode>(17)); }},
      {"max_mismatch", [](auto& r) { r.set_max_mismatch(0.1); }},
      {"max_mismatch", [](auto& r) { r.set_mode(v1::MODE_FAST); }},
      {"max_mismatch",
       [](auto& r) {
         r.set_mode(v1::MODE_VERIFIED);
         r.set_max_mismatch(std::nan(""));
       }},
      {"label_priors", [](auto& r) { r.add_label_priors(1); }},
      {"label_priors",
       [](auto& r) {
         r.add_label_priors(1);
         r.add_label_priors(0);
       }},
      {"temperature", [](auto& r) { r.set_temperature(0); }},
  };
  for (const auto& [field, change] : cases) ExpectNames(Decide(change), field);
}

TEST_F(BadInputTest, TokenizerCalls) {
  const auto context = Context();
  v1::DetokenizeRequest request;
  request.add_token_ids(1u << 31);
  v1::DetokenizeResponse response;
  ExpectNames(stub().Detokenize(context.get(), request, &response), "token_ids");
}

TEST_F(BadInputTest, NothingReachedTheEngine) {
  Generate([](auto& request) { request.mutable_sampling()->set_top_p(2); });
  Decide([](auto& request) { request.clear_labels(); });
  EXPECT_EQ(engine().num_accepted(), 0);
}

}  // namespace
}  // namespace spade
