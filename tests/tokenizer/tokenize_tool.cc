// Encodes and decodes for the scripts beside this file.
//   tokenize_tool tokenizer.json < requests > replies
// A request is a JSON line {"text": string} or {"ids": [int]}, the reply a JSON line
// {"ids": [int]} (no special tokens), {"text": string, "skipped": string} (without and with
// skip_special_tokens) or {"error": string}.
//   tokenize_tool tokenizer.json --time file
// prints the speed of encoding the file, in lines and whole, best of five, by processor time.
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace spade {
namespace {

std::string ReadFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

nlohmann::json Reply(const Tokenizer& tokenizer, const nlohmann::json& request) {
  if (request.contains("text")) {
    const auto ids =
        tokenizer.Encode(request["text"].get<std::string>(), request.value("special", false));
    if (!ids.ok()) return {{"error", ids.status().ToString()}};
    return {{"ids", *ids}};
  }
  const auto ids = request["ids"].get<std::vector<TokenId>>();
  return {{"text", tokenizer.Decode(ids, /*skip_special_tokens=*/false)},
          {"skipped", tokenizer.Decode(ids, /*skip_special_tokens=*/true)}};
}

void Serve(const Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Reply(tokenizer, nlohmann::json::parse(line)).dump() << '\n';
  }
}

double BestSeconds(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  double best = 1e9;
  for (int run = 0; run < 5; ++run) {
    const std::clock_t start = std::clock();
    size_t num_ids = 0;
    for (const std::string& text : texts) {
      const auto ids = tokenizer.Encode(text, /*add_special_tokens=*/false);
      num_ids += ids.ok() ? ids->size() : 0;
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    if (num_ids > 0 && seconds < best) best = seconds;
  }
  return best;
}

void Time(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line + "\n");
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::cout << "lines " << megabytes / BestSeconds(tokenizer, lines) << " MB/s, whole "
            << megabytes / BestSeconds(tokenizer, {text}) << " MB/s\n";
}

}  // namespace
}  // namespace spade

int main(int argc, char** argv) {
  if (argc != 2 && argc != 4) {
    std::cerr << "usage: tokenize_tool tokenizer.json [--time file]\n";
    return 2;
  }
  const auto tokenizer = spade::Tokenizer::Parse(spade::ReadFile(argv[1]));
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << '\n';
    return 1;
  }
  if (argc == 4) {
    spade::Time(**tokenizer, spade::ReadFile(argv[3]));
  } else {
    spade::Serve(**tokenizer);
  }
  return 0;
}
