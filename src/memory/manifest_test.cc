#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "memory/bank.h"
#include "memory/test_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Manifest, ReadsBackAsWritten) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool cosine : {true, false}) {
      BankManifest manifest = small_manifest(dtype);
      manifest.cosine = cosine;
      manifest.model_fingerprint = 0x0000000000000001;  // leading zeros stay
      const auto read = parse_manifest(to_json(manifest), "bank");
      ASSERT_TRUE(read.ok()) << read.error().message;
      EXPECT_TRUE(check_manifest(*read, manifest, "bank").ok());
      EXPECT_EQ(read->segment_shape().bytes_per_chunk(), 3u * 24 * 3 * size_of(dtype));
      EXPECT_EQ(to_json(manifest).find("content"), std::string::npos);
      // Each of three layers: a key as before, and 2 x 2 heads of a scale and 12 values.
      manifest.content = ContentFormat::int8;
      const auto int8 = parse_manifest(to_json(manifest), "bank");
      ASSERT_TRUE(int8.ok()) << int8.error().message;
      EXPECT_EQ(int8->content, ContentFormat::int8);
      EXPECT_EQ(int8->segment_shape().bytes_per_chunk(), 3 * (24 * size_of(dtype) + 4 * (4 + 12)));
      EXPECT_TRUE(check_manifest(*int8, *read, "bank").ok());
    }
}

TEST(Manifest, RefusesWhatCannotBe) {
  const std::string good = to_json(small_manifest());
  const auto replaced = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& bad : {std::string(),
                                 std::string("nul"),
                                 std::string("[]"),
                                 std::string("{}"),
                                 good + "x",
                                 good.substr(0, good.size() / 2),
                                 replaced("[1,2,5]", "[]"),
                                 replaced("[1,2,5]", "[1,1,5]"),
                                 replaced("[1,2,5]", "[2,1]"),
                                 replaced("[1,2,5]", "[-1]"),
                                 replaced("[1,2,5]", "[1.5]"),
                                 replaced("[1,2,5]", "[99999999999999999999]"),
                                 replaced("[1,2,5]", "\"all\""),
                                 replaced("\"head_dim\":12", "\"head_dim\":0"),
                                 replaced("\"head_dim\":12", "\"head_dim\":-12"),
                                 replaced("\"head_dim\":12", "\"head_dim\":1e3"),
                                 replaced("\"head_dim\":12", "\"head_dim\":18446744073709551615"),
                                 replaced("\"head_dim\":12,", ""),
                                 replaced("BF16", "F64"),
                                 replaced("cosine", "angular"),
                                 replaced("{", "{\"content\":\"int9\","),
                                 replaced("{", "{\"content\":8,"),
                                 replaced("{", "{\"content\":null,"),
                                 replaced("0123456789abcdef", "0123456789ABCDEF"),
                                 replaced("0123456789abcdef", "123"),
                                 replaced("0123456789abcdef", "0123456789abcdef0"),
                                 std::string(100'000, '[')}) {
    const auto read = parse_manifest(bad, "/mem/bank");
    ASSERT_FALSE(read.ok()) << bad;
    EXPECT_EQ(read.error().code, Code::corrupt);
    EXPECT_THAT(read.error().message, HasSubstr("/mem/bank"));
  }
}

TEST(Manifest, SaysWhichPropertyDiffers) {
  const BankManifest bank = small_manifest();
  const auto difference = [&](auto change) {
    BankManifest wanted = bank;
    change(wanted);
    const auto checked = check_manifest(bank, wanted, "/mem/bank");
    EXPECT_FALSE(checked.ok());
    EXPECT_EQ(checked.error().code, Code::mismatch);
    EXPECT_THAT(checked.error().message, HasSubstr("/mem/bank: "));
    EXPECT_THAT(checked.error().message, Not(HasSubstr("\n")));
    return checked.error().message;
  };
  EXPECT_EQ(difference([](BankManifest& m) { m.model_fingerprint = 0xabc; }),
            "/mem/bank: was made with another model (fingerprint 0123456789abcdef, this model is "
            "0000000000000abc); use that model, or a new bank folder");
  EXPECT_THAT(difference([](BankManifest& m) { m.tokenizer_fingerprint = 1; }),
              HasSubstr("another tokenizer"));
  EXPECT_THAT(difference([](BankManifest& m) {
                m.router_layers = {1, 2};
              }),
              HasSubstr("router layers 1,2,5, this model has 1,2"));
  EXPECT_THAT(difference([](BankManifest& m) { m.kv_heads = 3; }), HasSubstr("key/value heads"));
  EXPECT_THAT(difference([](BankManifest& m) { m.head_dim = 8; }), HasSubstr("of size 8"));
  EXPECT_THAT(difference([](BankManifest& m) { m.chunk_size = 64; }),
              HasSubstr("chunks of 4 tokens"));
  EXPECT_THAT(difference([](BankManifest& m) { m.cosine = false; }), HasSubstr("cosine"));
  EXPECT_THAT(difference([](BankManifest& m) { m.dtype = DType::f32; }), HasSubstr("BF16"));
}

}  // namespace
}  // namespace msa
