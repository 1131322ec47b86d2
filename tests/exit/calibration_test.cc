#include "engine/exit/calibration.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/exit/calibration_format.h"

namespace spade {
namespace {

using Json = nlohmann::json;

Calibration Example() {
  Calibration calibration;
  calibration.model_sha256 = std::string(64, 'a');
  calibration.tokenizer_sha256 = std::string(64, '0');
  calibration.weight_dtype = "bf16";
  calibration.compute = Compute::kBF16;
  calibration.kv_dtype = DType::kBF16;
  calibration.position = SpadePosition::kReset;
  calibration.label_texts = {" yes", " n\xc3\xb6"};
  calibration.label_ids = {7, 11};
  calibration.hidden_size = 3;
  calibration.exits = {ExitHead{4, {1, 2, 3, 4, 5, 6}, {0.5f, -0.5f}, 1.25f},
                       ExitHead{6, {6, 5, 4, 3, 2, 1}, {0, 1}, 0.75f}};
  calibration.certificates = {Certificate{0.01, {0, 0.25f}, {0, 400}, {0, 1}, 1000, 0.1},
                              Certificate{0.05, {0.1f, 0.5f}, {100, 500}, {2, 9}, 1000, 0.25}};
  calibration.curve = {TradePoint{0, 0, 0}, TradePoint{0.5, 1, 0.5}};
  return calibration;
}

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The example's file after `edit` of its description.
std::string Edited(const std::function<void(Json&)>& edit) {
  const std::string file = SerializeCalibration(Example());
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  Json header = Json::parse(file.substr(8, length));
  Json description = Json::parse(header["__metadata__"][kCalibrationKey].get<std::string>());
  edit(description);
  header["__metadata__"][kCalibrationKey] = description.dump();
  const std::string text = header.dump();
  length = text.size();
  std::string edited(sizeof(length), '\0');
  std::memcpy(edited.data(), &length, sizeof(length));
  return edited + text + file.substr(file.size() - 2 * (6 + 2) * sizeof(float));
}

absl::Status ParseEdited(const std::function<void(Json&)>& edit) {
  const std::string file = Edited(edit);
  return ParseCalibration(BytesOf(file)).status();
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name)
      : path_((std::filesystem::temp_directory_path() / name).string()) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Calibration, KeepsTheHeadsOfLayersWithoutAnExit) {
  Calibration calibration = Example();
  calibration.other_heads = {ExitHead{5, {6, 5, 4, 3, 2, 1}, {0, 2}, 0.5f}};
  const std::string file = SerializeCalibration(calibration);
  const auto loaded = ParseCalibration(BytesOf(file));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->other_heads.size(), 1u);
  EXPECT_EQ(loaded->other_heads[0].layer, 5);
  EXPECT_EQ(loaded->other_heads[0].weight, calibration.other_heads[0].weight);
  EXPECT_EQ(loaded->other_heads[0].temperature, 0.5f);
  EXPECT_EQ(loaded->exits.size(), 2u);
}

