#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/runtime/engine.h"

namespace spade::bench {

// What one request answered, as far as two modes can be compared by it.
struct Reply {
  std::vector<TokenId> tokens;       // Generate
  int32_t label = -1;                // Decide: the final answer
  std::vector<float> probabilities;  // of it
  int32_t exit_layer = 0;
  double layer_rows_saved = 0;  // of early exits; of
  double layer_rows_full = 0;
};

// Sends request i for each i in [0, count), `in_flight` at a time, and waits for all answers.
// Seconds for all of them. A refused or failed request ends the process: the bench is wrong then.
class ExitRun {
 public:
  ExitRun(Engine* engine, int32_t in_flight) : engine_(*engine), in_flight_(in_flight) {}

  double Generate(int32_t count, const std::function<GenerateRequest(int32_t)>& request,
                  std::vector<Reply>* replies);
  double Decide(int32_t count, const std::function<DecideRequest(int32_t)>& request,
                std::vector<Reply>* replies);

 private:
  template <typename Sink, typename Submit>
  double Run(int32_t count, const Submit& submit, std::vector<Reply>* replies);

  Engine& engine_;
  const int32_t in_flight_;
};

}  // namespace spade::bench
