// Calibration files by their path.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/exit/calibration_format.h"
#include "engine/exit/calibration_json.h"
#include "engine/exit/token_calibration.h"

namespace spade {
namespace {

absl::StatusOr<AnyCalibration> ParseAny(std::span<const std::byte> bytes) {
  SPADE_ASSIGN_OR_RETURN(const calibration::Document document, calibration::OpenDocument(bytes));
  if (document.format == kTokenCalibrationFormat) return ParseTokenCalibration(bytes);
  return ParseCalibration(bytes);
}

// Parses the file with `parse`; its errors name the file.
template <typename Parse>
auto Load(const std::string& path, const Parse& parse) -> decltype(parse({})) {
  SPADE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  auto parsed = parse(file.bytes());
  if (parsed.ok()) return parsed;
  return absl::Status(parsed.status().code(), absl::StrCat(path, ": ", parsed.status().message()));
}

}  // namespace

absl::StatusOr<Calibration> LoadCalibration(const std::string& path) {
  return Load(path, &ParseCalibration);
}

absl::StatusOr<TokenCalibration> LoadTokenCalibration(const std::string& path) {
  return Load(path, &ParseTokenCalibration);
}

absl::StatusOr<AnyCalibration> LoadAnyCalibration(const std::string& path) {
  return Load(path, &ParseAny);
}

}  // namespace spade
