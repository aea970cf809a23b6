#include "eval/memory_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa::eval {
namespace {

using Unit = MemorySize::Unit;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(MemorySize, ReadsEveryForm) {
  const auto sizes = parse_memory_sizes("own,16K,1M,50000,2048docs,2kdocs,3m");
  ASSERT_TRUE(sizes) << sizes.error().message;
  EXPECT_THAT(*sizes,
              ElementsAre(MemorySize{Unit::own, 0}, MemorySize{Unit::tokens, 16384},
                          MemorySize{Unit::tokens, 1048576}, MemorySize{Unit::tokens, 50000},
                          MemorySize{Unit::documents, 2048}, MemorySize{Unit::tokens, 3145728}));
}

TEST(MemorySize, IsWrittenAsItIsRead) {
  for (const std::string text : {"own", "16K", "10M", "50000", "1", "1025", "2Kdocs", "7docs"}) {
    const auto sizes = parse_memory_sizes(text);
    ASSERT_TRUE(sizes) << text;
    EXPECT_EQ(to_string(sizes->front()), text);
  }
}

TEST(MemorySize, NamesThePartThatIsWrong) {
  for (const std::string part : {"", "16X", "K", "-1", "0", "1.5M", "16 K", "docs", "0docs", "1G",
                                 "99999999999999999999", "1099511627777", "1048577M", "Own"}) {
    const auto sizes = parse_memory_sizes("16K," + part);
    ASSERT_FALSE(sizes) << part;
    EXPECT_EQ(sizes.error().code, Code::invalid_argument);
    EXPECT_THAT(sizes.error().message, HasSubstr("'" + part + "' is no memory size"));
  }
  EXPECT_FALSE(parse_memory_sizes(""));
  EXPECT_FALSE(parse_memory_sizes("16K,"));
  EXPECT_TRUE(parse_memory_sizes("1048576M"));
}

}  // namespace
}  // namespace msa::eval
