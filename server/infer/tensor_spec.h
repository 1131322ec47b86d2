#pragma once

#include <span>
#include <string_view>

#include "inference/model_config.pb.h"

namespace spade {

enum class TensorKind { kText, kBool, kInteger, kReal };

// A tensor as a model declares it. A request may send any datatype of the kind.
struct TensorSpec {
  const char* name;
  TensorKind kind;
  ::inference::DataType datatype;
  bool single;    // one element; else any number
  bool optional;  // of inputs
};

// "BYTES", "UINT32": what requests and metadata call it. Empty: no datatype of the protocol.
std::string_view DatatypeName(::inference::DataType datatype);
// TYPE_INVALID: unknown name.
::inference::DataType DatatypeOf(std::string_view name);
// TYPE_STRING: 0.
size_t DatatypeBytes(::inference::DataType datatype);
bool IsOfKind(::inference::DataType datatype, TensorKind kind);

const TensorSpec* FindSpec(std::span<const TensorSpec> specs, std::string_view name);

}  // namespace spade
