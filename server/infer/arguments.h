#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace spade {

// Named values taken one by one, in whatever form clients send them: numbers and booleans may be
// strings ("128", "true"), a list may be one value. The first argument that is wrong is remembered
// for Finish; later ones read as absent.
class Arguments {
 public:
  explicit Arguments(nlohmann::json object) : values_(std::move(object)) {}

  std::optional<std::string> Text(const char* name);  // UTF-8
  std::optional<bool> Bool(const char* name);
  std::optional<uint32_t> Unsigned(const char* name);
  std::optional<uint64_t> Unsigned64(const char* name);
  std::optional<int32_t> Signed(const char* name);
  std::optional<double> Real(const char* name);
  std::vector<std::string> Texts(const char* name);
  std::vector<uint32_t> Unsigneds(const char* name);
  std::vector<double> Reals(const char* name);
  // {"id": weight}
  std::vector<std::pair<uint32_t, double>> Weights(const char* name);

  // Takes the argument `name`, a JSON object as text, and adds its members to the others, which
  // they replace.
  void Merge(const char* name);

  // OK, or INVALID_ARGUMENT: the first wrong one, or one that nobody took.
  absl::Status Finish() const;

 private:
  std::optional<nlohmann::json> Take(const char* name);  // absent or null: nullopt
  void Fail(const char* name, const std::string& problem);
  template <typename Value, typename Convert>
  std::optional<Value> One(const char* name, const char* what, Convert convert);
  template <typename Value, typename Convert>
  std::vector<Value> Many(const char* name, const char* what, Convert convert);

  nlohmann::json values_;
  absl::Status status_;
};

}  // namespace spade
