#include "engine/runtime/exit_guards.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

Certificate CertificateFor(double max_mismatch) {
  Certificate certificate;
  certificate.max_mismatch = max_mismatch;
  certificate.thresholds = {0.5f, 0.5f};
  return certificate;
}

// Mismatches until something happens.
ExitGuards::State Breach(ExitGuards& guards, const Certificate& certificate) {
  for (int i = 0; i < 1000; ++i) {
    const ExitGuards::State state = guards.Observe(&certificate, 0, /*mismatch=*/true);
    if (state.action != ExitGuards::Action::kNone) return state;
  }
  ADD_FAILURE() << "no breach was found";
  return {};
}

TEST(ExitGuardsTest, AnExitIsOpenUntilItIsBreached) {
  const Certificate certificate = CertificateFor(0.01);
  ExitGuards guards;
  EXPECT_EQ(guards.Openness(&certificate, 0), 1);
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(guards.Observe(&certificate, 0, false).action, ExitGuards::Action::kNone);
  }
  EXPECT_EQ(guards.Openness(&certificate, 0), 1);
}

TEST(ExitGuardsTest, BreachesTightenThenClose) {
  const Certificate certificate = CertificateFor(0.01);
  ExitGuards guards;
  EXPECT_EQ(Breach(guards, certificate).action, ExitGuards::Action::kTightened);
  EXPECT_EQ(guards.Openness(&certificate, 0), 0.5f);
  EXPECT_EQ(Breach(guards, certificate).action, ExitGuards::Action::kTightened);
  EXPECT_EQ(guards.Openness(&certificate, 0), 0.25f);
  const ExitGuards::State closed = Breach(guards, certificate);
  EXPECT_EQ(closed.action, ExitGuards::Action::kClosed);
  EXPECT_TRUE(closed.closed);
  EXPECT_EQ(guards.Openness(&certificate, 0), 0);
}

TEST(ExitGuardsTest, ExitsAndCertificatesAreApart) {
  const Certificate strict = CertificateFor(0.01);
  const Certificate loose = CertificateFor(0.1);
  ExitGuards guards;
  Breach(guards, strict);
  EXPECT_EQ(guards.Openness(&strict, 1), 1);
  EXPECT_EQ(guards.Openness(&loose, 0), 1);
}

TEST(ExitGuardsTest, TheBoundComesDownWithChecks) {
  const Certificate certificate = CertificateFor(0.05);
  ExitGuards guards;
  double upper = 1;
  for (int i = 0; i < 400; ++i) upper = guards.Observe(&certificate, 0, false).upper;
  EXPECT_LT(upper, 0.03);
}

}  // namespace
}  // namespace spade
