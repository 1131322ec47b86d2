#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "inference/open_inference.pb.h"

namespace spade {

// An Open Inference Protocol request as clients build it, tensors in raw form.
class InferRequestBuilder {
 public:
  explicit InferRequestBuilder(const std::string& model, const std::string& id = "") {
    request_.set_model_name(model);
    request_.set_id(id);
  }

  InferRequestBuilder& Text(const std::string& name, const std::vector<std::string>& values) {
    std::string* raw = Add(name, "BYTES", values.size());
    for (const std::string& value : values) {
      const auto size = static_cast<uint32_t>(value.size());
      raw->append(reinterpret_cast<const char*>(&size), sizeof(size)).append(value);
    }
    return *this;
  }
  template <typename Value>
  InferRequestBuilder& Number(const std::string& name, const std::string& datatype, Value value) {
    Add(name, datatype, 1)->append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  InferRequestBuilder& Bool(const std::string& name, bool value) {
    return Number(name, "BOOL", static_cast<uint8_t>(value ? 1 : 0));
  }
  InferRequestBuilder& Output(const std::string& name) {
    request_.add_outputs()->set_name(name);
    return *this;
  }

  ::inference::ModelInferRequest& request() { return request_; }

 private:
  std::string* Add(const std::string& name, const std::string& datatype, size_t count) {
    auto* input = request_.add_inputs();
    input->set_name(name);
    input->set_datatype(datatype);
    input->add_shape(static_cast<int64_t>(count));
    return request_.add_raw_input_contents();
  }

  ::inference::ModelInferRequest request_;
};

// The raw contents of an output; empty if it is not there.
inline std::string RawOutput(const ::inference::ModelInferResponse& response,
                             const std::string& name) {
  for (int i = 0; i < response.outputs_size(); ++i) {
    if (response.outputs(i).name() == name) return response.raw_output_contents(i);
  }
  return "";
}

// Of an output of one string.
inline std::string TextOutput(const ::inference::ModelInferResponse& response,
                              const std::string& name) {
  const std::string raw = RawOutput(response, name);
  return raw.size() < sizeof(uint32_t) ? "" : raw.substr(sizeof(uint32_t));
}

inline uint32_t Uint32Output(const ::inference::ModelInferResponse& response,
                             const std::string& name) {
  uint32_t value = 0;
  const std::string raw = RawOutput(response, name);
  if (raw.size() == sizeof(value)) std::memcpy(&value, raw.data(), sizeof(value));
  return value;
}

}  // namespace spade
