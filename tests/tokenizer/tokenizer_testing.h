#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace spade {

// What the tests of this folder read.

// The whole file, empty where there is none.
std::string ReadFile(const std::string& path);

// The styles with vectors under goldens/, made by make_goldens.py.
std::vector<std::string> GoldenStyles();
// The tokenizer.json of a style.
std::string TokenizerPath(std::string_view style);
// `name` with what gtest takes in a test's name.
std::string TestName(std::string name);

struct GoldenCase {
  std::string text;
  std::vector<TokenId> ids;
  std::optional<std::vector<TokenId>> special;  // with special tokens
  std::string decoded;
  std::string skipped;  // decoded without special tokens
};
std::vector<GoldenCase> ReadGoldens(std::string_view style);

// Where the real tokenizers lie with their published vectors; not part of the repository.
std::string SharedTokenizers();

struct VectorCase {
  std::string text;
  std::vector<TokenId> ids;
};
// `path` without its .inp or .out.
std::vector<VectorCase> ReadVectors(const std::string& path);

}  // namespace spade
