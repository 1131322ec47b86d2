#include "server/infer/output_tensors.h"

namespace spade {
namespace {

template <typename Value>
void Append(const Value& value, std::string* raw) {
  raw->append(reinterpret_cast<const char*>(&value), sizeof(Value));
}

}  // namespace

std::string* OutputWriter::Add(const char* name, const char* datatype, size_t count) {
  auto* output = response_->add_outputs();
  output->set_name(name);
  output->set_datatype(datatype);
  output->add_shape(static_cast<int64_t>(count));
  return response_->add_raw_output_contents();
}

void OutputWriter::AddText(const char* name, std::span<const std::string> values) {
  std::string* raw = Add(name, "BYTES", values.size());
  for (const std::string& value : values) {
    Append(static_cast<uint32_t>(value.size()), raw);
    raw->append(value);
  }
}

void OutputWriter::AddUint32(const char* name, std::span<const uint32_t> values) {
  std::string* raw = Add(name, "UINT32", values.size());
  for (const uint32_t value : values) Append(value, raw);
}

void OutputWriter::AddReal(const char* name, std::span<const float> values) {
  std::string* raw = Add(name, "FP32", values.size());
  for (const float value : values) Append(value, raw);
}

void OutputWriter::AddDouble(const char* name, double value) {
  Append(value, Add(name, "FP64", 1));
}

void OutputWriter::AddBool(const char* name, bool value) {
  Append(static_cast<uint8_t>(value ? 1 : 0), Add(name, "BOOL", 1));
}

}  // namespace spade
