#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "server/auth/tls_certificates.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/temp_dir.h"

namespace spade {
namespace {

struct Pair {
  std::string certificate;  // PEM
  std::string key;
};

std::string ReadAll(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// A self-signed certificate for 127.0.0.1, which is its own authority.
Pair MakePair(const std::string& name) {
  const testing::TempDir folder;
  const std::string certificate = folder.File("crt");
  const std::string key = folder.File("key");
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
      "/CN=" +
      name + " -addext subjectAltName=IP:127.0.0.1 -keyout " + key + " -out " + certificate +
      " 2>/dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0);
  return {ReadAll(certificate), ReadAll(key)};
}

// Made once: a few milliseconds each.
const Pair& First() {
  static const Pair& pair = *new Pair(MakePair("first"));
  return pair;
}
const Pair& Second() {
  static const Pair& pair = *new Pair(MakePair("second"));
  return pair;
}

class TlsTest : public ServerTest {
 protected:
  void SetUp() override {
    if (access("/usr/bin/openssl", X_OK) != 0) GTEST_SKIP() << "needs the openssl command";
  }

  void Install(const Pair& pair) {
    folder_.Write("key", pair.key);
    folder_.Write("crt", pair.certificate);
  }
  void ServeTls(const Pair& pair, const std::string& client_ca = "") {
    Install(pair);
    ListenOptions options;
    options.tls = {folder_.File("crt"), folder_.File("key"), ""};
    if (!client_ca.empty()) options.tls.client_ca_file = folder_.Write("ca", client_ca);
    options.reload_interval = std::chrono::milliseconds(5);
    Listen(options);
    Serve({.tick = std::chrono::milliseconds(2)});
  }

  // A connection of its own, to a server whose certificate `authority` signed.
  std::shared_ptr<grpc::Channel> Connect(const Pair& authority, const Pair& own = {}) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = authority.certificate;
    tls.pem_cert_chain = own.certificate;
    tls.pem_private_key = own.key;
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address(), grpc::SslCredentials(tls), arguments);
  }
  static bool Answers(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    v1::GetModelResponse response;
    return v1::InferenceService::NewStub(channel)->GetModel(&context, {}, &response).ok();
  }
  bool Reloaded(const char* result, int times) {
    return Eventually([&] {
      return Metric("spade_reloads_total", {{"what", "tls"}, {"result", result}}) == times;
    });
  }

  const testing::TempDir folder_;
};

TEST_F(TlsTest, NewConnectionsGetTheNewCertificateAndOpenStreamsGoOn) {
  ServeTls(First());
  const auto old = Connect(First());
  const auto stub = v1::InferenceService::NewStub(old);
  const auto context = Context();
  const auto reader = stub->Generate(context.get(), Generation(200));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_FALSE(Answers(Connect(Second())));

  Install(Second());
  ASSERT_TRUE(Reloaded("taken", 1));
  EXPECT_TRUE(Answers(Connect(Second())));
  EXPECT_FALSE(Answers(Connect(First())));
  int tokens = response.token_ids_size();
  while (reader->Read(&response)) tokens += response.token_ids_size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, 200);
}

TEST_F(TlsTest, AKeyOfAnotherCertificateIsNotTaken) {
  ServeTls(First());
  folder_.Write("key", Second().key);
  ASSERT_TRUE(Reloaded("refused", 1));
  EXPECT_TRUE(Answers(Connect(First())));
  folder_.Write("crt", Second().certificate);
  ASSERT_TRUE(Reloaded("taken", 1));
  EXPECT_TRUE(Answers(Connect(Second())));
}

TEST_F(TlsTest, AFileThatIsGoneLeavesTheOldCertificate) {
  ServeTls(First());
  std::filesystem::remove(folder_.File("crt"));
  ASSERT_TRUE(Reloaded("refused", 1));
  EXPECT_TRUE(Answers(Connect(First())));
}

TEST_F(TlsTest, ClientsNeedACertificateOfTheAuthority) {
  ServeTls(First(), /*client_ca=*/Second().certificate);
  EXPECT_TRUE(Answers(Connect(First(), Second())));
  EXPECT_FALSE(Answers(Connect(First()))) << "no certificate";
  EXPECT_FALSE(Answers(Connect(First(), First()))) << "a stranger's";
}

TEST_F(TlsTest, TheClientsAuthorityIsReloaded) {
  ServeTls(First(), /*client_ca=*/Second().certificate);
  folder_.Write("ca", First().certificate);
  ASSERT_TRUE(Reloaded("taken", 1));
  EXPECT_TRUE(Answers(Connect(First(), First())));
  EXPECT_FALSE(Answers(Connect(First(), Second())));
}

TEST_F(TlsTest, AnEmptyClientAuthorityDoesNotLetEverybodyIn) {
  ServeTls(First(), /*client_ca=*/Second().certificate);
  folder_.Write("ca", "");
  ASSERT_TRUE(Reloaded("refused", 1));
  EXPECT_FALSE(Answers(Connect(First())));
}

TEST_F(TlsTest, PlaintextIsRefused) {
  ServeTls(First());
  EXPECT_FALSE(Answers(channel()));
}

TEST_F(TlsTest, TheExpiryIsAMetric) {
  ServeTls(First());
  const double left = Metric("spade_tls_certificate_expiry_timestamp_seconds",
                             std::map<std::string, std::string>{}) -
                      static_cast<double>(std::time(nullptr));
  EXPECT_GT(left, 24 * 3600);
  EXPECT_LE(left, 2 * 24 * 3600);
}

TEST_F(TlsTest, ProblemsNameTheFlag) {
  const auto problem = [](const TlsMaterial& material) {
    return std::string(CheckTlsMaterial(material).status().message());
  };
  EXPECT_EQ(problem({"x", First().key, ""}).rfind("--tls-cert:", 0), 0u);
  EXPECT_EQ(problem({First().certificate, "x", ""}).rfind("--tls-key:", 0), 0u);
  EXPECT_EQ(problem({First().certificate, Second().key, ""}).rfind("--tls-key is not", 0), 0u);
  EXPECT_EQ(problem({First().certificate, First().key, "x"}).rfind("--tls-client-ca:", 0), 0u);
  EXPECT_TRUE(CheckTlsMaterial({First().certificate, First().key, Second().certificate}).ok());
}

}  // namespace
}  // namespace spade
