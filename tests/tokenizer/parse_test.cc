// What Tokenizer::Parse makes of files that are wrong or ask too much.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "tests/tokenizer/tokenizer_testing.h"

namespace spade {
namespace {

using nlohmann::json;

absl::Status ParseStatus(std::string_view text) { return Tokenizer::Parse(text).status(); }

json SmallJson() {
  return json::parse(R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})");
}

absl::Status StatusWith(const char* key, const char* value) {
  json file = SmallJson();
  file[key] = json::parse(value);
  return ParseStatus(file.dump());
}

absl::Status ModelStatusWith(const char* key, const char* value) {
  json file = SmallJson();
  file["model"][key] = json::parse(value);
  return ParseStatus(file.dump());
}

TEST(ParseTest, TextThatIsNoJsonObjectIsRefused) {
  for (const char* text : {"", "{", "[]", "null", "3", "\"a\"", "{\"model\":}", "\xFF"}) {
    EXPECT_EQ(ParseStatus(text).code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_EQ(ParseStatus(std::string_view("\0\0", 2)).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ParseTest, DeepNestingIsRefused) {
  const std::string arrays(5'000'000, '[');
  EXPECT_EQ(ParseStatus(arrays).code(), absl::StatusCode::kInvalidArgument);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(ParseStatus(objects).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseStatus(objects + "1" + std::string(100'000, '}')).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ParseTest, MissingModelIsRefused) {
  EXPECT_EQ(ParseStatus("{}").code(), absl::StatusCode::kInvalidArgument);
}

TEST(ParseTest, UnknownComponentsAreUnimplementedByName) {
  const std::pair<const char*, const char*> kCases[] = {
      {"normalizer", R"({"type":"Precompiled"})"},
      {"pre_tokenizer", R"({"type":"UnicodeScripts"})"},
      {"post_processor", R"({"type":"Novel"})"},
      {"decoder", R"({"type":"CTC"})"},
      {"model", R"({"type":"Unigram"})"},
      {"version", R"("2.0")"},
  };
  for (const auto& [key, value] : kCases) {
    const absl::Status status = StatusWith(key, value);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    EXPECT_NE(status.ToString().find(key), std::string::npos) << status;
  }
}

TEST(ParseTest, DropoutIsUnimplemented) {
  EXPECT_EQ(ModelStatusWith("dropout", "0.1").code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(ModelStatusWith("dropout", "0.0").ok());
}

TEST(ParseTest, BadVocabulariesAreRefused) {
  for (const char* vocab : {"[]", "3", R"({"a":-1})", R"({"a":"x"})", R"({"a":99999999999})",
                            R"({"a":1.5})", R"({"a":18446744073709551615})"}) {
    EXPECT_EQ(ModelStatusWith("vocab", vocab).code(), absl::StatusCode::kInvalidArgument) << vocab;
  }
}

TEST(ParseTest, BadMergesAreRefused) {
  for (const char* merges : {"{}", "[3]", R"(["ab"])", R"(["a b c"])", R"([["a"]])", R"(["a x"])",
                             R"(["b a"])", R"([["a",1]])"}) {
    EXPECT_EQ(ModelStatusWith("merges", merges).code(), absl::StatusCode::kInvalidArgument)
        << merges;
  }
}

TEST(ParseTest, ContradictoryMetaspaceIsRefused) {
  EXPECT_EQ(StatusWith("pre_tokenizer", R"({"type":"Metaspace","replacement":"_",)"
                                        R"("prepend_scheme":"first","add_prefix_space":false})")
                .code(),
            absl::StatusCode::kInvalidArgument);
}

// Every value in the document, as a path that json::json_pointer takes.
std::vector<std::string> Paths(const json& file) {
  std::vector<std::string> paths;
  const json flat = file.flatten();
  for (const auto& [path, value] : flat.items()) {
    for (size_t i = path.find('/', 1); i != std::string::npos; i = path.find('/', i + 1)) {
      paths.push_back(path.substr(0, i));
    }
    paths.push_back(path);
  }
  return paths;
}

// The file with its vocabulary and merges cut down, so that what remains is structure.
json Skeleton(const std::string& style) {
  json file = json::parse(ReadFile(TokenizerPath(style)));
  file["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"ab", 2}, {"<unk>", 3}};
  file["model"]["merges"] = json::array({"a b"});
  return file;
}

TEST(ParseTest, NoChangedFieldCrashes) {
  const std::vector<json> kValues = {nullptr,
                                     true,
                                     -1,
                                     1e300,
                                     "",
                                     "\u2581x",
                                     json::array(),
                                     json::object(),
                                     json::array({json::array({1})})};
  for (const char* style : {"llama3", "llama2", "metaspace_first", "words"}) {
    const json file = Skeleton(style);
    for (const std::string& path : Paths(file)) {
      for (const json& value : kValues) {
        json changed = file;
        changed[json::json_pointer(path)] = value;
        const auto tokenizer = Tokenizer::Parse(changed.dump());
        if (!tokenizer.ok()) continue;
        const auto ids = (*tokenizer)->Encode("a <s> b\u00E9\n1", true);
        if (ids.ok()) (*tokenizer)->Decode(*ids, false);
      }
    }
  }
}

TEST(ParseTest, NoChangedByteCrashes) {
  std::mt19937 rng(3);
  for (const std::string& style : GoldenStyles()) {
    const std::string file = Skeleton(style).dump();
    for (int i = 0; i < 300; ++i) {
      std::string changed = file;
      for (int j = 0; j < 3; ++j) changed[rng() % changed.size()] = static_cast<char>(rng());
      const auto tokenizer = Tokenizer::Parse(changed);
      if (tokenizer.ok()) (void)(*tokenizer)->Encode("ab \u2581<s>", true).ok();
      (void)Tokenizer::Parse(std::string_view(file).substr(0, rng() % file.size())).ok();
    }
  }
}

}  // namespace
}  // namespace spade
