#include "plan/memory_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace msa::plan {
namespace {

using ::testing::HasSubstr;

PlanModel msa_4b() {
  return *read_plan_model("msa-4b");
}

// A model whose numbers can be followed by hand: 2 router layers, rows of 3*10 values.
PlanModel small() {
  PlanModel model;
  model.layers = 4;
  model.router_layers = 2;
  model.query_heads = 6;
  model.kv_heads = 3;
  model.head_dim = 10;
  model.chunk_size = 8;
  model.top_k = 4;
  model.parameters = 1000;
  model.layer_parameters = 800;
  return model;
}

MemoryBytes bytes_of(const PlanModel& model, const MemoryRequest& request) {
  const auto bytes = memory_bytes(model, request);
  EXPECT_TRUE(bytes) << bytes.error().message;
  return bytes ? *bytes : MemoryBytes{};
}

// The published method's own example: 108 KiB per chunk, 1,562,500 chunks, 172.8e9 bytes.
TEST(MemoryBytes, Msa4bAt100MTokensIsThePublishedSize) {
  const MemoryBytes m = bytes_of(msa_4b(), {.tokens = 100'000'000});
  EXPECT_EQ(m.chunks, 1'562'500u);
  EXPECT_EQ(m.chunk_bytes, 108u * 1024);
  EXPECT_EQ(m.keys, 57'600'000'000u);
  EXPECT_EQ(m.full_keys, 0u);
  EXPECT_EQ(m.pooled_k, 57'600'000'000u);
  EXPECT_EQ(m.pooled_v, 57'600'000'000u);
  EXPECT_EQ(m.content(), 115'200'000'000u);
  EXPECT_EQ(m.vectors(), 172'800'000'000u);
  EXPECT_TRUE(m.documents_assumed);
  EXPECT_EQ(m.documents, 195'313u);
  EXPECT_EQ(m.text, 400'000'000u);
  // What a bank adds to the formula stays below three in a hundred, text excluded.
  EXPECT_LT(m.padding + m.catalogue, m.vectors() * 3 / 100);
  EXPECT_EQ(m.disk(), m.vectors() + m.text + m.catalogue + m.padding);
}

TEST(MemoryBytes, FollowsTheFormulaForAnyShape) {
  // 3*G*D values of 2 bytes per chunk and router layer.
  for (const uint64_t tokens : {1u, 7u, 8u, 9u, 1000u, 12345u}) {
    const MemoryBytes m = bytes_of(small(), {.tokens = tokens});
    EXPECT_EQ(m.chunks, (tokens + 7) / 8);
    EXPECT_EQ(m.vectors(), 3u * 30 * 2 * 2 * m.chunks) << tokens;
    EXPECT_EQ(m.chunk_bytes, 3u * 30 * 2 * 2);
  }
}

TEST(MemoryBytes, CompressedKeysComeOnTopOfFullOnes) {
  const MemoryBytes full = bytes_of(small(), {.tokens = 800});
  // A head's integers, and its scale of 2 bytes: 3 heads, 2 layers, 100 chunks.
  const MemoryBytes int8 = bytes_of(small(), {.tokens = 800, .keys = Format::int8});
  EXPECT_EQ(int8.keys, 3u * (10 + 2) * 2 * 100);
  EXPECT_EQ(int8.full_keys, full.keys);
  EXPECT_EQ(int8.full_key_format, Format::bf16);
  EXPECT_EQ(int8.disk(), full.disk());  // they lie in memory only
  const MemoryBytes int4 = bytes_of(small(), {.tokens = 800, .keys = Format::int4});
  EXPECT_EQ(int4.keys, 3u * (5 + 2) * 2 * 100);
  const MemoryBytes content = bytes_of(small(), {.tokens = 800, .content = Format::int8});
  EXPECT_EQ(content.pooled_k, 3u * (10 + 4) * 2 * 100);  // scales are of 4 bytes here
  EXPECT_EQ(content.pooled_v, content.pooled_k);
  EXPECT_EQ(content.keys, full.keys);
  EXPECT_EQ(content.full_keys, 0u);
  const MemoryBytes wide =
      bytes_of(small(), {.tokens = 800, .keys = Format::f32, .content = Format::f32});
  EXPECT_EQ(wide.vectors(), 2 * full.vectors());
  const MemoryBytes rescored =
      bytes_of(small(), {.tokens = 800, .keys = Format::int8, .content = Format::f32});
  EXPECT_EQ(rescored.full_key_format, Format::f32);
  EXPECT_EQ(rescored.full_keys, 2 * full.keys);
}

TEST(MemoryBytes, ShortLastChunksAreCounted) {
  // 10 documents of 100 tokens in chunks of 8: 13 chunks each if all are alike.
  const MemoryBytes m = bytes_of(small(), {.tokens = 1000, .documents = 10});
  EXPECT_FALSE(m.documents_assumed);
  EXPECT_EQ(m.documents, 10u);
  EXPECT_EQ(m.fewest_chunks, 125u);
  EXPECT_EQ(m.most_chunks, (1000u + 10 * 7) / 8);
  EXPECT_EQ(m.chunks, 130u);  // (1000 + 35) / 8, rounded up
  // One token each: every document is one chunk, there is nothing to average.
  const MemoryBytes tiny = bytes_of(small(), {.tokens = 10, .documents = 10});
  EXPECT_EQ(tiny.fewest_chunks, 10u);
  EXPECT_EQ(tiny.chunks, 10u);
  EXPECT_EQ(tiny.most_chunks, 10u);
  const MemoryBytes one = bytes_of(small(), {.tokens = 1000, .documents = 1});
  EXPECT_EQ(one.chunks, 125u);
  EXPECT_EQ(one.most_chunks, 125u);
}

// Brute force: over every way to cut `tokens` in two, the bounds are met.
TEST(MemoryBytes, BoundsOfChunksAreTight) {
  constexpr uint64_t kP = 3;
  PlanModel model = small();
  model.chunk_size = kP;
  for (uint64_t tokens = 2; tokens <= 12; ++tokens) {
    uint64_t fewest = UINT64_MAX, most = 0;
    for (uint64_t a = 1; a < tokens; ++a) {
      const uint64_t chunks = (a + kP - 1) / kP + (tokens - a + kP - 1) / kP;
      fewest = std::min(fewest, chunks);
      most = std::max(most, chunks);
    }
    const MemoryBytes m = bytes_of(model, {.tokens = tokens, .documents = 2});
    EXPECT_EQ(m.fewest_chunks, fewest) << tokens;
    EXPECT_EQ(m.most_chunks, most) << tokens;
    EXPECT_LE(m.fewest_chunks, m.chunks);
    EXPECT_GE(m.most_chunks, m.chunks);
  }
}

// Sizes of catalogues with the bank's schema, 20,000 documents: what SQLite made, less the text.
TEST(MemoryBytes, CataloguesAreAsSqliteMakesThem) {
  const struct {
    uint64_t text;     // per document
    double catalogue;  // the same
    double tolerance;
  } measured[] = {
      {300, 211.9, 0.2}, {1100, 418.5, 0.25}, {2000, 2170.3, 0.05}, {2200, 1954.7, 0.05}};
  for (const auto& [text, catalogue, tolerance] : measured) {
    const MemoryBytes m =
        bytes_of(msa_4b(), {.tokens = 512 * 20'000,
                            .documents = 20'000,
                            .text_bytes_per_token = static_cast<double>(text) / 512});
    EXPECT_EQ(m.text, text * 20'000);
    EXPECT_NEAR(static_cast<double>(m.catalogue) / 20'000, catalogue, tolerance * catalogue)
        << text;
  }
  // Texts that need several pages, and none at all.
  const MemoryBytes books = bytes_of(msa_4b(), {.tokens = 1'000'000, .documents = 10});
  EXPECT_LT(books.catalogue, books.text / 10);
  const MemoryBytes none = bytes_of(msa_4b(), {.tokens = 1000, .text_bytes_per_token = 0});
  EXPECT_EQ(none.text, 0u);
  EXPECT_GT(none.catalogue, 0u);
}

TEST(MemoryBytes, ContradictionsAndOverflowsAreErrors) {
  const auto message = [](const PlanModel& model, const MemoryRequest& request) {
    const auto bytes = memory_bytes(model, request);
    EXPECT_FALSE(bytes);
    if (bytes) return std::string();
    EXPECT_EQ(bytes.error().code, Code::invalid_argument);
    return bytes.error().message;
  };
  EXPECT_THAT(message(small(), {.tokens = 0}), HasSubstr("0 tokens"));
  EXPECT_THAT(message(small(), {.tokens = 5, .documents = 6}), HasSubstr("6 documents"));
  EXPECT_THAT(message(small(), {.tokens = 5, .documents = 0}), HasSubstr("0 documents"));
  EXPECT_THAT(message(small(), {.tokens = uint64_t{1} << 40, .documents = uint64_t{1} << 32}),
              HasSubstr("at most 4294967295"));
  EXPECT_THAT(message(small(), {.tokens = 5, .content = Format::int4}), HasSubstr("int4"));
  EXPECT_THAT(message(small(), {.tokens = 5, .text_bytes_per_token = -1}), HasSubstr("-1 bytes"));
  EXPECT_THAT(message(small(), {.tokens = UINT64_MAX}), HasSubstr("2^60 bytes"));
  EXPECT_THAT(message(small(), {.tokens = UINT64_MAX, .documents = 1}), HasSubstr("2^60 bytes"));
  // 2^41 tokens have documents enough for one bank, and too many bytes for a shape this wide.
  PlanModel wide = msa_4b();
  wide.router_layers = 1024;
  wide.kv_heads = 4096;
  wide.head_dim = 1024;
  EXPECT_THAT(message(wide, {.tokens = uint64_t{1} << 40, .documents = 1}),
              HasSubstr("2^60 bytes"));
  EXPECT_THAT(message(wide, {.tokens = uint64_t{1} << 58, .documents = 1}),
              HasSubstr("2^60 bytes"));
}

}  // namespace
}  // namespace msa::plan
