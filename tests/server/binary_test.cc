#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace spade {
namespace {

const std::string kModel = std::string(SPADE_SOURCE_DIR) + "/models/tickets-5m";

// A child process; output goes to a file.
class Process {
 public:
  Process(const std::vector<std::string>& command, const std::string& name)
      : output_path_(::testing::TempDir() + "/spade-binary-test-" + std::to_string(getpid()) + "-" +
                     name) {
    pid_ = fork();
    if (pid_ != 0) return;
    const int fd = open(output_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    std::vector<char*> argv;
    for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ~Process() {
    if (!reaped_) {
      kill(pid_, SIGKILL);
      Wait();
    }
    unlink(output_path_.c_str());
  }

  void Signal(int number) { kill(pid_, number); }
  // Its exit code; 1000 + the signal that killed it.
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    reaped_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  std::string Output() const {
    std::ifstream file(output_path_);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  bool WaitForOutput(const std::string& text) const {
    for (int i = 0; i < 1500; ++i) {
      if (Output().find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

 private:
  const std::string output_path_;
  pid_t pid_ = -1;
  bool reaped_ = false;
};

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

class BinaryTest : public ::testing::Test {
 protected:
  std::vector<std::string> ServerCommand(std::vector<std::string> extra = {}) const {
    std::vector<std::string> command = {
        SPADE_SERVER_BINARY, "--model", kModel,        "--listen", target_,
        "--metrics-listen",  "off",     "--kv-memory", "8MiB"};
    command.insert(command.end(), extra.begin(), extra.end());
    return command;
  }
  std::vector<std::string> ClientCommand(std::vector<std::string> words) const {
    std::vector<std::string> command = {SPADE_CLIENT_BINARY, "--target", target_};
    command.insert(command.end(), words.begin(), words.end());
    return command;
  }

  const std::string target_ = "127.0.0.1:" + std::to_string(FreePort());
};

TEST_F(BinaryTest, ServesTheClientsCommandsAndStopsOnSigterm) {
  Process server(ServerCommand({"--log-format", "json"}), "server");
  ASSERT_TRUE(server.WaitForOutput("\"message\":\"serving tickets-5m\"")) << server.Output();

  Process health(ClientCommand({"health"}), "health");
  EXPECT_EQ(health.Wait(), 0);
  EXPECT_EQ(health.Output(), "SERVING\n");

  Process generate(
      ClientCommand({"generate", "-p", "Support inbox.", "-n", "8", "-t", "0", "--stats"}),
      "generate");
  EXPECT_EQ(generate.Wait(), 0) << generate.Output();
  EXPECT_NE(generate.Output().find("8 output"), std::string::npos) << generate.Output();

  Process decide(ClientCommand({"decide", "-p", "1. my card is lost\nArea of message 1:",
                                "--labels", " card, food"}),
                 "decide");
  EXPECT_EQ(decide.Wait(), 0) << decide.Output();
  EXPECT_NE(decide.Output().find(" card\n"), std::string::npos) << decide.Output();

  Process bad(ClientCommand({"generate", "-p", "x", "--top-p", "7"}), "bad");
  EXPECT_EQ(bad.Wait(), 1);
  EXPECT_NE(bad.Output().find("INVALID_ARGUMENT: sampling.top_p"), std::string::npos)
      << bad.Output();

  Process info(ClientCommand({"info"}), "info");
  EXPECT_EQ(info.Wait(), 0);
  EXPECT_NE(info.Output().find("LlamaForCausalLM"), std::string::npos) << info.Output();

  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0) << server.Output();
}

TEST_F(BinaryTest, TokenizeAndDetokenizeAreInverse) {
  Process server(ServerCommand(), "server");
  ASSERT_TRUE(server.WaitForOutput("serving")) << server.Output();
  Process tokenize(ClientCommand({"tokenize", "-p", "lost card", "--no-special-tokens"}), "tok");
  ASSERT_EQ(tokenize.Wait(), 0) << tokenize.Output();
  std::string ids = tokenize.Output();
  ids.pop_back();
  for (char& c : ids) c = c == ' ' ? ',' : c;
  Process detokenize(ClientCommand({"detokenize", ids}), "detok");
  EXPECT_EQ(detokenize.Wait(), 0);
  EXPECT_EQ(detokenize.Output(), "lost card\n");
}

TEST_F(BinaryTest, NothingSaidIsLogged) {
  Process server(ServerCommand({"--log-level", "debug"}), "server");
  ASSERT_TRUE(server.WaitForOutput("serving")) << server.Output();
  const std::string said = "wombat";
  const std::vector<std::vector<std::string>> calls = {
      {"generate", "-p", said, "-n", "2", "--stop", said},
      {"generate", "-p", said, "--top-p", "7"},
      {"generate", "-p", said + "\xff", "-n", "2"},
      {"generate", "-p", said, "--cache-salt", said + std::string(300, 'x')},
      {"decide", "-p", said, "--labels", " " + said + ", food"},
      {"decide", "-p", said, "--labels", said + "," + said},
      {"decide", "-p", said, "--labels", " card, food", "--mode", "fast", "--max-mismatch", "0.1"},
      {"tokenize", "-p", said}};
  for (const auto& call : calls) {
    Process client(ClientCommand(call), "client");
    client.Wait();
  }
  server.Signal(SIGTERM);
  server.Wait();
  EXPECT_NE(server.Output().find("rpc Generate"), std::string::npos) << "the calls are logged";
  EXPECT_EQ(server.Output().find(said), std::string::npos) << server.Output();
}

TEST_F(BinaryTest, SigtermLetsTheRunningStreamFinish) {
  Process server(ServerCommand(), "server");
  ASSERT_TRUE(server.WaitForOutput("serving")) << server.Output();
  // Long enough to outlast the signal's way.
  Process generate(ClientCommand({"generate", "-p", "Support inbox.", "-n", "120", "--ignore-eos",
                                  "--count", "4", "--stats"}),
                   "generate");
  for (int i = 0; i < 1000 && generate.Output().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  server.Signal(SIGTERM);
  EXPECT_EQ(generate.Wait(), 0) << generate.Output();
  EXPECT_NE(generate.Output().find("120 output"), std::string::npos);
  EXPECT_EQ(server.Wait(), 0) << server.Output();
  EXPECT_NE(server.Output().find("stopped; 0 requests cut off"), std::string::npos);
}

TEST_F(BinaryTest, MutualTlsAndTokens) {
  constexpr char kOpenssl[] = "/usr/bin/openssl";
  if (access(kOpenssl, X_OK) != 0) GTEST_SKIP() << "needs the openssl command";
  const std::string cert = ::testing::TempDir() + "/spade-" + std::to_string(getpid()) + ".crt";
  const std::string key = ::testing::TempDir() + "/spade-" + std::to_string(getpid()) + ".key";
  Process make({kOpenssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert},
               "openssl");
  ASSERT_EQ(make.Wait(), 0) << make.Output();
  Process make_token({SPADE_CLIENT_BINARY, "make-token", "alice"}, "tokens");
  ASSERT_EQ(make_token.Wait(), 0) << make_token.Output();
  std::istringstream made(make_token.Output());
  std::string line;
  std::string token;
  ASSERT_TRUE(std::getline(made, line) && std::getline(made, token));
  const std::string tokens = cert + ".tokens";
  const std::string secret = cert + ".secret";
  std::ofstream(tokens) << line << "\n";
  std::ofstream(secret) << token << "\n";
  Process server(ServerCommand({"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert,
                                "--token-file", tokens}),
                 "server");
  ASSERT_TRUE(server.WaitForOutput("serving")) << server.Output();
  Process known(ClientCommand({"--tls-ca", cert, "--tls-cert", cert, "--tls-key", key, "health"}),
                "known");
  EXPECT_EQ(known.Wait(), 0) << known.Output();
  Process info(ClientCommand({"--tls-ca", cert, "--tls-cert", cert, "--tls-key", key,
                              "--token-file", secret, "info"}),
               "info");
  EXPECT_EQ(info.Wait(), 0) << info.Output();
  Process nobody(ClientCommand({"--tls-ca", cert, "--tls-cert", cert, "--tls-key", key, "info"}),
                 "nobody");
  EXPECT_EQ(nobody.Wait(), 1);
  EXPECT_EQ(nobody.Output().rfind("UNAUTHENTICATED: ", 0), 0u) << nobody.Output();
  Process other_name(ClientCommand({"--tls-ca", cert, "--tls-cert", cert, "--tls-key", key,
                                    "--tls-name", "other", "--deadline", "5", "health"}),
                     "other-name");
  EXPECT_EQ(other_name.Wait(), 1) << other_name.Output();
  Process stranger(ClientCommand({"--tls-ca", cert, "--deadline", "5", "health"}), "stranger");
  EXPECT_EQ(stranger.Wait(), 1) << stranger.Output();
  Process plain(ClientCommand({"--deadline", "5", "health"}), "plain");
  EXPECT_EQ(plain.Wait(), 1) << plain.Output();
  for (const std::string& path : {cert, key, tokens, secret}) unlink(path.c_str());
}

TEST_F(BinaryTest, SecondSignalExitsAtOnce) {
  Process server(ServerCommand(), "server");
  ASSERT_TRUE(server.WaitForOutput("serving")) << server.Output();
  Process stream(
      ClientCommand({"generate", "-p", "a", "-n", "250", "--ignore-eos", "--count", "100"}),
      "generate");
  for (int i = 0; i < 1000 && stream.Output().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  server.Signal(SIGTERM);
  ASSERT_TRUE(server.WaitForOutput("draining"));
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait(), 128 + SIGINT) << server.Output();
}

TEST_F(BinaryTest, ACrashLeavesAWordAboutItself) {
  Process server(ServerCommand(), "server");
  ASSERT_TRUE(server.WaitForOutput("serving")) << server.Output();
  Process generate(ClientCommand({"generate", "-p", "Support inbox.", "-n", "8"}), "generate");
  ASSERT_EQ(generate.Wait(), 0) << generate.Output();
  server.Signal(SIGABRT);
  EXPECT_EQ(server.Wait(), 1000 + SIGABRT) << "the signal takes its course";
  const std::string output = server.Output();
  EXPECT_NE(output.find("spade-server died: signal=6 version="), std::string::npos) << output;
  EXPECT_NE(output.find(" model=tickets-5m "), std::string::npos) << output;
  EXPECT_NE(output.find(" running=0 waiting=0\n"), std::string::npos) << output;
  EXPECT_EQ(output.find("Support inbox"), std::string::npos);
}

TEST_F(BinaryTest, KilledAndRestartedNothingIsLostThatIsSentAgain) {
  Process first(ServerCommand(), "first");
  ASSERT_TRUE(first.WaitForOutput("serving")) << first.Output();
  // Each sends its request until it is answered: a shell's loop around the client.
  std::vector<std::unique_ptr<Process>> clients;
  for (int i = 0; i < 4; ++i) {
    std::string command = "n=0; while [ $n -lt 6 ]; do " SPADE_CLIENT_BINARY " --target " +
                          target_ +
                          " generate -p 'Support inbox.' -n 60 -t 0 --ignore-eos > /dev/null " +
                          "2>&1 && n=$((n+1)) && echo answered-$n || sleep 0.1; done";
    clients.push_back(std::make_unique<Process>(std::vector<std::string>{"/bin/sh", "-c", command},
                                                "client-" + std::to_string(i)));
  }
  ASSERT_TRUE(clients[0]->WaitForOutput("answered-1"));
  first.Signal(SIGKILL);
  EXPECT_EQ(first.Wait(), 1000 + SIGKILL);
  Process second(ServerCommand(), "second");
  for (const auto& client : clients) {
    EXPECT_EQ(client->Wait(), 0);
    EXPECT_NE(client->Output().find("answered-6"), std::string::npos) << client->Output();
  }
  second.Signal(SIGTERM);
  EXPECT_EQ(second.Wait(), 0) << second.Output();
}

TEST_F(BinaryTest, BadConfigurationExitsWith2AndAModelThatDoesNotLoadWith1) {
  Process usage({SPADE_SERVER_BINARY, "--model", kModel, "--listen", "nonsense"}, "usage");
  EXPECT_EQ(usage.Wait(), 2) << usage.Output();
  Process empty({SPADE_SERVER_BINARY, "--model", ::testing::TempDir(), "--listen", target_,
                 "--metrics-listen", "off"},
                "empty");
  EXPECT_EQ(empty.Wait(), 1) << empty.Output();
  EXPECT_NE(empty.Output().find("config.json"), std::string::npos) << empty.Output();
}

TEST_F(BinaryTest, ClientWithoutServerFailsWithTheCode) {
  Process client({SPADE_CLIENT_BINARY, "--target", target_, "info"}, "client");
  EXPECT_EQ(client.Wait(), 1);
  EXPECT_EQ(client.Output().rfind("UNAVAILABLE: ", 0), 0u) << client.Output();
}

}  // namespace
}  // namespace spade
