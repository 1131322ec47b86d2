#pragma once

#include <prometheus/counter.h>
#include <prometheus/registry.h>

namespace spade {

// Changes of a watched file (`what`: tokens, tls) by what became of them.
inline prometheus::Counter& ReloadCounter(prometheus::Registry* registry, const char* what,
                                          const char* result) {
  return prometheus::BuildCounter()
      .Name("spade_reloads_total")
      .Help("Changed files that were taken, or refused so that the old content stays")
      .Register(*registry)
      .Add({{"what", what}, {"result", result}});
}

}  // namespace spade
