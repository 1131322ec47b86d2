#include "engine/sampling/sampling_params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "absl/status/status.h"

namespace spade {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocab = 100;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(SamplingParamsTest, DefaultsAreValid) { EXPECT_TRUE(Validate(SamplingParams{}, kVocab).ok()); }

TEST(SamplingParamsTest, TheLimitsThemselvesAreValid) {
  SamplingParams params;
  params.temperature = 0;
  params.min_p = 1;
  params.presence_penalty = -2;
  params.frequency_penalty = 2;
  params.logit_bias = {{0, -100.0f}, {kVocab - 1, 100.0f}};
  params.allowed_token_ids = {0, kVocab - 1};
  params.num_logprobs = 20;
  EXPECT_TRUE(Validate(params, kVocab).ok());
}

struct Refused {
  std::string field;
  std::function<void(SamplingParams&)> set;
};

class RefusedParamsTest : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedParamsTest, IsInvalidArgumentThatNamesTheField) {
  SamplingParams params;
  GetParam().set(params);
  const absl::Status status = Validate(params, kVocab);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().field));
}

#define SET(field, value)                                         \
  Refused {                                                       \
#field, [](SamplingParams & params) { params.field = value; } \
  }

INSTANTIATE_TEST_SUITE_P(
    Floats, RefusedParamsTest,
    ::testing::Values(SET(temperature, -0.1f), SET(temperature, 101.0f), SET(temperature, kNan),
                      SET(temperature, kInf), SET(top_p, 0.0f), SET(top_p, -1.0f),
                      SET(top_p, 1.01f), SET(top_p, kNan), SET(min_p, -0.1f), SET(min_p, 1.1f),
                      SET(min_p, kNan), SET(repetition_penalty, 0.0f),
                      SET(repetition_penalty, -1.0f), SET(repetition_penalty, kInf),
                      SET(repetition_penalty, kNan), SET(presence_penalty, 2.1f),
                      SET(presence_penalty, -2.1f), SET(presence_penalty, kNan),
                      SET(frequency_penalty, 2.1f), SET(frequency_penalty, -2.1f),
                      SET(frequency_penalty, kNan)));

INSTANTIATE_TEST_SUITE_P(Integers, RefusedParamsTest,
                         ::testing::Values(SET(top_k, -1), SET(num_logprobs, -1),
                                           SET(num_logprobs, 21)));

INSTANTIATE_TEST_SUITE_P(Ids, RefusedParamsTest,
                         ::testing::Values(SET(allowed_token_ids, {-1}),
                                           SET(allowed_token_ids, {kVocab}),
                                           Refused{"logit_bias",
                                                   [](SamplingParams& params) {
                                                     params.logit_bias = {{-1, 1.0f}};
                                                   }},
                                           Refused{"logit_bias",
                                                   [](SamplingParams& params) {
                                                     params.logit_bias = {{kVocab, 1.0f}};
                                                   }},
                                           Refused{"logit_bias",
                                                   [](SamplingParams& params) {
                                                     params.logit_bias = {{1, 100.1f}};
                                                   }},
                                           Refused{"logit_bias", [](SamplingParams& params) {
                                                     params.logit_bias = {{1, kNan}};
                                                   }}));

#undef SET

}  // namespace
}  // namespace spade
