#include "text/nfc.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>

#include "text/testing_tokenizer.h"

namespace msa {
namespace {

std::string utf8_of(char32_t character) {
  std::array<utf8proc_uint8_t, 4> bytes;
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes.data());
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(length)};
}

// utf8proc's own form C of text without NUL.
std::string reference(const std::string& text) {
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> made(
      utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str())), &std::free);
  return reinterpret_cast<const char*>(made.get());
}

std::string nfc(std::string_view text) {
  std::string storage;
  return std::string(to_nfc(text, storage));
}

TEST(Nfc, InertCharactersAreWhatTheyAreSaidToBe) {
  // All characters that something composes with: the second halves of canonical decompositions.
  std::set<char32_t> seconds;
  for (char32_t v = 0x1161; v <= 0x1175; ++v) seconds.insert(v);  // Hangul vowels
  for (char32_t t = 0x11a8; t <= 0x11c2; ++t) seconds.insert(t);  // and final consonants
  for (char32_t c = 1; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::array<utf8proc_int32_t, 8> parts;
    int boundary = 0;
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), 8,
                                static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE), &boundary);
    for (utf8proc_ssize_t i = 1; i < count; ++i)
      seconds.insert(static_cast<char32_t>(parts[static_cast<size_t>(i)]));
  }
  size_t inert = 0;
  for (char32_t c = 1; c <= 0x10ffff; ++c) {
    if (!is_nfc_inert(c)) continue;
    ++inert;
    EXPECT_EQ(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class, 0)
        << std::hex << static_cast<uint32_t>(c);
    EXPECT_EQ(reference(utf8_of(c)), utf8_of(c)) << std::hex << static_cast<uint32_t>(c);
    EXPECT_FALSE(seconds.contains(c)) << std::hex << static_cast<uint32_t>(c);
  }
  EXPECT_GT(inert, 80'000u);
  EXPECT_FALSE(is_nfc_inert(0x301));
  EXPECT_FALSE(is_nfc_inert(0x212b));
  EXPECT_FALSE(is_nfc_inert(0x10ffff));
}

TEST(Nfc, Composes) {
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("xe\u0301x"), "x\u00e9x");
  EXPECT_EQ(nfc("\u212b"), "\u00c5");                // a singleton
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");          // excluded from composition
  EXPECT_EQ(nfc("\u1100\u1161\u11a8"), "\uac01");    // Hangul
  EXPECT_EQ(nfc("\uac00\u11a8"), "\uac01");          //
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307");  // marks in canonical order
  EXPECT_EQ(nfc("a\u0323\u0302"), "\u1ead");         // composes twice
  EXPECT_EQ(nfc("\u0301"), "\u0301");                // nothing to compose with
  EXPECT_EQ(nfc("\uf900"), "\u8c48");                // compatibility ideograph
}

TEST(Nfc, LeavesNormalTextWhereItIs) {
  std::string storage;
  for (const std::string_view text : {"", "plain", "na\u00efve", "\u4f60\u597d \U0001f600"})
    EXPECT_EQ(to_nfc(text, storage).data(), text.data());
}

TEST(Nfc, AgreesWithUtf8procOnRandomText) {
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string text = testing::random_text(random, random() % 30);
    for (size_t n = random() % 12; n > 0; --n) {
      char32_t c = 1 + random() % (random() % 2 == 0 ? 0x10ffff : 0x3000);
      if (c >= 0xd800 && c <= 0xdfff) c = 0x327;
      text += utf8_of(c);
      if (random() % 3 == 0) text += utf8_of(0x300 + random() % 0x70);
    }
    ASSERT_EQ(nfc(text), reference(text)) << text;
  }
}

}  // namespace
}  // namespace msa
