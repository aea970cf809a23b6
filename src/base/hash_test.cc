#include "base/hash.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace msa {
namespace {

// Values of XXH3_64bits (seed 0) from the algorithm's own test vectors and tools; fingerprints on
// disk depend on them.
TEST(Hash, KnownAnswers) {
  EXPECT_EQ(to_hex(hash64("")), "2d06800538d394c2");
  EXPECT_EQ(to_hex(hash64("a")), "e6c632b61e964e1f");
  EXPECT_EQ(to_hex(hash64("abc")), "78af5f94892f3950");
  EXPECT_EQ(hash64(std::span<const std::byte>{}), hash64(""));
}

TEST(Hash, PiecesEqualTheWhole) {
  std::mt19937 random(7);
  for (size_t length : {0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 256, 257, 1024, 5000}) {
    std::string text(length, '\0');
    for (char& c : text) c = static_cast<char>(random());
    Hasher hasher;
    std::string_view rest = text;
    while (!rest.empty()) {
      const size_t piece = std::min<size_t>(rest.size(), random() % 300);
      hasher.add(rest.substr(0, piece));
      rest.remove_prefix(piece);
      ASSERT_EQ(hasher.digest(), hash64(text.substr(0, text.size() - rest.size())));
    }
    hasher.add(std::string_view{});
    hasher.add(std::span<const std::byte>{});
    EXPECT_EQ(hasher.digest(), hash64(text)) << length;
  }
}

TEST(Hash, NumbersAreLittleEndianBytes) {
  Hasher hasher;
  hasher.add_number(0x0807060504030201);
  EXPECT_EQ(hasher.digest(), hash64("\1\2\3\4\5\6\7\10"));
}

TEST(Hash, MovesWithItsState) {
  Hasher first;
  first.add("ab");
  Hasher second = std::move(first);
  second.add("c");
  EXPECT_EQ(second.digest(), hash64("abc"));
  first = std::move(second);
  EXPECT_EQ(first.digest(), hash64("abc"));
}

TEST(Hash, Hexadecimal) {
  EXPECT_EQ(to_hex(0), "0000000000000000");
  EXPECT_EQ(to_hex(0xABCDEF), "0000000000abcdef");
  EXPECT_EQ(to_hex(UINT64_MAX), "ffffffffffffffff");
}

}  // namespace
}  // namespace msa
