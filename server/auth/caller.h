#pragma once

#include <string>

#include "engine/runtime/request.h"

namespace spade {

// Who sent a call.
struct Caller {
  // The name of its token in the token file; empty where the server has no token file.
  std::string tenant;
  std::string digest;  // of its token; empty: the server has no token file
  bool admin = false;  // its token says so

  bool authenticated() const { return !digest.empty(); }
  // Whether it may know of a request of `other`. Without a token file, tenants are but names.
  bool MaySee(const std::string& other) const {
    return !authenticated() || admin || other == tenant;
  }

  // What the caller wrote, made its own: other tenants cannot make the same text.
  std::string Scoped(const std::string& text) const {
    return authenticated() ? tenant + '\n' + text : text;  // names hold no newline
  }
  // Ties what the request leaves in the prefix cache, and finds there, to its tenant.
  void ScopeCache(RequestContext& context) const {
    context.cache_salt = Scoped(context.cache_salt);
  }
};

}  // namespace spade
