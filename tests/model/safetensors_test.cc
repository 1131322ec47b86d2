#include "engine/base/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>

#include "tests/testing/safetensors_writer.h"

namespace spade::testing {
namespace {

absl::StatusOr<SafeTensorsFile> Parse(const std::string& bytes) {
  return ParseSafeTensors(std::as_bytes(std::span(bytes)));
}

// The message of the refusal; "" where the file was accepted or refused with another code.
std::string Refusal(const std::string& bytes) {
  const absl::Status status = Parse(bytes).status();
  return absl::IsInvalidArgument(status) ? std::string(status.message()) : "";
}

std::string RefusalOfHeader(const std::string& header, size_t data_bytes = 8) {
  return Refusal(SafeTensorsBytes(header, std::string(data_bytes, '\0')));
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(SafeTensorsTest, ReadsWhatTheWriterWrote) {
  SafeTensorsWriter writer;
  const float values[] = {1, 2, 3, 4, 5, 6};
  const int64_t matrix[] = {2, 3};
  const int64_t vector[] = {6};
  writer.Add("m", matrix, values, DType::kF32);
  writer.Add("v", vector, values, DType::kBF16);
  const std::string bytes = writer.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  const SafeTensor& m = file->tensors.at("m");
  EXPECT_EQ(m.dtype, "F32");
  EXPECT_EQ(m.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(m.data.data(), values, sizeof values), 0);
  EXPECT_EQ(file->tensors.at("v").data.size(), 12u);
}

TEST(SafeTensorsTest, AcceptsScalarsEmptyTensorsAndMetadata) {
  const std::string bytes = SafeTensorsBytes(
      R"({"__metadata__":{"format":"pt"},
          "s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
          "e":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]}}   )",
      "1234");
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata.at("format"), "pt");
  EXPECT_EQ(file->tensors.at("s").data.size(), 4u);
  EXPECT_TRUE(file->tensors.at("e").data.empty());
}

TEST(SafeTensorsTest, RefusesLengthsBeyondTheFile) {
  EXPECT_TRUE(Contains(Refusal(""), "shorter than 8 bytes"));
  EXPECT_TRUE(Contains(Refusal("1234567"), "shorter than 8 bytes"));
  std::string bytes = SafeTensorsBytes("{}", "");
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{100'000'001}, std::numeric_limits<uint64_t>::max()}) {
    std::memcpy(bytes.data(), &length, sizeof length);
    EXPECT_TRUE(Contains(Refusal(bytes), "cut short")) << length;
  }
}

TEST(SafeTensorsTest, RefusesHeadersThatAreNotJson) {
  EXPECT_TRUE(Contains(RefusalOfHeader(""), "not valid JSON"));
  EXPECT_TRUE(Contains(RefusalOfHeader("{"), "not valid JSON"));
  EXPECT_TRUE(Contains(RefusalOfHeader("{} {}"), "not valid JSON"));
  EXPECT_TRUE(Contains(RefusalOfHeader("{\"\xff\":1}"), "not valid JSON"));
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"shape":[1e999]}})"), "not valid JSON"));
}

TEST(SafeTensorsTest, RefusesHeadersOfAnotherStructure) {
  EXPECT_NE(RefusalOfHeader("[]"), "");
  EXPECT_NE(RefusalOfHeader("3"), "");
  EXPECT_NE(RefusalOfHeader("null"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":1})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":[]})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"__metadata__":{"a":1}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"__metadata__":{"a":{}}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[2]}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})"), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})"), "");
}

TEST(SafeTensorsTest, RefusesDeepNestingWithoutRecursion) {
  EXPECT_NE(RefusalOfHeader(std::string(5'000'000, '[')), "");
  EXPECT_NE(RefusalOfHeader(R"({"a":{"dtype":)" + std::string(5'000'000, '[')), "");
}

TEST(SafeTensorsTest, RefusesNamesThatAreDefinedTwice) {
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                                           "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"),
                       "defined twice"));
  EXPECT_TRUE(
      Contains(RefusalOfHeader(R"({"__metadata__":{},"__metadata__":{}})"), "defined twice"));
  EXPECT_TRUE(Contains(
      RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})"),
      "two shapes"));
}

TEST(SafeTensorsTest, RefusesUnknownDtypes) {
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})"),
                       "unknown dtype"));
}

TEST(SafeTensorsTest, RefusesShapesThatDisagreeOrOverflow) {
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})"),
                       "need 12"));
  EXPECT_TRUE(
      Contains(RefusalOfHeader(
                   R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})"),
               "overflows"));
  EXPECT_TRUE(
      Contains(RefusalOfHeader(
                   R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})"),
               "too large"));
  EXPECT_TRUE(Contains(
      RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})"), "negative"));
}

TEST(SafeTensorsTest, RefusesOffsetsOutsideTheFile) {
  EXPECT_TRUE(Contains(
      RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})"), "outside"));
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}})"),
                       "outside"));
}

TEST(SafeTensorsTest, RefusesOverlapsAndHoles) {
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                                           "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"),
                       "overlaps"));
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"),
                       "hole"));
  EXPECT_TRUE(Contains(RefusalOfHeader(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"),
                       "belong to no tensor"));
}

}  // namespace
}  // namespace spade::testing
