// msa plan as a whole command.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/json_output.h"
#include "cli/plan_report.h"

namespace msa::cli {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class Plan : public ::testing::Test {
 protected:
  void SetUp() override { ::unsetenv("MSA_MODEL"); }

  int run_plan(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "plan");
    out_.clear();
    err_.clear();
    Output out(out_), err(err_);
    Console console(err, {});
    return static_cast<int>(run(arguments, out, {}, console));
  }
  int msa_4b(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--model", "msa-4b", "--tokens", "100M"});
    return run_plan(std::move(arguments));
  }
  void expect_usage_error(int code, const std::string& what) {
    EXPECT_EQ(code, 2) << err_;
    EXPECT_THAT(err_, AllOf(HasSubstr("msa: "), HasSubstr(what)));
    EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 1) << err_;
    EXPECT_EQ(out_, "");
  }

  std::string out_, err_;
};

TEST_F(Plan, PrintsThePublishedFigures) {
  ASSERT_EQ(msa_4b({}), 0) << err_;
  EXPECT_THAT(out_, AllOf(HasSubstr("1,562,500 chunks"), HasSubstr("108.0 KiB each")));
  EXPECT_THAT(out_, ContainsRegex("routing keys, bf16 +57,600,000,000 +57\\.6 GB +53\\.6 GiB"));
  EXPECT_THAT(out_, ContainsRegex("pooled K, bf16 +57,600,000,000"));
  EXPECT_THAT(out_, ContainsRegex("pooled V, bf16 +57,600,000,000"));
  EXPECT_THAT(out_, ContainsRegex("vectors in all +172,800,000,000 +172\\.8 GB +160\\.9 GiB"));
  EXPECT_THAT(out_, HasSubstr("24.0 GiB of GPU memory"));
  EXPECT_THAT(out_, HasSubstr("64.0 GiB of RAM"));
  EXPECT_THAT(out_, Not(HasSubstr("cannot write")));
  EXPECT_EQ(err_, "");
}

