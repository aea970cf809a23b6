#include "train/loop/speed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa::train {
namespace {

ModelConfig tiny() {
  ModelConfig config;
  config.layers = 2;
  config.query_heads = 2;
  config.kv_heads = 1;
  config.head_dim = 8;
  config.hidden = 16;
  config.feed_forward = 32;
  config.vocabulary = 50;
  config.max_positions = 1024;
  config.rope_theta = 10000;
  config.tied_embeddings = true;
  config.msa.router_layers = {1};
  config.msa.chunk_size = 16;
  return config;
}

TEST(Speed, CountsTokensParametersAndOperations) {
  SpeedOptions options;
  options.tokens = 512;
  options.document_tokens = 64;
  options.steps = 2;
  options.compute = DType::f32;
  const Result<SpeedReport> report = measure_speed(tiny(), options);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->tokens, 512u);
  // Per layer: q 16*16, k and v 8*16 each, o 16*16, three of 16*32, norms; router 16*16 + 8*16.
  const uint64_t layer = 256 + 128 + 128 + 256 + 3 * 512 + 16 + 16 + 8 + 8;
  EXPECT_EQ(report->parameters, 2 * layer + 256 + 128 + 50 * 16 + 16);
  // 515 tokens with the prefix; 2 queries of 64, of which 32 route and 16 have labels.
  const double products = 2.0 * 2304 * 515 + 256.0 * 64 + 128.0 * 384 + 16.0 * 50 * 32;
  EXPECT_DOUBLE_EQ(report->product_operations, 6 * products);
  EXPECT_GT(report->seconds, 0);
  EXPECT_GE(report->mean_seconds, report->seconds);
  EXPECT_GE(report->seconds, report->optimizer_seconds);
  EXPECT_GT(report->product_rate, 1e6);
  EXPECT_GT(report->peak_bytes, 1u << 20);
}

TEST(Speed, NonsenseIsRefused) {
  SpeedOptions options;
  options.steps = 0;
  EXPECT_FALSE(measure_speed(tiny(), options).ok());
  options = {};
  options.document_tokens = 0;
  EXPECT_FALSE(measure_speed(tiny(), options).ok());
  options = {};
  options.device = "tpu";
  const Result<SpeedReport> report = measure_speed(tiny(), options);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message, testing::HasSubstr("cpu, cuda or cuda:N"));
}

}  // namespace
}  // namespace msa::train