TEST(Calibration, RefusesALayerThatIsInBothLists) {
  Calibration calibration = Example();
  calibration.other_heads = {calibration.exits[0]};
  const std::string file = SerializeCalibration(calibration);
  EXPECT_EQ(ParseCalibration(BytesOf(file)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Calibration, SurvivesARoundTrip) {
  const TemporaryFile file("spade_calibration_test.safetensors");
  const Calibration saved = Example();
  ASSERT_TRUE(SaveCalibration(saved, file.path()).ok());
  const auto loaded = LoadCalibration(file.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->id.size(), 64u);
  EXPECT_EQ(loaded->model_sha256, saved.model_sha256);
  EXPECT_EQ(loaded->tokenizer_sha256, saved.tokenizer_sha256);
  EXPECT_EQ(loaded->weight_dtype, "bf16");
  EXPECT_EQ(loaded->compute, Compute::kBF16);
  EXPECT_EQ(loaded->kv_dtype, DType::kBF16);
  EXPECT_EQ(loaded->position, SpadePosition::kReset);
  EXPECT_EQ(loaded->label_texts, saved.label_texts);
  EXPECT_EQ(loaded->label_ids, saved.label_ids);
  EXPECT_EQ(loaded->hidden_size, 3);
  ASSERT_EQ(loaded->exits.size(), 2u);
  EXPECT_EQ(loaded->exits[1].layer, 6);
  EXPECT_EQ(loaded->exits[1].weight, saved.exits[1].weight);
  EXPECT_EQ(loaded->exits[0].bias, saved.exits[0].bias);
  EXPECT_EQ(loaded->exits[0].temperature, 1.25f);
  ASSERT_EQ(loaded->certificates.size(), 2u);
  EXPECT_EQ(loaded->certificates[1].thresholds, saved.certificates[1].thresholds);
  EXPECT_EQ(loaded->certificates[1].exited, saved.certificates[1].exited);
  EXPECT_EQ(loaded->certificates[1].mismatched, saved.certificates[1].mismatched);
  EXPECT_EQ(loaded->certificates[1].prompts, 1000);
  EXPECT_EQ(loaded->certificates[1].saving, 0.25);
  EXPECT_TRUE(loaded->other_heads.empty());
  ASSERT_EQ(loaded->curve.size(), 2u);
  EXPECT_EQ(loaded->curve[1].saving, 0.5);
}

TEST(Calibration, IdIsOfTheContent) {
  const std::string a = SerializeCalibration(Example());
  EXPECT_EQ(a, SerializeCalibration(Example()));
  Calibration other = Example();
  other.exits[0].weight[0] += 1;
  const std::string b = SerializeCalibration(other);
  EXPECT_NE(ParseCalibration(BytesOf(a))->id, ParseCalibration(BytesOf(b))->id);
}

TEST(Calibration, CertificateForTakesTheLoosestWithin) {
  const Calibration calibration = Example();
  EXPECT_EQ(CertificateFor(calibration.certificates, 0.009), nullptr);
  EXPECT_EQ(CertificateFor(calibration.certificates, 0.01), &calibration.certificates[0]);
  EXPECT_EQ(CertificateFor(calibration.certificates, 0.03), &calibration.certificates[0]);
  EXPECT_EQ(CertificateFor(calibration.certificates, 1), &calibration.certificates[1]);
  EXPECT_EQ(CertificateFor(calibration.certificates, double{0.05f}), &calibration.certificates[1]);
  EXPECT_EQ(CertificateFor(calibration.certificates, std::numeric_limits<double>::quiet_NaN()),
            nullptr);
}

TEST(LoadCalibration, NamesAMissingFile) {
  const auto loaded = LoadCalibration("/nonexistent/spade.safetensors");
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(loaded.status().message().find("/nonexistent"), std::string::npos);
}

TEST(SaveCalibration, SaysWhereItCannotWrite) {
  const absl::Status status = SaveCalibration(Example(), "/nonexistent/spade.safetensors");
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("/nonexistent"), std::string::npos);
}

TEST(ParseCalibration, TakesTheUneditedExample) {
  EXPECT_TRUE(ParseEdited([](Json&) {}).ok()) << ParseEdited([](Json&) {});
}

TEST(ParseCalibration, OlderFilesAreOfF32) {
  const std::string file = Edited([](Json& d) {
    d.erase("compute");
    d.erase("kv_dtype");
  });
  const auto older = ParseCalibration(BytesOf(file));
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_EQ(older->compute, Compute::kF32);
  EXPECT_EQ(older->kv_dtype, DType::kF32);
}

TEST(ParseCalibration, RefusesEveryPrefix) {
  const std::string file = SerializeCalibration(Example());
  for (size_t size = 0; size < file.size(); ++size) {
    const std::string prefix = file.substr(0, size);
    EXPECT_FALSE(ParseCalibration(BytesOf(prefix)).ok()) << size;
  }
}

TEST(ParseCalibration, SurvivesEveryFlippedByte) {
  const std::string file = SerializeCalibration(Example());
  for (size_t i = 0; i < file.size(); ++i) {
    std::string flipped = file;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x41);
    ParseCalibration(BytesOf(flipped)).IgnoreError();
  }
}

TEST(ParseCalibration, RefusesAFileOfAnotherKind) {
  const std::string header = R"({"__metadata__":{"a":"b"}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  file += header;
  EXPECT_EQ(ParseCalibration(BytesOf(file)).status().code(), absl::StatusCode::kInvalidArgument);
}

struct Damage {
  const char* name;
  std::function<void(Json&)> edit;
};

class DamagedDescription : public testing::TestWithParam<Damage> {};

