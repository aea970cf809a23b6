#include "cli/suggest.h"

#include <gtest/gtest.h>

namespace msa::cli {
namespace {

TEST(Suggest, EditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("ask", "ask"), 0u);
  EXPECT_EQ(edit_distance("aks", "ask"), 1u) << "neighbours swapped";
  EXPECT_EQ(edit_distance("--tok-k", "--top-k"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Suggest, TheNearestNameIfItIsNear) {
  const std::vector<std::string> names = {"encode", "ask", "chat", "route", "memory"};
  EXPECT_EQ(suggest("encoed", names), "encode");
  EXPECT_EQ(suggest("aks", names), "ask");
  EXPECT_EQ(suggest("mem", names), "memory");
  EXPECT_EQ(suggest("quantise", names), "");
  EXPECT_EQ(suggest("", names), "");
  EXPECT_EQ(suggest(std::string(100'000, 'a'), names), "");
}

}  // namespace
}  // namespace msa::cli
