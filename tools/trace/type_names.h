#pragma once

#include <iterator>
#include <map>
#include <string>
#include <type_traits>

#include "kernels/dtype.h"

namespace spade {

// Types by the names that users give them.
template <typename Types>
auto ByName(const Types& types) {
  std::map<std::string, std::remove_cvref_t<decltype(*std::begin(types))>> names;
  for (const auto type : types) names.emplace(NameOf(type), type);
  return names;
}

}  // namespace spade
