#include "server/infer/input_tensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/field_check.h"

namespace spade {
namespace {

using ::inference::InferTensorContents;
using ::inference::ModelInferRequest;
using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "raw contents are little-endian");

// Of one tensor; labels and stop strings have tighter limits of their own.
constexpr uint64_t kMaxElements = 4096;
constexpr int kMaxParameters = 64;

// Raw contents of strings: each is 4 bytes of length, then the bytes.
absl::StatusOr<Json> RawStrings(const std::string& name, std::string_view raw, uint64_t count) {
  Json values = Json::array();
  while (!raw.empty()) {
    uint32_t length = 0;
    if (raw.size() < sizeof(length)) return FieldError(name, "raw contents are cut off");
    std::memcpy(&length, raw.data(), sizeof(length));
    raw.remove_prefix(sizeof(length));
    if (raw.size() < length) return FieldError(name, "raw contents are cut off");
    if (values.size() == count) return FieldError(name, "more elements than its shape has");
    values.push_back(std::string(raw.substr(0, length)));
    raw.remove_prefix(length);
  }
  return values;
}

template <typename Value>
void AppendRaw(std::string_view raw, Json* values) {
  for (; raw.size() >= sizeof(Value); raw.remove_prefix(sizeof(Value))) {
    Value value;
    std::memcpy(&value, raw.data(), sizeof(Value));
    values->push_back(value);
  }
}

absl::StatusOr<Json> RawNumbers(const std::string& name, ::inference::DataType datatype,
                                std::string_view raw, uint64_t count) {
  if (raw.size() % DatatypeBytes(datatype) != 0) {
    return FieldError(name, "raw contents are not whole elements");
  }
  SPADE_RETURN_IF_ERROR(CheckCount(name, raw.size() / DatatypeBytes(datatype), count));
  Json values = Json::array();
  switch (datatype) {
    case ::inference::TYPE_BOOL:
      for (const char value : raw) values.push_back(value != 0);
      break;
    case ::inference::TYPE_UINT8:
      AppendRaw<uint8_t>(raw, &values);
      break;
    case ::inference::TYPE_UINT16:
      AppendRaw<uint16_t>(raw, &values);
      break;
    case ::inference::TYPE_UINT32:
      AppendRaw<uint32_t>(raw, &values);
      break;
    case ::inference::TYPE_UINT64:
      AppendRaw<uint64_t>(raw, &values);
      break;
    case ::inference::TYPE_INT8:
      AppendRaw<int8_t>(raw, &values);
      break;
    case ::inference::TYPE_INT16:
      AppendRaw<int16_t>(raw, &values);
      break;
    case ::inference::TYPE_INT32:
      AppendRaw<int32_t>(raw, &values);
      break;
    case ::inference::TYPE_INT64:
      AppendRaw<int64_t>(raw, &values);
      break;
    case ::inference::TYPE_FP32:
      AppendRaw<float>(raw, &values);
      break;
    default:
      AppendRaw<double>(raw, &values);
  }
  return values;
}

template <typename Field>
Json ToArray(const Field& field) {
  Json values = Json::array();
  for (const auto& value : field) values.push_back(value);
  return values;
}

// The typed field that the protocol assigns to each datatype.
Json TypedValues(::inference::DataType datatype, const InferTensorContents& contents) {
  switch (datatype) {
    case ::inference::TYPE_STRING:
      return ToArray(contents.bytes_contents());
    case ::inference::TYPE_BOOL:
      return ToArray(contents.bool_contents());
    case ::inference::TYPE_UINT8:
    case ::inference::TYPE_UINT16:
    case ::inference::TYPE_UINT32:
      return ToArray(contents.uint_contents());
    case ::inference::TYPE_UINT64:
      return ToArray(contents.uint64_contents());
    case ::inference::TYPE_INT64:
      return ToArray(contents.int64_contents());
    case ::inference::TYPE_FP32:
      return ToArray(contents.fp32_contents());
    case ::inference::TYPE_FP64:
      return ToArray(contents.fp64_contents());
    default:
      return ToArray(contents.int_contents());
  }
}

uint64_t NumTyped(const InferTensorContents& contents) {
  return static_cast<uint64_t>(
      std::max({contents.bytes_contents_size(), contents.bool_contents_size(),
                contents.uint_contents_size(), contents.uint64_contents_size(),
                contents.int_contents_size(), contents.int64_contents_size(),
                contents.fp32_contents_size(), contents.fp64_contents_size()}));
}

absl::StatusOr<uint64_t> CountOf(const ModelInferRequest::InferInputTensor& input) {
  uint64_t count = 1;
  for (const int64_t size : input.shape()) {
    if (size < 0 || static_cast<uint64_t>(size) > kMaxElements) {
      return FieldError(input.name(), absl::StrCat("shape: no size may be ", size));
    }
    count *= static_cast<uint64_t>(size);
    if (count > kMaxElements) return FieldError(input.name(), "shape: too many elements");
  }
  return count;
}

// `raw`: null where the request has typed contents.
absl::StatusOr<Json> Values(const ModelInferRequest::InferInputTensor& input,
                            const TensorSpec& spec, const std::string* raw) {
  const std::string& name = input.name();
  if (input.parameters().contains("shared_memory_region")) {
    return absl::UnimplementedError(absl::StrCat(name, ": shared memory is not supported"));
  }
  const ::inference::DataType datatype = DatatypeOf(input.datatype());
  if (!IsOfKind(datatype, spec.kind)) {
    return FieldError(name,
                      absl::StrCat("datatype must be ", std::string(DatatypeName(spec.datatype)),
                                   ", not \"", input.datatype(), "\""));
  }
  SPADE_ASSIGN_OR_RETURN(const uint64_t count, CountOf(input));
  if (spec.single && count != 1) return FieldError(name, "shape: must hold one element");
  Json values;
  if (raw == nullptr) {
    // Before anything is made of them; raw contents are read no further than the shape goes.
    SPADE_RETURN_IF_ERROR(CheckCount(name, NumTyped(input.contents()), count));
    values = TypedValues(datatype, input.contents());
  } else if (input.has_contents()) {
    return FieldError(name, "contents must be empty where raw_input_contents are sent");
  } else if (datatype == ::inference::TYPE_STRING) {
    SPADE_ASSIGN_OR_RETURN(values, RawStrings(name, *raw, count));
  } else {
    SPADE_ASSIGN_OR_RETURN(values, RawNumbers(name, datatype, *raw, count));
  }
  if (values.size() != count) {
    return FieldError(name, absl::StrCat("has ", values.size(), " elements, its shape ", count));
  }
  return spec.single ? std::move(values[0]) : std::move(values);
}

bool IsReserved(const std::string& name) {
  return name == "sequence_start" || name == "sequence_end" || name == "priority" ||
         name == "timeout" || name == "headers" || name == "binary_data_output" ||
         name.rfind("triton_", 0) == 0;
}

absl::Status AddParameters(const ModelInferRequest& request, Json* arguments) {
  SPADE_RETURN_IF_ERROR(CheckCount("parameters", request.parameters().size(), kMaxParameters));
  for (const auto& [name, value] : request.parameters()) {
    if (name == "sequence_id") {
      return absl::UnimplementedError("sequence_id: these models keep no state between requests");
    }
    if (IsReserved(name)) continue;
    Json& argument = (*arguments)[name];
    if (value.has_bool_param()) argument = value.bool_param();
    if (value.has_int64_param()) argument = value.int64_param();
    if (value.has_uint64_param()) argument = value.uint64_param();
    if (value.has_double_param()) argument = value.double_param();
    if (value.has_string_param()) argument = value.string_param();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> InferArguments(const ModelInferRequest& request,
                                    std::span<const TensorSpec> specs) {
  Json arguments = Json::object();
  SPADE_RETURN_IF_ERROR(AddParameters(request, &arguments));
  const bool raw = request.raw_input_contents_size() > 0;
  if (raw && request.raw_input_contents_size() != request.inputs_size()) {
    return FieldError("raw_input_contents", "one for each input, or none");
  }
  Json tensors = Json::object();
  for (int i = 0; i < request.inputs_size(); ++i) {
    const auto& input = request.inputs(i);
    const TensorSpec* spec = FindSpec(specs, input.name());
    if (spec == nullptr) {
      return FieldError("inputs", absl::StrCat("this model has no input \"", input.name(), "\""));
    }
    if (tensors.contains(input.name())) return FieldError(input.name(), "is there twice");
    SPADE_ASSIGN_OR_RETURN(tensors[input.name()],
                           Values(input, *spec, raw ? &request.raw_input_contents(i) : nullptr));
  }
  for (const TensorSpec& spec : specs) {
    if (!spec.optional && !tensors.contains(spec.name)) return FieldError(spec.name, "is missing");
  }
  arguments.update(tensors);
  return arguments;
}

}  // namespace spade
