#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/exit/calibration.h"

namespace spade::calibration {

// Makes the bytes of a calibration file: tensors, and the description that they belong to. Equal
// content gives equal bytes.
class Writer {
 public:
  // Begins the description with the format and what the calibration was made for.
  Writer(std::string_view format, const CalibrationIdentity& identity);

  nlohmann::json& description() { return description_; }
  void AddCertificates(const std::vector<Certificate>& certificates);
  // An F32 tensor.
  void AddTensor(const std::string& name, const std::vector<float>& values,
                 const std::vector<int64_t>& shape);
  std::string Finish() const;

 private:
  nlohmann::json description_;
  nlohmann::json header_;
  std::string data_;
};

// UNAVAILABLE where the file cannot be written. A reader never sees half a file.
absl::Status WriteFile(const std::string& content, const std::string& path);

}  // namespace spade::calibration
