#include "engine/base/safetensors_header.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace spade {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxDimensions = 8;
constexpr size_t kMaxNameBytes = 4096;

// Accepts {name: {"dtype": text, "shape": [ints], "data_offsets": [int, int]},
//          "__metadata__": {text: text}} and stops at the first thing that is not that.
class HeaderHandler final : public nlohmann::json_sax<Json> {
 public:
  bool start_object(size_t) override {
    if (place_ == Place::kOutside) return MoveTo(Place::kFile);
    if (place_ != Place::kEntry) return Fail("an object where none belongs");
    if (name_ == "__metadata__") return MoveTo(Place::kMetadata);
    entry_ = SafeTensorsEntry{};
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return MoveTo(Place::kTensor);
  }

  bool key(string_t& key) override {
    if (key.size() > kMaxNameBytes) return Fail("a name longer than 4096 bytes");
    if (place_ == Place::kFile) {
      name_ = key;
      const bool metadata_again = name_ == "__metadata__" && std::exchange(has_metadata_, true);
      if (metadata_again || header_.tensors.contains(name_)) return Fail("defined twice");
      return MoveTo(Place::kEntry);
    }
    field_ = key;
    if (place_ == Place::kMetadata) {
      return !header_.metadata.contains(field_) || Fail("a metadata key twice");
    }
    if (field_ == "dtype") return !std::exchange(has_dtype_, true) || Fail("two dtypes");
    if (field_ == "shape") return !std::exchange(has_shape_, true) || Fail("two shapes");
    if (field_ == "data_offsets") {
      return !std::exchange(has_offsets_, true) || Fail("two data_offsets");
    }
    return Fail(absl::StrCat("unknown field ", field_));
  }

  bool end_object() override {
    if (place_ == Place::kFile) return MoveTo(Place::kOutside);
    if (place_ == Place::kTensor) {
      if (!has_dtype_ || !has_shape_ || !has_offsets_) {
        return Fail("needs dtype, shape and data_offsets");
      }
      header_.tensors.emplace(name_, std::move(entry_));
    }
    return MoveTo(Place::kFile);
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || field_ == "dtype") return Fail("a list where none belongs");
    numbers_.clear();
    return MoveTo(Place::kList);
  }

  bool end_array() override {
    if (field_ == "shape") {
      entry_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) return Fail("data_offsets needs two numbers");
      entry_.begin = numbers_[0];
      entry_.end = numbers_[1];
    }
    return MoveTo(Place::kTensor);
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadata) {
      header_.metadata.emplace(field_, std::move(text));
      return true;
    }
    if (place_ != Place::kTensor || field_ != "dtype") return Fail("text where none belongs");
    entry_.dtype = std::move(text);
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kList) return Fail("a number where none belongs");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Fail("a number that is too large");
    }
    if (numbers_.size() == kMaxDimensions) return Fail("more than 8 dimensions");
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool number_integer(number_integer_t) override { return Fail("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return Fail("a fraction"); }
  bool null() override { return Fail("a null"); }
  bool boolean(bool) override { return Fail("a boolean"); }
  bool binary(binary_t&) override { return Fail("binary data"); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return Fail(absl::StrCat("not valid JSON at byte ", position));
  }

  const std::string& error() const { return error_; }
  SafeTensorsHeader TakeHeader() { return std::move(header_); }

 private:
  enum class Place {
    kOutside,   // before and after the document
    kFile,      // between entries
    kEntry,     // after an entry's name: its object follows
    kMetadata,  // inside "__metadata__"
    kTensor,    // inside a tensor's object
    kList,      // inside its shape or data_offsets
  };

  // True, as a handler's answer: go on.
  bool MoveTo(Place place) {
    place_ = place;
    return true;
  }
  bool Fail(const std::string& what) {
    error_ = name_.empty() ? what : absl::StrCat("tensor '", name_, "': ", what);
    return false;
  }

  Place place_ = Place::kOutside;
  SafeTensorsHeader header_;
  std::string name_;
  std::string field_;
  SafeTensorsEntry entry_;
  std::vector<int64_t> numbers_;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  std::string error_;
};

}  // namespace

absl::StatusOr<SafeTensorsHeader> ParseSafeTensorsHeader(std::string_view json) {
  HeaderHandler handler;
  if (!Json::sax_parse(json.begin(), json.end(), &handler)) {
    return absl::InvalidArgumentError(absl::StrCat("safetensors header: ", handler.error()));
  }
  return handler.TakeHeader();
}

}  // namespace spade
