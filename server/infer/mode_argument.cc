#include "server/infer/mode_argument.h"

#include <string>

#include "server/field_check.h"

namespace spade {

absl::StatusOr<v1::Mode> TakeMode(Arguments& arguments) {
  const std::string name = arguments.Text("mode").value_or("exact");
  if (name == "exact") return v1::MODE_EXACT;
  if (name == "verified") return v1::MODE_VERIFIED;
  if (name == "fast") return v1::MODE_FAST;
  return FieldError("mode", "must be exact, verified or fast");
}

}  // namespace spade
