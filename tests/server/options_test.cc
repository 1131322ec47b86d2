#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <string>
#include <vector>

#include "server/client/client_options.h"
#include "server/cpu_cores.h"
#include "server/server_options.h"

namespace spade {
namespace {

const std::string kModel = std::string(SPADE_SOURCE_DIR) + "/models/tickets-5m";

ParsedServerOptions Parse(std::vector<std::string> flags, bool with_model = true) {
  std::vector<const char*> argv = {"spade-server"};
  if (with_model) argv.insert(argv.end(), {"--model", kModel.c_str()});
  for (const auto& flag : flags) argv.push_back(flag.c_str());
  return ParseServerOptions(static_cast<int>(argv.size()), argv.data());
}

ParsedClientOptions ParseClient(std::vector<std::string> flags) {
  std::vector<const char*> argv = {"spade-client"};
  for (const auto& flag : flags) argv.push_back(flag.c_str());
  return ParseClientOptions(static_cast<int>(argv.size()), argv.data());
}

TEST(ServerOptionsTest, Defaults) {
  const auto parsed = Parse({});
  ASSERT_TRUE(parsed.options.has_value()) << parsed.output;
  EXPECT_EQ(parsed.options->engine.model_name, "tickets-5m");
  EXPECT_EQ(parsed.options->listen.address, "0.0.0.0:50051");
  EXPECT_EQ(parsed.options->metrics_address, "0.0.0.0:9090");
  EXPECT_EQ(parsed.options->listen.drain_timeout, std::chrono::seconds(30));
  EXPECT_EQ(parsed.options->engine.max_rows, 512);
  EXPECT_EQ(parsed.options->engine.kv_dtype, std::nullopt);
  EXPECT_TRUE(parsed.options->engine.prefix_cache);
  EXPECT_FALSE(parsed.options->log.json);
}

TEST(ServerOptionsTest, EveryKindOfValue) {
  const auto parsed =
      Parse({"--kv-memory", "2GiB", "--kv-dtype", "bf16", "--no-prefix-cache", "--drain-timeout",
             "1.5", "--metrics-listen", "off", "--log-format", "json", "--listen", "[::]:0"});
  ASSERT_TRUE(parsed.options.has_value()) << parsed.output;
  EXPECT_EQ(parsed.options->engine.kv_memory_bytes, int64_t{2} << 30);
  EXPECT_EQ(parsed.options->engine.kv_dtype, DType::kBF16);
  EXPECT_FALSE(parsed.options->engine.prefix_cache);
  EXPECT_EQ(parsed.options->listen.drain_timeout, std::chrono::milliseconds(1500));
  EXPECT_TRUE(parsed.options->metrics_address.empty());
  EXPECT_TRUE(parsed.options->log.json);
}

TEST(ServerOptionsTest, OverloadAndTenants) {
  const auto parsed = Parse({"--max-queue-time", "2.5", "--tenant-weight", "gold=4",
                             "--tenant-weight", "bronze=0.5", "--admin", "--max-hold", "0.25"});
  ASSERT_TRUE(parsed.options.has_value()) << parsed.output;
  EXPECT_EQ(parsed.options->engine.max_queue_time, std::chrono::milliseconds(2500));
  EXPECT_EQ(parsed.options->engine.tenant_weights.Of("gold"), 4);
  EXPECT_EQ(parsed.options->engine.tenant_weights.Of("bronze"), 0.5);
  EXPECT_EQ(parsed.options->engine.tenant_weights.Of("other"), 1);
  EXPECT_TRUE(parsed.options->listen.admin);
  EXPECT_EQ(parsed.options->engine.hold.longest_wait, 0.25);
}

TEST(ServerOptionsTest, BadValuesExitWith2AndNameTheOption) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--listen", "nonsense"},
      {"--listen", "host:99999"},
      {"--listen", ":"},
      {"--metrics-listen", "9090"},
      {"--threads", "-1"},
      {"--tensor-parallel", "0"},
      {"--tensor-parallel", "65"},
      {"--kv-memory", "2potatoes"},
      {"--kv-dtype", "int4"},
      {"--kv-dtype", "f16"},
      {"--weight-dtype", "f64"},
      {"--compute", "f64"},
      {"--block-size", "0"},
      {"--block-size", "7"},
      {"--max-batch-rows", "0"},
      {"--max-sequences", "x"},
      {"--max-queued-tokens", "0"},
      {"--drain-timeout", "-1"},
      {"--liveness-timeout", "0"},
      {"--max-queue-time", "-1"},
      {"--max-hold", "-0.1"},
      {"--max-stall", "0"},
      {"--max-tenants", "0"},
      {"--tenant-weight", "one"},
      {"--tenant-weight", "one=0"},
      {"--tenant-weight", "one=nan"},
      {"--tenant-weight", "o ne=2"},
      {"--log-format", "xml"},
      {"--calibration", "/nonexistent"},
      {"--tls-cert", "/nonexistent"},
      {"--max-message-bytes", "1"},
      {"--config", "/nonexistent"},
  };
  for (const auto& [flag, value] : cases) {
    const auto parsed = Parse({flag, value});
    EXPECT_FALSE(parsed.options.has_value()) << flag;
    EXPECT_EQ(parsed.exit_code, 2) << flag;
    EXPECT_NE(parsed.output.find(flag), std::string::npos) << parsed.output;
    EXPECT_EQ(parsed.output.find('\n'), parsed.output.size() - 1) << parsed.output;
  }
}