TEST_P(DamagedDescription, IsInvalidArgument) {
  const absl::Status status = ParseEdited(GetParam().edit);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

Json Nested(int depth) {
  Json value = 1;
  for (int i = 0; i < depth; ++i) value = Json::array({value});
  return value;
}

INSTANTIATE_TEST_SUITE_P(
    All, DamagedDescription,
    testing::Values(
        Damage{"not_an_object", [](Json& d) { d = 3; }},
        Damage{"deep", [](Json& d) { d["deep"] = Nested(1000); }},
        Damage{"no_format", [](Json& d) { d.erase("format"); }},
        Damage{"other_format", [](Json& d) { d["format"] = "spade-calibration-9"; }},
        Damage{"short_digest", [](Json& d) { d["model_sha256"] = "abc"; }},
        Damage{"upper_digest", [](Json& d) { d["tokenizer_sha256"] = std::string(64, 'A'); }},
        Damage{"dtype_number", [](Json& d) { d["weight_dtype"] = 3; }},
        Damage{"compute_number", [](Json& d) { d["compute"] = 3; }},
        Damage{"kv_dtype_unknown", [](Json& d) { d["kv_dtype"] = "int8"; }},
        Damage{"compute_unknown", [](Json& d) { d["compute"] = "f8"; }},
        Damage{"position", [](Json& d) { d["position"] = "middle"; }},
        Damage{"one_label",
               [](Json& d) {
                 d["label_texts"] = {" yes"};
                 d["label_ids"] = {7};
               }},
        Damage{"label_counts", [](Json& d) { d["label_ids"] = {7}; }},
        Damage{"label_twice",
               [](Json& d) {
                 d["label_ids"] = {7, 7};
               }},
        Damage{"label_negative",
               [](Json& d) {
                 d["label_ids"] = {-1, 7};
               }},
        Damage{"label_huge",
               [](Json& d) {
                 d["label_ids"] = {1ULL << 40, 7};
               }},
        Damage{"label_fraction",
               [](Json& d) {
                 d["label_ids"] = {1.5, 7};
               }},
        Damage{"label_text_number",
               [](Json& d) {
                 d["label_texts"] = {1, 2};
               }},
        Damage{"hidden_zero", [](Json& d) { d["hidden_size"] = 0; }},
        Damage{"hidden_other", [](Json& d) { d["hidden_size"] = 4; }},
        Damage{"hidden_huge", [](Json& d) { d["hidden_size"] = ~0ULL; }},
        Damage{"no_exits", [](Json& d) { d["exits"] = Json::array(); }},
        Damage{"exits_object", [](Json& d) { d["exits"] = Json::object(); }},
        Damage{"exit_number", [](Json& d) { d["exits"][0] = 4; }},
        Damage{"exit_dropped", [](Json& d) { d["exits"].erase(0); }},
        Damage{"exit_layer_zero", [](Json& d) { d["exits"][0]["layer"] = 0; }},
        Damage{"exit_layer_missing", [](Json& d) { d["exits"][0]["layer"] = 5; }},
        Damage{"exits_descend", [](Json& d) { std::swap(d["exits"][0], d["exits"][1]); }},
        Damage{"temperature_zero", [](Json& d) { d["exits"][0]["temperature"] = 0; }},
        Damage{"temperature_text", [](Json& d) { d["exits"][0]["temperature"] = "1"; }},
        Damage{"thresholds_short", [](Json& d) { d["certificates"][0]["thresholds"] = {0.1}; }},
        Damage{"threshold_null", [](Json& d) { d["certificates"][0]["thresholds"][0] = nullptr; }},
        Damage{"threshold_minus", [](Json& d) { d["certificates"][0]["thresholds"][0] = -1; }},
        Damage{"bound_of_zero", [](Json& d) { d["certificates"][0]["max_mismatch"] = 0; }},
        Damage{"bound_of_one", [](Json& d) { d["certificates"][1]["max_mismatch"] = 1; }},
        Damage{"bound_above_one", [](Json& d) { d["certificates"][0]["max_mismatch"] = 1.5; }},
        Damage{"bounds_descend",
               [](Json& d) { std::swap(d["certificates"][0], d["certificates"][1]); }},
        Damage{"more_mismatches",
               [](Json& d) {
                 d["certificates"][0]["mismatched"] = {1, 0};
               }},
        Damage{"count_minus",
               [](Json& d) {
                 d["certificates"][0]["exited"] = {-1, 0};
               }},
        Damage{"saving_two", [](Json& d) { d["certificates"][0]["saving"] = 2; }},
        Damage{"curve_pair", [](Json& d) { d["curve"][0] = {0, 0}; }},
        Damage{"curve_missing", [](Json& d) { d.erase("curve"); }}),
    [](const testing::TestParamInfo<Damage>& info) { return info.param.name; });

TEST(ParseCalibration, RefusesWeightsThatAreNotFinite) {
  Calibration calibration = Example();
  calibration.exits[0].weight[2] = std::numeric_limits<float>::infinity();
  const std::string file = SerializeCalibration(calibration);
  EXPECT_EQ(ParseCalibration(BytesOf(file)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ParseCalibration, RefusesTensorsThatBelongToNoExit) {
  Calibration calibration = Example();
  calibration.exits.push_back(ExitHead{9, {1, 2, 3, 4, 5, 6}, {0, 0}, 1});
  std::string file = SerializeCalibration(calibration);
  const size_t place = file.find(R"(\"layer\":9)");
  ASSERT_NE(place, std::string::npos);
  file.replace(place, 11, R"(\"layer\":8)");
  EXPECT_EQ(ParseCalibration(BytesOf(file)).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace spade
