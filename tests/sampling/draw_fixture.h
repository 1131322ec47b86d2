#pragma once

#include <memory>
#include <vector>

#include "engine/sampling/logit_queries.h"
#include "tests/kernels/device_test.h"
#include "tests/sampling/sampler_case.h"

namespace spade::testing {

// A draw of a Case: where, and by whom.
struct Place {
  int32_t position = 0;
  uint32_t index = 0;
};

// Draws on each device in its own way: on the host by Sample and Score, else by the LogitReader.
class DrawTest : public DeviceTest {
 protected:
  bool OnHost() { return backend().logit_reader() == nullptr; }

  // The case's tokens at all places, in one reading of as many rows.
  std::vector<SampledToken> Draw(const Case& test, const std::vector<Place>& places);
  SampledToken Draw(const Case& test) { return Draw(test, {Place{}}).front(); }
  std::vector<SampledToken> DrawAt(const Case& test, int32_t positions);
  SampledToken ScoreOf(const std::vector<float>& logits, TokenId actual, int32_t count);
  // The logits after all readings of the last Draw.
  const std::vector<float>& logits_after() const { return logits_after_; }

 private:
  std::vector<float> logits_after_;
};

}  // namespace spade::testing