TEST(ServerOptionsTest, ModelMustBeGivenAndExist) {
  EXPECT_EQ(Parse({}, /*with_model=*/false).exit_code, 2);
  EXPECT_EQ(Parse({"--model", "/nonexistent"}, /*with_model=*/false).exit_code, 2);
}

TEST(ServerOptionsTest, TlsFlagsGoTogether) {
  const std::string file = kModel + "/config.json";
  EXPECT_EQ(Parse({"--tls-cert", file}).exit_code, 2);
  EXPECT_EQ(Parse({"--tls-client-ca", file}).exit_code, 2);
  EXPECT_EQ(Parse({"--tls-cert", file, "--tls-key", file}).exit_code, 0);
}

TEST(ServerOptionsTest, FlagsWinOverTheFileAndTheFileOverTheEnvironment) {
  const std::string path = ::testing::TempDir() + "/spade-options-test.toml";
  std::ofstream(path) << "max-sequences = 7\nmax-batch-rows = 70\n";
  setenv("SPADE_MAX_SEQUENCES", "6", 1);
  setenv("SPADE_BLOCK_SIZE", "32", 1);
  const auto parsed = Parse({"--config", path, "--max-batch-rows", "80"});
  unsetenv("SPADE_MAX_SEQUENCES");
  unsetenv("SPADE_BLOCK_SIZE");
  ASSERT_TRUE(parsed.options.has_value()) << parsed.output;
  EXPECT_EQ(parsed.options->engine.max_sequences, 7);
  EXPECT_EQ(parsed.options->engine.max_rows, 80);
  EXPECT_EQ(parsed.options->engine.block_size, 32);
}

TEST(ServerOptionsTest, UnknownKeyOfTheFileIsAnError) {
  const std::string path = ::testing::TempDir() + "/spade-options-unknown.toml";
  std::ofstream(path) << "max-sequenses = 7\n";
  EXPECT_EQ(Parse({"--config", path}).exit_code, 2);
}

TEST(ServerOptionsTest, HelpListsEveryGroup) {
  const auto parsed = Parse({"--help"});
  EXPECT_EQ(parsed.exit_code, 0);
  for (const char* word :
       {"Model", "Compute", "Load", "Server", "TLS", "Logging", "SPADE_KV_MEMORY"}) {
    EXPECT_NE(parsed.output.find(word), std::string::npos) << word;
  }
}

std::vector<int> Cores(int count) {
  std::vector<int> cores;
  for (int i = 0; i < count; ++i) cores.push_back(i);
  return cores;
}

TEST(PlanCoresTest, RpcsGetTheCoresThatComputeLeaves) {
  const CorePlan plan = PlanCores(6, Cores(8), 0);
  EXPECT_EQ(plan.compute_threads, 6);
  EXPECT_TRUE(plan.pin);
  EXPECT_EQ(plan.rpc_cores, (std::vector<int>{6, 7}));
}

TEST(PlanCoresTest, SmallMachinesComputeOnAllCores) {
  const CorePlan plan = PlanCores(0, Cores(2), 0);
  EXPECT_EQ(plan.compute_threads, 2);
  EXPECT_TRUE(plan.rpc_cores.empty());
}

TEST(PlanCoresTest, BigMachinesReserveSomeCoresForRpcs) {
  EXPECT_EQ(PlanCores(0, Cores(8), 0).compute_threads, 7);
  EXPECT_EQ(PlanCores(0, Cores(64), 0).compute_threads, 60);
}

TEST(PlanCoresTest, AQuotaLimitsThreadsAndPinsNothing) {
  const CorePlan plan = PlanCores(0, Cores(64), 3.5);
  EXPECT_EQ(plan.compute_threads, 3);
  EXPECT_FALSE(plan.pin);
  EXPECT_TRUE(plan.rpc_cores.empty());
}

TEST(ClientOptionsTest, LabelsKeepTheirSpaces) {
  const auto parsed = ParseClient({"decide", "-p", "x", "--labels", " yes, no", "--label", "a,b"});
  ASSERT_TRUE(parsed.options.has_value()) << parsed.output;
  ASSERT_EQ(parsed.options->decide.labels_size(), 3);
  EXPECT_EQ(parsed.options->decide.labels(0), " yes");
  EXPECT_EQ(parsed.options->decide.labels(1), " no");
  EXPECT_EQ(parsed.options->decide.labels(2), "a,b");
}

TEST(ClientOptionsTest, UnsetFieldsStayUnset) {
  const auto parsed = ParseClient({"generate", "-p", "x", "--temperature", "0"});
  ASSERT_TRUE(parsed.options.has_value()) << parsed.output;
  EXPECT_TRUE(parsed.options->generate.sampling().has_temperature());
  EXPECT_FALSE(parsed.options->generate.sampling().has_top_p());
  EXPECT_FALSE(parsed.options->generate.stopping().has_max_tokens());
}

TEST(ClientOptionsTest, UsageErrorsExitWith2) {
  EXPECT_EQ(ParseClient({}).exit_code, 2);
  EXPECT_EQ(ParseClient({"frobnicate"}).exit_code, 2);
  EXPECT_EQ(ParseClient({"decide", "-p", "x", "--labels", "one"}).exit_code, 2);
  EXPECT_EQ(ParseClient({"decide", "-p", "x", "--mode", "lucky"}).exit_code, 2);
  EXPECT_EQ(ParseClient({"generate", "-f", "/nonexistent"}).exit_code, 2);
  EXPECT_EQ(ParseClient({"generate", "--help"}).exit_code, 0);
}

}  // namespace
}  // namespace spade
