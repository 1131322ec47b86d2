#include "tests/testing/temp_dir.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "kernels/check.h"

namespace spade::testing {

TempDir::TempDir() : path_((std::filesystem::temp_directory_path() / "spade_XXXXXX").string()) {
  SPADE_CHECK(::mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Write(std::string_view name, std::string_view bytes) const {
  WriteFileOrDie(File(name), bytes);
  return File(name);
}

void WriteFileOrDie(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  SPADE_CHECK(!file.fail());
}

}  // namespace spade::testing
