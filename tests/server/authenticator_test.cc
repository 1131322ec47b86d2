#include "server/auth/authenticator.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <memory>
#include <sstream>
#include <string>

#include "engine/base/sha256.h"
#include "server/tenant.h"
#include "tests/testing/temp_dir.h"

namespace spade {
namespace {

std::string Line(const std::string& name, const std::string& token) {
  return name + " " + Sha256Hex(token) + "\n";
}

class AuthenticatorTest : public ::testing::Test {
 protected:
  AuthenticatorTest() {
    folder_.Write("tokens", Line("alice", "a-token") + Line("bob", "b-token"));
  }

  std::string Tenant(const std::string& authorization) {
    const auto caller = auth_.IdentifyToken({authorization});
    return caller.ok() ? caller->tenant : std::string(StatusCodeName(caller.status()));
  }
  static std::string StatusCodeName(const absl::Status& status) {
    return absl::StatusCodeToString(status.code());
  }
  void Replace(const std::string& text) {
    folder_.Write("tokens", text);
    auth_.Reload();
    auth_.Reload();  // it has settled
  }

  const testing::TempDir folder_;
  std::ostringstream log_;
  prometheus::Registry registry_;
  Authenticator auth_{folder_.File("tokens"), &registry_,
                      std::make_shared<spdlog::logger>(
                          "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_))};
};

TEST_F(AuthenticatorTest, ATokenNamesItsTenant) {
  ASSERT_TRUE(auth_.Load().ok());
  EXPECT_EQ(Tenant("Bearer a-token"), "alice");
  EXPECT_EQ(Tenant("bearer b-token"), "bob");
  EXPECT_EQ(Tenant("BEARER  b-token"), "bob");
}

TEST_F(AuthenticatorTest, AnythingElseIsUnauthenticated) {
  ASSERT_TRUE(auth_.Load().ok());
  for (const std::string& value :
       {std::string(), std::string("Bearer"), std::string("Bearer "), std::string("a-token"),
        std::string("Basic a-token"), std::string("Bearer a-token "), std::string("Bearer A-token"),
        "Bearer " + Sha256Hex("a-token"), "Bearer " + std::string(5000, 'x')}) {
    EXPECT_EQ(Tenant(value), "UNAUTHENTICATED") << value;
  }
}

TEST_F(AuthenticatorTest, TwoTokensAreNone) {
  ASSERT_TRUE(auth_.Load().ok());
  EXPECT_FALSE(auth_.IdentifyToken({"Bearer a-token", "Bearer b-token"}).ok());
}

TEST_F(AuthenticatorTest, TheTokenOverridesTheTenantThatIsClaimed) {
  ASSERT_TRUE(auth_.Load().ok());
  const auto caller = auth_.Identify({{"authorization", "Bearer a-token"}, {kTenantKey, "bob"}});
  ASSERT_TRUE(caller.ok());
  EXPECT_EQ(caller->tenant, "alice");
}

TEST_F(AuthenticatorTest, WithoutAFileNobodyIsAuthenticated) {
  Authenticator open("", &registry_, std::make_shared<spdlog::logger>("test"));
  ASSERT_TRUE(open.Load().ok());
  const auto caller = open.Identify({{kTenantKey, "bob"}});
  ASSERT_TRUE(caller.ok());
  EXPECT_FALSE(caller->authenticated());
  EXPECT_EQ(caller->tenant, "");
}

TEST_F(AuthenticatorTest, ABadFileAtTheStartIsAnErrorWithItsLine) {
  folder_.Write("tokens", Line("alice", "a") + "bob b-token\n");
  const absl::Status status = auth_.Load();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(status.message().find("line 2"), std::string::npos) << status;
}

TEST_F(AuthenticatorTest, ANewFileIsTaken) {
  ASSERT_TRUE(auth_.Load().ok());
  Replace(Line("alice", "new") + Line("carol", "c-token"));
  EXPECT_EQ(Tenant("Bearer new"), "alice");
  EXPECT_EQ(Tenant("Bearer c-token"), "carol");
  EXPECT_EQ(Tenant("Bearer a-token"), "UNAUTHENTICATED");
  EXPECT_EQ(Tenant("Bearer b-token"), "UNAUTHENTICATED");
}

TEST_F(AuthenticatorTest, ABadNewFileIsLoggedWithItsLineAndTheOldOneStays) {
  ASSERT_TRUE(auth_.Load().ok());
  Replace(Line("carol", "c-token") + "bob b-token\n");
  EXPECT_EQ(Tenant("Bearer a-token"), "alice");
  EXPECT_EQ(Tenant("Bearer c-token"), "UNAUTHENTICATED");
  EXPECT_NE(log_.str().find("line 2"), std::string::npos) << log_.str();
  EXPECT_EQ(log_.str().find("b-token"), std::string::npos) << log_.str();
}

TEST_F(AuthenticatorTest, WhatIsInFlightCountsAcrossAReload) {
  const std::string limited = "alice " + Sha256Hex("a-token") + " max-in-flight=1\n";
  folder_.Write("tokens", limited);
  ASSERT_TRUE(auth_.Load().ok());
  const Caller alice = *auth_.IdentifyToken({"Bearer a-token"});
  const auto running = auth_.Admit(alice);
  ASSERT_TRUE(running.ok());
  Replace(limited + Line("bob", "b-token"));
  EXPECT_TRUE(absl::IsResourceExhausted(auth_.Admit(alice).status()));
  Replace("alice " + Sha256Hex("a-token") + " max-in-flight=2\n");
  EXPECT_TRUE(auth_.Admit(alice).ok());
}

TEST_F(AuthenticatorTest, ATokenThatIsTakenAwayAdmitsNothingMore) {
  ASSERT_TRUE(auth_.Load().ok());
  const Caller alice = *auth_.IdentifyToken({"Bearer a-token"});
  Replace(Line("alice", "new"));
  EXPECT_TRUE(absl::IsUnauthenticated(auth_.Admit(alice).status()));
}

TEST(CallerTest, ScopesOfDifferentTenantsNeverMeet) {
  const Caller a{"a", "digest"};
  const Caller ab{"a.b", "digest"};
  EXPECT_NE(a.Scoped("salt"), ab.Scoped("salt"));
  EXPECT_NE(a.Scoped("\nb"), ab.Scoped(""));
  EXPECT_NE(a.Scoped(".b\n"), ab.Scoped(""));
  EXPECT_EQ((Caller{"claimed", ""}.Scoped("salt")), "salt");
}

}  // namespace
}  // namespace spade
