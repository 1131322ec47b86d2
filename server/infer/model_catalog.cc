#include "server/infer/model_catalog.h"

#include "absl/strings/str_cat.h"
#include "server/infer/decision_model.h"
#include "server/infer/generation_model.h"

namespace spade {
namespace {

constexpr char kPlatform[] = "spade";

void DescribeTensor(const TensorSpec& spec,
                    ::inference::ModelMetadataResponse::TensorMetadata* tensor) {
  tensor->set_name(spec.name);
  tensor->set_datatype(std::string(DatatypeName(spec.datatype)));
  tensor->add_shape(spec.single ? 1 : -1);
}

}  // namespace

std::vector<CatalogModel> Catalog(const std::string& served_name) {
  return {
      {served_name, false, GenerationInputs(), GenerationOutputs()},
      {absl::StrCat(served_name, "-decide"), true, DecisionInputs(), DecisionOutputs()},
  };
}

absl::StatusOr<CatalogModel> FindModel(const std::string& served_name, const std::string& name,
                                       const std::string& version) {
  for (const CatalogModel& model : Catalog(served_name)) {
    if (model.name != name) continue;
    if (version.empty() || version == kCatalogVersion) return model;
    return absl::NotFoundError(
        absl::StrCat("model_version: \"", name, "\" has version ", kCatalogVersion, " only"));
  }
  return absl::NotFoundError(absl::StrCat("model_name: this server has \"", served_name,
                                          "\" and \"", served_name, "-decide\""));
}

::inference::ModelMetadataResponse DescribeTensors(const CatalogModel& model) {
  ::inference::ModelMetadataResponse metadata;
  metadata.set_name(model.name);
  metadata.add_versions(std::string(kCatalogVersion));
  metadata.set_platform(kPlatform);
  for (const TensorSpec& spec : model.inputs) DescribeTensor(spec, metadata.add_inputs());
  for (const TensorSpec& spec : model.outputs) DescribeTensor(spec, metadata.add_outputs());
  return metadata;
}

::inference::ModelConfig DescribeConfig(const CatalogModel& model) {
  ::inference::ModelConfig config;
  config.set_name(model.name);
  config.set_platform(kPlatform);
  config.set_backend(kPlatform);
  config.set_max_batch_size(0);  // the engine batches by itself
  for (const TensorSpec& spec : model.inputs) {
    ::inference::ModelInput* input = config.add_input();
    input->set_name(spec.name);
    input->set_data_type(spec.datatype);
    input->add_dims(spec.single ? 1 : -1);
    input->set_optional(spec.optional);
  }
  for (const TensorSpec& spec : model.outputs) {
    ::inference::ModelOutput* output = config.add_output();
    output->set_name(spec.name);
    output->set_data_type(spec.datatype);
    output->add_dims(spec.single ? 1 : -1);
  }
  // Both may answer more than once: a stream of text, an early decision and the final one.
  config.mutable_model_transaction_policy()->set_decoupled(true);
  return config;
}

}  // namespace spade
