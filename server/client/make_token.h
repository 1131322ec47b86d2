#pragma once

#include <string>

namespace spade {

// A token that nobody can guess: 256 random bits in hex, after a prefix by which scanners for
// leaked secrets know it.
std::string MakeToken();

// The line of a server's token file that lets `token` in as `tenant`.
std::string TokenFileLine(const std::string& tenant, const std::string& token);

}  // namespace spade
