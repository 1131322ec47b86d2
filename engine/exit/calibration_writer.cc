#include "engine/exit/calibration_writer.h"

#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "engine/exit/calibration_format.h"

namespace spade::calibration {

using Json = nlohmann::json;

Writer::Writer(std::string_view format, const CalibrationIdentity& identity)
    : description_({{"format", format},
                    {"model_sha256", identity.model_sha256},
                    {"tokenizer_sha256", identity.tokenizer_sha256},
                    {"weight_dtype", identity.weight_dtype},
                    {"compute", NameOf(identity.compute)},
                    {"kv_dtype", NameOf(identity.kv_dtype)},
                    {"hidden_size", identity.hidden_size}}),
      header_(Json::object()) {}

void Writer::AddCertificates(const std::vector<Certificate>& certificates) {
  Json list = Json::array();
  for (const Certificate& certificate : certificates) {
    list.push_back({{"max_mismatch", certificate.max_mismatch},
                    {"thresholds", certificate.thresholds},
                    {"exited", certificate.exited},
                    {"mismatched", certificate.mismatched},
                    {"prompts", certificate.prompts},
                    {"saving", certificate.saving}});
  }
  description_["certificates"] = std::move(list);
}

void Writer::AddTensor(const std::string& name, const std::vector<float>& values,
                       const std::vector<int64_t>& shape) {
  const size_t begin = data_.size();
  data_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  header_[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
}

std::string Writer::Finish() const {
  Json header = header_;
  header["__metadata__"] = {{kCalibrationKey, description_.dump(-1, ' ', /*ensure_ascii=*/true,
                                                                Json::error_handler_t::replace)}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins aligned
  const auto length = static_cast<uint64_t>(text.size());
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + text + data_;
}

absl::Status WriteFile(const std::string& content, const std::string& path) {
  const std::string partial = path + ".tmp";  // renamed once it is whole
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(partial, path, error);
  if (!out || error) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path,
                                               ": check that its folder exists, may be written "
                                               "and has space"));
  }
  return absl::OkStatus();
}

}  // namespace spade::calibration