TEST_F(Plan, SaysWhatThisBuildCannotWrite) {
  ASSERT_EQ(msa_4b({"--keys", "f32", "--content", "bf16"}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("this build cannot write keys in f32 with content in bf16"));
  ASSERT_EQ(msa_4b({"--keys", "int4", "--content", "int8"}), 0) << err_;
  EXPECT_THAT(out_, Not(HasSubstr("cannot write")));
  EXPECT_THAT(out_, HasSubstr("the same in full, bf16"));
}

TEST_F(Plan, CompressedKeysAreNeverOnDisk) {
  ASSERT_EQ(msa_4b({"--keys", "int8", "--ram", "32G"}), 0) << err_;
  EXPECT_THAT(out_, ContainsRegex("routing keys, int8 .* nowhere\n"));
  EXPECT_THAT(out_, HasSubstr("routing   not possible\n"));
  EXPECT_THAT(out_, HasSubstr("compressed routing keys lie in memory only"));
  ASSERT_EQ(msa_4b({"--json", "--keys", "int8", "--ram", "32G"}), 0) << err_;
  const Json json = Json::parse(out_);
  EXPECT_TRUE(json["placement"]["keys"].is_null());
  EXPECT_TRUE(json["routing"]["seconds"].is_null());
  EXPECT_EQ(json["placement"]["full_keys"], "disk");
}

TEST_F(Plan, LinesStayWithinTheWidthOfATerminal) {
  for (const char* gpus : {"1", "65536"}) {
    ASSERT_EQ(msa_4b({"--keys", "int4", "--gpu", "24G", "--gpus", gpus, "--documents", "3M"}), 0);
    for (size_t at = 0; at < out_.size();) {
      const size_t end = out_.find('\n', at);
      ASSERT_NE(end, std::string::npos);
      EXPECT_LE(end - at, 110u) << out_.substr(at, end - at);
      EXPECT_TRUE(end == at || out_[end - 1] != ' ') << out_.substr(at, end - at);
      at = end + 1;
    }
  }
}

TEST_F(Plan, JsonHasExactNumbers) {
  ASSERT_EQ(msa_4b({"--json", "--keys", "int8", "--ram", "64GB", "--gpu", "24GiB", "--gpus", "2",
                    "--gpu-bandwidth", "900GB/s", "--encode-rate", "2K"}),
            0)
      << err_;
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 1);
  const Json json = Json::parse(out_);
  EXPECT_EQ(json["memory"]["chunks"], 1'562'500);
  EXPECT_EQ(json["memory"]["writable"], true);
  EXPECT_EQ(json["bytes"]["disk"], 173'807'701'056);  // that of bf16 keys
  EXPECT_EQ(json["bytes"]["full_keys"], 57'600'000'000);
  EXPECT_EQ(json["bytes"]["pooled_k"], 57'600'000'000);
  EXPECT_EQ(json["ram"]["size"], 64'000'000'000);
  EXPECT_EQ(json["gpu"]["size"], uint64_t{48} << 30);
  EXPECT_EQ(json["gpu"]["count"], 2);
  EXPECT_EQ(json["placement"]["keys"], "gpu");
  EXPECT_EQ(json["routing"]["bandwidth"]["source"], "given");
  EXPECT_DOUBLE_EQ(json["routing"]["bandwidth"]["per_second"], 1.8e12);
  EXPECT_DOUBLE_EQ(json["encode"]["seconds"], 50'000);
  EXPECT_EQ(json["choices"].size(), 6u);
  EXPECT_EQ(json["fits"][0]["part"], "keys_on_gpu");
  ASSERT_EQ(msa_4b({"--json", "--content", "int8"}), 0);
  EXPECT_EQ(Json::parse(out_)["memory"]["writable"], true);
  // Of each chunk and layer 16 heads of a scale and 128 values.
  EXPECT_EQ(Json::parse(out_)["bytes"]["pooled_k"], uint64_t{1'562'500} * 18 * 8 * (4 + 128));
  ASSERT_EQ(msa_4b({"--json"}), 0);
  EXPECT_TRUE(Json::parse(out_)["gpu"].is_null());
  EXPECT_TRUE(Json::parse(out_)["placement"]["full_keys"].is_null());
  EXPECT_EQ(Json::parse(out_)["memory"]["writable"], true);
}

TEST_F(Plan, BandwidthCanBeMeasured) {
  ASSERT_EQ(msa_4b({"--json", "--bandwidth", "measure", "--ram", "1T", "--threads", "2"}), 0)
      << err_;
  const Json json = Json::parse(out_);
  EXPECT_EQ(json["routing"]["bandwidth"]["source"], "measured");
  EXPECT_GT(json["routing"]["bandwidth"]["per_second"], 1e6);
}

TEST_F(Plan, WrongUsageIsOneHelpfulLine) {
  expect_usage_error(run_plan({"--model", "msa-4b"}), "--tokens");
  expect_usage_error(run_plan({"--tokens", "1M"}), "--model msa-4b");
  expect_usage_error(msa_4b({"--ram", "lots"}), "--ram: 'lots'");
  expect_usage_error(msa_4b({"--gpu", "0"}), "--gpu: '0' is zero");
  expect_usage_error(msa_4b({"--gpu", "99999999999T"}), "--gpu: '99999999999T' is too large");
  expect_usage_error(msa_4b({"--gpus", "2"}), "--gpu SIZE");
  expect_usage_error(msa_4b({"--gpus", "0"}), "'0' is not a whole number from 1");
  expect_usage_error(msa_4b({"--documents", "1.5"}), "--documents: '1.5' is not a whole number");
  expect_usage_error(msa_4b({"--documents", "200M"}), "200000000 documents");
  expect_usage_error(msa_4b({"--keys", "int3"}), "'int3' is not one of f32, bf16, int8, int4");
  expect_usage_error(msa_4b({"--content", "int4"}), "'int4' is not one of f32, bf16, int8");
  expect_usage_error(msa_4b({"--bandwidth", "fast"}), "--bandwidth: 'fast'");
  expect_usage_error(msa_4b({"--encode-rate", "0"}), "--encode-rate: '0' is zero");
  expect_usage_error(msa_4b({"--bytes-per-token", "-1"}), "'-1' is not a number from 0");
  expect_usage_error(run_plan({"--model", "msa-4b", "--tokens", "99999999T"}), "'99999999T'");
  EXPECT_EQ(run_plan({"--model", "no/such", "--tokens", "1M"}), 3);
  EXPECT_THAT(err_, HasSubstr("no/such: neither a model folder nor the name of a built-in shape"));
}

}  // namespace
}  // namespace msa::cli
