#include "tests/testing/safetensors_writer.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"

namespace spade::testing {

void SafeTensorsWriter::Add(std::string_view name, std::span<const int64_t> shape,
                            std::span<const float> values, DType dtype) {
  size_t count = 1;
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  std::string bytes;
  for (const float value : values) {
    if (dtype == DType::kF32) {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else {
      const uint16_t bits = FloatToBF16(value);
      bytes.append(reinterpret_cast<const char*>(&bits), sizeof bits);
    }
  }
  const size_t begin = data_.size();
  SPADE_CHECK(count == 0 || !bytes.empty());
  const size_t end = begin + count * SizeOf(dtype);
  while (data_.size() < end) data_.append(bytes, 0, end - data_.size());
  absl::StrAppend(&header_, header_.size() > 1 ? "," : "", "\"", std::string(name),
                  "\":{\"dtype\":\"", dtype == DType::kF32 ? "F32" : "BF16", "\",\"shape\":[",
                  absl::StrJoin(shape, ","), "],\"data_offsets\":[", begin, ",", data_.size(),
                  "]}");
}

std::string SafeTensorsWriter::Bytes() const {
  std::string header = header_ + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return SafeTensorsBytes(header, data_);
}

std::string SafeTensorsBytes(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += header;
  bytes += data;
  return bytes;
}

}  // namespace spade::testing
