#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "server/infer/generation_model.h"
#include "server/infer/infer_task.h"
#include "server/infer/model_catalog.h"
#include "tests/server/fake_engine.h"
#include "tests/server/infer_request.h"

namespace spade {
namespace {

class InferConvertTest : public ::testing::Test {
 protected:
  absl::StatusOr<InferTask> Prepare(InferRequestBuilder& builder, bool streaming = false) {
    return PrepareInference(model_, builder.request(), streaming, std::nullopt);
  }
  // The generation that these sampling_parameters ask for.
  absl::StatusOr<GenerateRequest> Sampling(const std::string& json) {
    InferRequestBuilder builder("fake");
    builder.Text("text_input", {"hello"}).Text("sampling_parameters", {json});
    auto task = Prepare(builder);
    if (!task.ok()) return task.status();
    return std::get<GenerateRequest>(std::move(task->request));
  }

  FakeEngine engine_;
  RandomSource random_;
  const ServedModel model_{&engine_, "fake", &random_};
};

InferRequestBuilder Hello() {
  return std::move(InferRequestBuilder("fake").Text("text_input", {"hello"}));
}

void ExpectRefused(const absl::Status& status, const std::string& field) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(std::string(status.message()).rfind(field, 0), 0u) << status;
}

TEST_F(InferConvertTest, SamplingParametersMayBeStrings) {
  const auto request = Sampling(
      R"({"max_tokens":"128","min_tokens":"5","temperature":0,"top_k":-1,"top_p":0.5,"seed":7,
          "stop":"end","stop_token_ids":[9],"ignore_eos":true,"logit_bias":{"12":-3}})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->max_tokens, 128);
  EXPECT_EQ(request->min_tokens, 5);
  EXPECT_TRUE(request->sampling.greedy());
  EXPECT_EQ(request->sampling.top_k, 0);
  EXPECT_EQ(request->sampling.top_p, 0.5f);
  EXPECT_EQ(request->sampling.seed, 7u);
  EXPECT_EQ(request->stop, std::vector<std::string>{"end"});
  EXPECT_EQ(request->stop_token_ids, std::vector<TokenId>{9});
  EXPECT_TRUE(request->ignore_eos);
  ASSERT_EQ(request->sampling.logit_bias.size(), 1u);
  EXPECT_EQ(request->sampling.logit_bias[0], std::make_pair(12, -3.0f));
}

