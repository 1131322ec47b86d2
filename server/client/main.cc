#include <cstdio>
#include <iostream>

#include "server/client/client.h"
#include "server/client/client_options.h"

int main(int argc, char** argv) {
  const spade::ParsedClientOptions parsed = spade::ParseClientOptions(argc, argv);
  if (!parsed.options.has_value()) {
    std::fputs(parsed.output.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  return spade::RunClient(*parsed.options, std::cout, std::cerr);
}
