// spade-calibrate's two commands on a few of the bundled model's prompts.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/exit/calibration.h"
#include "engine/exit/token_calibration.h"
#include "tests/testing/temp_dir.h"
#include "tools/calibrate/commands.h"

namespace spade {
namespace {

constexpr int32_t kFirstLayer = 9;  // of 12: three layers are watched

class CalibratorTest : public ::testing::Test {
 protected:
  Arguments Few(const std::string& name) const {
    Arguments arguments;
    arguments.collect.load.directory = SPADE_SOURCE_DIR "/models/tickets-5m";
    arguments.collect.load.compute = Compute::kF32;
    arguments.collect.load.num_threads = 2;
    arguments.prompts.path = arguments.collect.load.directory + "/calibration.jsonl";
    arguments.prompts.limit = 80;
    arguments.first_layer = kFirstLayer;
    arguments.calibrate.max_mismatches = {0.1, 0.2};
    arguments.token_traces.num_tokens = 4;
    arguments.token_traces.rows_per_prompt = 2;
    arguments.out = dir_.File(name);
    return arguments;
  }

  testing::TempDir dir_;
};

// All heads of a file, by layer.
std::map<int32_t, std::vector<float>> HeadsOf(const Calibration& calibration) {
  std::map<int32_t, std::vector<float>> heads;
  for (const auto* list : {&calibration.exits, &calibration.other_heads}) {
    for (const ExitHead& head : *list) heads[head.layer] = head.weight;
  }
  return heads;
}

TEST_F(CalibratorTest, LabelsGiveAHeadForEveryWatchedLayer) {
  Arguments arguments = Few("labels.safetensors");
  arguments.min_exits = 1;
  arguments.max_exits = 1;
  const absl::Status status = CalibrateLabels(arguments);
  ASSERT_TRUE(status.ok()) << status;
  const auto calibration = LoadCalibration(arguments.out);
  ASSERT_TRUE(calibration.ok()) << calibration.status();
  EXPECT_EQ(calibration->exits.size(), 1u);
  EXPECT_EQ(calibration->other_heads.size(), 2u);
  EXPECT_EQ(HeadsOf(*calibration).size(), 3u);
  EXPECT_EQ(calibration->label_ids.size(), 10u);
  EXPECT_FALSE(std::filesystem::exists(arguments.out + ".partial"));
}

TEST_F(CalibratorTest, GoesOnWhereItWasInterrupted) {
  Arguments arguments = Few("labels.safetensors");
  arguments.keep_traces = true;
  ASSERT_TRUE(CalibrateLabels(arguments).ok());
  const auto whole = LoadCalibration(arguments.out);
  const std::string partial = arguments.out + ".partial";
  const auto size = std::filesystem::file_size(partial);
  std::filesystem::resize_file(partial, size / 2);
  std::filesystem::remove(arguments.out);
  ASSERT_TRUE(CalibrateLabels(arguments).ok());
  EXPECT_EQ(std::filesystem::file_size(partial), size);
  const auto resumed = LoadCalibration(arguments.out);
  ASSERT_TRUE(whole.ok() && resumed.ok());
  EXPECT_EQ(HeadsOf(*resumed), HeadsOf(*whole));
}

TEST_F(CalibratorTest, LabelsAreFittedToWhatIsAsked) {
  std::map<int32_t, std::vector<float>> heads[2];
  Arguments arguments = Few("labels.safetensors");
  arguments.keep_traces = true;  // the fits share them
  for (const FitTarget target : {FitTarget::kSpade, FitTarget::kFull}) {
    arguments.fit_to = target;
    ASSERT_TRUE(CalibrateLabels(arguments).ok());
    heads[target == FitTarget::kSpade ? 0 : 1] = HeadsOf(*LoadCalibration(arguments.out));
  }
  arguments.fit_to = std::nullopt;
  ASSERT_TRUE(CalibrateLabels(arguments).ok());
  for (const auto& [layer, head] : HeadsOf(*LoadCalibration(arguments.out))) {
    EXPECT_NE(heads[0][layer], heads[1][layer]);
    EXPECT_TRUE(head == heads[0][layer] || head == heads[1][layer]) << layer;
  }
}

TEST_F(CalibratorTest, GenerationIsFittedToWhatIsAsked) {
  std::map<std::string, std::vector<float>> ups;
  Arguments arguments = Few("generate.safetensors");
  arguments.keep_traces = true;  // the fits share them
  arguments.min_exits = arguments.max_exits = 1;
  arguments.first_layer = 11;
  const std::map<std::string, std::optional<FitTarget>> targets = {
      {"spade", FitTarget::kSpade}, {"full", FitTarget::kFull}, {"auto", std::nullopt}};
  for (const auto& [name, target] : targets) {
    arguments.fit_to = target;
    const absl::Status status = CalibrateGeneration(arguments);
    ASSERT_TRUE(status.ok()) << status;
    const auto calibration = LoadTokenCalibration(arguments.out);
    ASSERT_TRUE(calibration.ok()) << calibration.status();
    ASSERT_EQ(calibration->exits.size(), 1u);
    ups[name] = calibration->exits[0].up;
  }
  EXPECT_NE(ups["spade"], ups["full"]);
  EXPECT_TRUE(ups["auto"] == ups["spade"] || ups["auto"] == ups["full"]);
}

// Gives every weight of the model's last norm the largest value that BF16 has.
void BlowUpLastNorm(const std::string& safetensors) {
  std::fstream file(safetensors, std::ios::in | std::ios::out | std::ios::binary);
  uint64_t header_size = 0;
  file.read(reinterpret_cast<char*>(&header_size), sizeof(header_size));
  std::string header(header_size, '\0');
  file.read(header.data(), static_cast<std::streamsize>(header_size));
  const auto tensor = nlohmann::json::parse(header)["model.norm.weight"];
  ASSERT_EQ(tensor["dtype"], "BF16");
  const std::vector<uint64_t> range = tensor["data_offsets"];
  file.seekp(static_cast<std::streamoff>(sizeof(header_size) + header_size + range[0]));
  for (uint64_t i = range[0]; i < range[1]; i += 2) file.write("\x7f\x7f", 2);
  ASSERT_TRUE(file.good());
}

TEST_F(CalibratorTest, AModelWhoseLogitsAreNotFiniteIsRefused) {
  Arguments arguments = Few("any.safetensors");
  const std::string model = dir_.File("model");
  std::filesystem::copy(arguments.collect.load.directory, model);
  BlowUpLastNorm(model + "/model.safetensors");
  arguments.collect.load.directory = model;
  for (const auto calibrate : {&CalibrateLabels, &CalibrateGeneration}) {
    const absl::Status status = calibrate(arguments);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("not finite"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace spade