TEST_F(InferConvertTest, GenerationTakesAModeToo) {
  const auto request = Sampling(R"({"temperature":0,"mode":"fast","max_mismatch":0.01})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->mode, ExitMode::kFast);
  EXPECT_EQ(request->max_mismatch, 0.01);
  ExpectRefused(Sampling(R"({"mode":"quick"})").status(), "mode");
  ExpectRefused(Sampling(R"({"max_mismatch":0.01})").status(), "max_mismatch");
}

TEST_F(InferConvertTest, BadSamplingParametersAreNamed) {
  ExpectRefused(Sampling("[1]").status(), "sampling_parameters");
  ExpectRefused(Sampling("{\"max_tokens\":").status(), "sampling_parameters");
  ExpectRefused(Sampling(R"({"temprature":1})").status(), "temprature");
  ExpectRefused(Sampling(R"({"top_p":2})").status(), "top_p");
  ExpectRefused(Sampling(R"({"max_tokens":0})").status(), "max_tokens");
  ExpectRefused(Sampling(R"({"max_tokens":4294967296})").status(), "max_tokens");
  ExpectRefused(Sampling(R"({"max_tokens":1.5})").status(), "max_tokens");
  ExpectRefused(Sampling(R"({"min_tokens":-1})").status(), "min_tokens");
  ExpectRefused(Sampling(R"({"top_k":-2})").status(), "top_k");
  ExpectRefused(Sampling(R"({"temperature":"nan"})").status(), "temperature");
  ExpectRefused(Sampling(R"({"stop":[1]})").status(), "stop");
  ExpectRefused(Sampling(R"({"logit_bias":{"x":1}})").status(), "logit_bias");
  ExpectRefused(Sampling("{\"stop\":\"\xff\"}").status(), "sampling_parameters");
}

TEST_F(InferConvertTest, DeeplyNestedParametersAreRefused) {
  const std::string nested = std::string(100'000, '[') + std::string(100'000, ']');
  ExpectRefused(Sampling("{\"stop\":" + nested + "}").status(), "sampling_parameters");
}

TEST_F(InferConvertTest, ScalarTensorsOfTheEnsembleWork) {
  InferRequestBuilder builder = Hello();
  builder.Number("max_tokens", "INT32", int32_t{6})
      .Number("temperature", "FP32", 0.5f)
      .Number("random_seed", "UINT64", uint64_t{0xFFFFFFFFFFFFFFFF})
      .Text("stop_words", {"a", "b"});
  const auto task = Prepare(builder);
  ASSERT_TRUE(task.ok()) << task.status();
  const auto& request = std::get<GenerateRequest>(task->request);
  EXPECT_EQ(request.max_tokens, 6);
  EXPECT_EQ(request.sampling.temperature, 0.5f);
  EXPECT_EQ(request.sampling.seed, 0xFFFFFFFFFFFFFFFFu);
  EXPECT_EQ(request.stop.size(), 2u);
}

TEST_F(InferConvertTest, TypedContentsAreAsGoodAsRawOnes) {
  ::inference::ModelInferRequest request;
  request.set_model_name("fake");
  auto* input = request.add_inputs();
  input->set_name("text_input");
  input->set_datatype("BYTES");
  input->add_shape(1);
  input->mutable_contents()->add_bytes_contents("hello");
  EXPECT_TRUE(PrepareInference(model_, request, false, std::nullopt).ok());
  request.add_raw_input_contents("\x05\0\0\0hello");
  ExpectRefused(PrepareInference(model_, request, false, std::nullopt).status(), "text_input");
}

TEST_F(InferConvertTest, ParametersOfTheRequestAreArguments) {
  InferRequestBuilder builder = Hello();
  auto& parameters = *builder.request().mutable_parameters();
  parameters["max_tokens"].set_int64_param(9);
  parameters["priority"].set_uint64_param(3);
  parameters["timeout"].set_int64_param(2'000'000);
  parameters["triton_enable_empty_final_response"].set_bool_param(true);
  auto task = Prepare(builder);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(std::get<GenerateRequest>(task->request).max_tokens, 9);
  EXPECT_EQ(task->context().deadline, task->context().arrival + std::chrono::seconds(2));
  parameters["sequence_id"].set_int64_param(1);
  EXPECT_EQ(Prepare(builder).status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(InferConvertTest, PriorityOneIsTheMostUrgentAndNoneComesLast) {
  std::vector<int32_t> priorities;
  for (const uint64_t level : {1, 2, 7, 0}) {
    InferRequestBuilder builder = Hello();
    (*builder.request().mutable_parameters())["priority"].set_uint64_param(level);
    auto task = Prepare(builder);
    ASSERT_TRUE(task.ok()) << task.status();
    priorities.push_back(task->context().priority);
  }
  EXPECT_TRUE(std::is_sorted(priorities.begin(), priorities.end()));
  EXPECT_EQ(priorities.back(), 0);
}

// It is done under a stream's lock, for which the engine may have to wait.
TEST_F(InferConvertTest, TakingAResponseDoesNotWriteItsLogprobs) {
  GenerationView view;
  view.stream = view.logprobs = true;
  GenerationOutput output(view, &engine_.tokenizer(), "", /*num_sequences=*/1, /*prompt_tokens=*/3);
  GenerateDelta delta;
  delta.tokens.resize(50'000);
  output.Add(delta);
  const auto begin = Clock::now();
  const MakeInferResponse make = output.Take();
  const auto taken = Clock::now();
  output.Add(delta);  // is of the next response
  const auto making = Clock::now();
  const ::inference::ModelInferResponse response = make();
  EXPECT_LT(4 * (taken - begin), Clock::now() - making);
  const std::string& text = response.raw_output_contents(1);
  EXPECT_EQ(nlohmann::json::parse(text.substr(4)).size(), 50'000u);
}

TEST_F(InferConvertTest, BrokenTensorsAreNamed) {
  using Change = std::function<void(::inference::ModelInferRequest&)>;
  const std::pair<const char*, Change> cases[] = {
      {"text_input", [](auto& r) { r.mutable_raw_input_contents(0)->pop_back(); }},
      {"text_input", [](auto& r) { *r.mutable_raw_input_contents(0) = std::string(1, 1); }},
      {"text_input", [](auto& r) { r.mutable_raw_input_contents(0)->append(4, 0); }},
      {"text_input", [](auto& r) { r.mutable_raw_input_contents(0)->clear(); }},
      {"text_input", [](auto& r) { r.mutable_inputs(0)->set_shape(0, -1); }},
      {"text_input", [](auto& r) { r.mutable_inputs(0)->set_shape(0, 2); }},
      {"text_input", [](auto& r) { r.mutable_inputs(0)->add_shape(INT64_MAX); }},
      {"text_input", [](auto& r) { r.mutable_inputs(0)->set_datatype("FP32"); }},
      {"text_input", [](auto& r) { r.clear_inputs(), r.clear_raw_input_contents(); }},
      {"inputs", [](auto& r) { r.mutable_inputs(0)->set_name("prompt"); }},
      {"raw_input_contents", [](auto& r) { r.add_raw_input_contents(""); }},
      {"outputs", [](auto& r) { r.add_outputs()->set_name("embedding"); }},
      {"id", [](auto& r) { r.set_id(std::string(2000, 'x')); }},
  };
  for (const auto& [field, change] : cases) {
    InferRequestBuilder builder = Hello();
    change(builder.request());
    ExpectRefused(Prepare(builder).status(), field);
  }
}

TEST_F(InferConvertTest, StreamsNeedTheStreamingCall) {
  InferRequestBuilder builder = Hello();
  builder.Bool("stream", true);
  ExpectRefused(Prepare(builder, /*streaming=*/false).status(), "stream");
  EXPECT_TRUE(Prepare(builder, /*streaming=*/true).ok());
  builder.Bool("exclude_input_in_output", false);
  ExpectRefused(Prepare(builder, /*streaming=*/true).status(), "exclude_input_in_output");
}

TEST_F(InferConvertTest, DecisionTakesLabelsAndMode) {
  InferRequestBuilder builder("fake-decide");
  builder.Text("text", {"the area is"})
      .Text("labels", {" car", " bank"})
      .Text("mode", {"fast"})
      .Number("max_mismatch", "FP64", 0.01);
  const auto task = Prepare(builder);
  ASSERT_TRUE(task.ok()) << task.status();
  const auto& request = std::get<DecideRequest>(task->request);
  EXPECT_EQ(request.labels.size(), 2u);
  EXPECT_EQ(request.mode, ExitMode::kFast);
  EXPECT_EQ(request.max_mismatch, 0.01);
}

TEST_F(InferConvertTest, DecisionRefusesWhatTheNativeApiDoes) {
  InferRequestBuilder one_label("fake-decide");
  one_label.Text("text", {"x"}).Text("labels", {" car"});
  ExpectRefused(Prepare(one_label).status(), "labels");
  InferRequestBuilder no_mode("fake-decide");
  no_mode.Text("text", {"x"}).Text("labels", {" car", " bank"}).Text("mode", {"quick"});
  ExpectRefused(Prepare(no_mode).status(), "mode");
  InferRequestBuilder no_bound("fake-decide");
  no_bound.Text("text", {"x"}).Text("labels", {" car", " bank"}).Text("mode", {"fast"});
  ExpectRefused(Prepare(no_bound).status(), "max_mismatch");
}

TEST_F(InferConvertTest, OnlyTheCataloguesModelsExist) {
  InferRequestBuilder builder("fake2");
  EXPECT_EQ(Prepare(builder).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(FindModel("fake", "fake-decide", "1").ok());
  EXPECT_EQ(FindModel("fake", "fake", "2").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(InferConvertTest, ConfigAndMetadataNameTheSameTensors) {
  for (const CatalogModel& model : Catalog("fake")) {
    const auto metadata = DescribeTensors(model);
    const auto config = DescribeConfig(model);
    ASSERT_EQ(metadata.inputs_size(), config.input_size());
    ASSERT_EQ(metadata.outputs_size(), config.output_size());
    for (int i = 0; i < config.input_size(); ++i) {
      EXPECT_EQ(config.input(i).name(), metadata.inputs(i).name());
      EXPECT_FALSE(metadata.inputs(i).datatype().empty());
    }
    EXPECT_TRUE(config.model_transaction_policy().decoupled());
  }
}

}  // namespace
}  // namespace spade
