#include "engine/schedule/wait_forecast.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

// `count` requests of ten tokens that are scheduled one by one, at `rate` a second.
double Serve(WaitForecast& forecast, double now, int count, double rate) {
  for (int i = 0; i < count; ++i) forecast.Add("served", 0, 10, now);
  for (int i = 0; i < count; ++i) {
    now += 1 / rate;
    forecast.Remove("served", 0, 10, /*scheduled=*/true, now);
  }
  return now;
}

void Add(WaitForecast& forecast, const std::string& tenant, int count, double now) {
  for (int i = 0; i < count; ++i) forecast.Add(tenant, 0, 10, now);
}

TEST(WaitForecastTest, KnowsNothingAtFirst) {
  WaitForecast forecast({});
  Add(forecast, "a", 5, 100);
  EXPECT_FALSE(forecast.Wait("a", 0, 100.5).has_value());
  EXPECT_FALSE(forecast.DrainTime(100.5).has_value());
}

TEST(WaitForecastTest, IsWhatWaitsOverTheRate) {
  WaitForecast forecast({});
  const double now = Serve(forecast, 100, 60, 20);
  Add(forecast, "a", 40, now);
  EXPECT_NEAR(*forecast.Wait("a", 0, now), 2, 0.1);
  EXPECT_NEAR(*forecast.DrainTime(now), 2, 0.1);
}

TEST(WaitForecastTest, WhatAnIdleServerDidIsNoRate) {
  WaitForecast forecast({});
  double now = Serve(forecast, 100, 60, 20);
  for (int i = 0; i < 100; ++i) now = Serve(forecast, now + 10, 1, 20);  // one in ten seconds
  Add(forecast, "a", 40, now);
  EXPECT_NEAR(*forecast.Wait("a", 0, now), 2, 0.1);
}

TEST(WaitForecastTest, OneWhoseTenantWaitsForNothingIsNext) {
  WaitForecast forecast({});
  const double now = Serve(forecast, 100, 60, 20);
  Add(forecast, "a", 400, now);
  EXPECT_EQ(*forecast.Wait("b", 0, now), 0);
}

TEST(WaitForecastTest, TenantsShareByWeight) {
  WaitForecast forecast(TenantWeights({{"gold", 3}}));
  const double now = Serve(forecast, 100, 60, 20);
  Add(forecast, "a", 40, now);
  Add(forecast, "gold", 40, now);
  EXPECT_NEAR(*forecast.Wait("a", 0, now), 2 * 4, 0.4);
  EXPECT_NEAR(*forecast.Wait("gold", 0, now), 2 * 4 / 3.0, 0.2);
}

TEST(WaitForecastTest, LowerPrioritiesDoNotDelay) {
  WaitForecast forecast({});
  const double now = Serve(forecast, 100, 60, 20);
  Add(forecast, "a", 40, now);  // of priority 0
  forecast.Add("a", -1, 10, now);
  EXPECT_NEAR(*forecast.Wait("a", -1, now), 0.05, 0.01);
  EXPECT_EQ(*forecast.Wait("a", -2, now), 0);
  EXPECT_NEAR(*forecast.Wait("a", 5, now), 2.05, 0.1);
}

TEST(WaitForecastTest, LongPromptsDoNotMakeItLongerThanTheRequestsSay) {
  WaitForecast forecast({});
  const double now = Serve(forecast, 100, 60, 20);
  forecast.Add("a", 0, 100000, now);
  EXPECT_NEAR(*forecast.Wait("a", 0, now), 0.05, 0.01);
}

TEST(WaitForecastTest, WhatWasNotScheduledIsNoRate) {
  WaitForecast forecast({});
  double now = Serve(forecast, 100, 60, 20);
  Add(forecast, "a", 1000, now);
  for (int i = 0; i < 960; ++i) forecast.Remove("a", 0, 10, /*scheduled=*/false, now);
  EXPECT_NEAR(*forecast.Wait("a", 0, now), 2, 0.1);
}

TEST(WaitForecastTest, AServerThatStandsStillMakesItLonger) {
  WaitForecast forecast({});
  const double now = Serve(forecast, 100, 60, 20);
  Add(forecast, "a", 10, now);
  EXPECT_GT(*forecast.Wait("a", 0, now + 20), 3 * *forecast.Wait("a", 0, now));
}

}  // namespace
}  // namespace spade
