#pragma once

#include <span>
#include <string>
#include <vector>

#include "inference/open_inference.pb.h"

namespace spade {

// Adds outputs to a response, in raw form. Scalars have shape [1].
class OutputWriter {
 public:
  explicit OutputWriter(::inference::ModelInferResponse* response) : response_(response) {}

  void AddText(const char* name, std::span<const std::string> values);
  void AddText(const char* name, const std::string& value) { AddText(name, {&value, 1}); }
  void AddUint32(const char* name, std::span<const uint32_t> values);
  void AddUint32(const char* name, uint32_t value) { AddUint32(name, {&value, 1}); }
  void AddReal(const char* name, std::span<const float> values);
  void AddDouble(const char* name, double value);
  void AddBool(const char* name, bool value);

 private:
  std::string* Add(const char* name, const char* datatype, size_t count);

  ::inference::ModelInferResponse* response_;
};

}  // namespace spade
