#include "tests/tokenizer/tokenizer_testing.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

namespace spade {
namespace {

const std::string kFolder = std::string(SPADE_SOURCE_DIR) + "/tests/tokenizer/goldens/";

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> GoldenStyles() {
  return {"llama3", "qwen2",   "smollm",          "deepseek", "roberta",   "llama2",
          "gemma",  "mistral", "metaspace_first", "words",    "tickets-5m"};
}

std::string TokenizerPath(std::string_view style) {
  if (style == "tickets-5m") {
    return std::string(SPADE_SOURCE_DIR) + "/models/tickets-5m/tokenizer.json";
  }
  return kFolder + std::string(style) + ".tokenizer.json";
}

std::string TestName(std::string name) {
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

std::vector<GoldenCase> ReadGoldens(std::string_view style) {
  std::ifstream file(kFolder + std::string(style) + ".jsonl");
  std::vector<GoldenCase> cases;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json json = nlohmann::json::parse(line);
    GoldenCase golden = {json["text"], json["ids"], std::nullopt, "", ""};
    if (json.contains("special")) golden.special = json["special"].get<std::vector<TokenId>>();
    golden.decoded = json.value("decoded", golden.text);
    golden.skipped = json.value("skipped", golden.decoded);
    cases.push_back(std::move(golden));
  }
  return cases;
}

std::string SharedTokenizers() {
  return std::string(SPADE_SOURCE_DIR) + "/../shared/data/tokenizers/";
}

std::vector<VectorCase> ReadVectors(const std::string& path) {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  const std::string texts = ReadFile(path + ".inp");
  std::ifstream ids(path + ".out");
  std::vector<VectorCase> cases;
  for (size_t begin = 0; begin <= texts.size();) {
    const size_t end = std::min(texts.find(kSeparator, begin), texts.size());
    VectorCase vector = {texts.substr(begin, end - begin), {}};
    std::string line;
    std::getline(ids, line);
    std::istringstream numbers(line);
    for (TokenId id; numbers >> id;) vector.ids.push_back(id);
    cases.push_back(std::move(vector));
    begin = end + kSeparator.size();
  }
  return cases;
}

}  // namespace spade
