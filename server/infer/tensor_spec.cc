#include "server/infer/tensor_spec.h"

#include <algorithm>

namespace spade {
namespace {

struct Datatype {
  ::inference::DataType type;
  std::string_view name;
  size_t bytes;
  TensorKind kind;
};

// Those that an input or output of ours can have.
constexpr Datatype kDatatypes[] = {
    {::inference::TYPE_STRING, "BYTES", 0, TensorKind::kText},
    {::inference::TYPE_BOOL, "BOOL", 1, TensorKind::kBool},
    {::inference::TYPE_UINT8, "UINT8", 1, TensorKind::kInteger},
    {::inference::TYPE_UINT16, "UINT16", 2, TensorKind::kInteger},
    {::inference::TYPE_UINT32, "UINT32", 4, TensorKind::kInteger},
    {::inference::TYPE_UINT64, "UINT64", 8, TensorKind::kInteger},
    {::inference::TYPE_INT8, "INT8", 1, TensorKind::kInteger},
    {::inference::TYPE_INT16, "INT16", 2, TensorKind::kInteger},
    {::inference::TYPE_INT32, "INT32", 4, TensorKind::kInteger},
    {::inference::TYPE_INT64, "INT64", 8, TensorKind::kInteger},
    {::inference::TYPE_FP32, "FP32", 4, TensorKind::kReal},
    {::inference::TYPE_FP64, "FP64", 8, TensorKind::kReal},
};

const Datatype* Find(::inference::DataType type) {
  const auto* found = std::find_if(std::begin(kDatatypes), std::end(kDatatypes),
                                   [type](const Datatype& known) { return known.type == type; });
  return found == std::end(kDatatypes) ? nullptr : found;
}

}  // namespace

std::string_view DatatypeName(::inference::DataType datatype) {
  const Datatype* known = Find(datatype);
  return known == nullptr ? std::string_view() : known->name;
}

::inference::DataType DatatypeOf(std::string_view name) {
  for (const Datatype& known : kDatatypes) {
    if (known.name == name) return known.type;
  }
  return ::inference::TYPE_INVALID;
}

size_t DatatypeBytes(::inference::DataType datatype) {
  const Datatype* known = Find(datatype);
  return known == nullptr ? 0 : known->bytes;
}

bool IsOfKind(::inference::DataType datatype, TensorKind kind) {
  const Datatype* known = Find(datatype);
  return known != nullptr && known->kind == kind;
}

const TensorSpec* FindSpec(std::span<const TensorSpec> specs, std::string_view name) {
  for (const TensorSpec& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

}  // namespace spade
