#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/open_inference.pb.h"
#include "server/infer/tensor_spec.h"

namespace spade {

// One of the two models that the Open Inference Protocol sees where a model is served: its own name
// generates, "<name>-decide" decides.
struct CatalogModel {
  std::string name;
  bool decides;
  std::span<const TensorSpec> inputs;
  std::span<const TensorSpec> outputs;
};

inline constexpr char kCatalogVersion[] = "1";

// Both, of the served model of that name.
std::vector<CatalogModel> Catalog(const std::string& served_name);

// NOT_FOUND: another name or version. An empty version is any.
absl::StatusOr<CatalogModel> FindModel(const std::string& served_name, const std::string& name,
                                       const std::string& version);

::inference::ModelMetadataResponse DescribeTensors(const CatalogModel& model);
::inference::ModelConfig DescribeConfig(const CatalogModel& model);

}  // namespace spade
