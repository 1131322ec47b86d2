#include "loadtest/write_file.h"

#include <fstream>

#include "absl/strings/str_cat.h"

namespace spade::loadtest {

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

}  // namespace spade::loadtest
