#pragma once

#include <string>
#include <string_view>

namespace spade::testing {

// A fresh folder that goes, with what is in it, when this does.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const { return path_ + "/" + std::string(name); }
  // Writes a file of this folder and returns its path.
  std::string Write(std::string_view name, std::string_view bytes) const;

 private:
  std::string path_;
};

// Aborts where the file cannot be written.
void WriteFileOrDie(const std::string& path, std::string_view bytes);

}  // namespace spade::testing
