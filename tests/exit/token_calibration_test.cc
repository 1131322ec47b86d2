#include "engine/exit/token_calibration.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "engine/exit/calibration_format.h"

namespace spade {
namespace {

TokenCalibration Example() {
  TokenCalibration calibration;
  calibration.model_sha256 = std::string(64, 'a');
  calibration.tokenizer_sha256 = std::string(64, '0');
  calibration.weight_dtype = "bf16";
  calibration.hidden_size = 3;
  calibration.rank = 2;
  calibration.candidates = {2, 7, 11};
  calibration.exits = {TokenExit{4, {1, 2, 3, 4, 5, 6}, {6, 5, 4, 3, 2, 1}, {7, 8, 9}, 0.5f, 1.25f},
                       TokenExit{6, {0, 0, 0, 0, 0, 1}, {1, 0, 0, 0, 0, 0}, {0, 0, 1}, -1, 1}};
  calibration.drafts = {{{0.1f, 0.2, 0.95}, {0.4f, 0.5, 0.9}}, {{0.2f, 0.3, 0.97}}};
  calibration.certificates = {Certificate{0.05, {0.1f, 0.5f}, {100, 500}, {2, 9}, 1000, 0.25}};
  return calibration;
}

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

absl::Status ParseChanged(const std::function<void(TokenCalibration&)>& change) {
  TokenCalibration changed = Example();
  change(changed);
  const std::string file = SerializeTokenCalibration(changed);
  return ParseTokenCalibration(BytesOf(file)).status();
}

void ExpectMalformed(const std::function<void(TokenCalibration&)>& change,
                     const std::string& part) {
  const absl::Status status = ParseChanged(change);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(status.message().find(part), std::string::npos) << part << ": " << status;
}

TEST(TokenCalibrationTest, SurvivesARoundTrip) {
  const TokenCalibration saved = Example();
  const std::string file = SerializeTokenCalibration(saved);
  const auto loaded = ParseTokenCalibration(BytesOf(file));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->id.size(), 64u);
  EXPECT_EQ(loaded->model_sha256, saved.model_sha256);
  EXPECT_EQ(loaded->rank, 2);
  EXPECT_EQ(loaded->candidates, saved.candidates);
  ASSERT_EQ(loaded->exits.size(), 2u);
  EXPECT_EQ(loaded->exits[0].layer, 4);
  EXPECT_EQ(loaded->exits[0].down, saved.exits[0].down);
  EXPECT_EQ(loaded->exits[0].up, saved.exits[0].up);
  EXPECT_EQ(loaded->exits[0].other, saved.exits[0].other);
  EXPECT_EQ(loaded->exits[1].other_bias, -1);
  EXPECT_EQ(loaded->exits[0].temperature, 1.25f);
  ASSERT_EQ(loaded->drafts.size(), 2u);
  EXPECT_EQ(loaded->drafts[0][1].threshold, 0.4f);
  EXPECT_EQ(loaded->drafts[0][1].agreement, 0.9);
  ASSERT_EQ(loaded->certificates.size(), 1u);
  EXPECT_EQ(loaded->certificates[0].thresholds, saved.certificates[0].thresholds);
}

TEST(TokenCalibrationTest, RefusesEveryPrefix) {
  const std::string file = SerializeTokenCalibration(Example());
  for (size_t size = 0; size < file.size(); ++size) {
    const std::string prefix = file.substr(0, size);
    EXPECT_FALSE(ParseTokenCalibration(BytesOf(prefix)).ok()) << size;
  }
}

TEST(TokenCalibrationTest, NamesWhatIsMalformed) {
  ExpectMalformed([](TokenCalibration& c) { c.candidates = {7, 2}; }, "candidates");
  ExpectMalformed([](TokenCalibration& c) { c.candidates.clear(); }, "candidates");
  ExpectMalformed([](TokenCalibration& c) { c.exits[1].layer = 3; }, "layer");
  ExpectMalformed([](TokenCalibration& c) { c.exits[0].temperature = 0; }, "temperature");
  ExpectMalformed([](TokenCalibration& c) { c.rank = 3; }, "down");
  ExpectMalformed([](TokenCalibration& c) { c.drafts[0][1].threshold = 0.05f; }, "drafts");
  ExpectMalformed([](TokenCalibration& c) { c.drafts[0][1].share = 1.5; }, "drafts");
  ExpectMalformed([](TokenCalibration& c) { c.model_sha256.resize(63); }, "model_sha256");
  ExpectMalformed(
      [](TokenCalibration& c) {
        c.certificates[0].mismatched = {200, 0};
      },
      "more mismatches");
}

TEST(TokenCalibrationTest, RefusesValuesThatAreNotFinite) {
  ExpectMalformed(
      [](TokenCalibration& c) { c.exits[0].up[1] = std::numeric_limits<float>::infinity(); },
      "not finite");
}

TEST(TokenCalibrationTest, IsNotTakenForALabelCalibration) {
  const std::string file = SerializeTokenCalibration(Example());
  const auto parsed = ParseCalibration(BytesOf(file));
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(parsed.status().message().find("spade-token-calibration-1"), std::string::npos);
}

}  // namespace
}  // namespace spade
