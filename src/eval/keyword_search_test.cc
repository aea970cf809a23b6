#include "eval/keyword_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace msa::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Keywords : public ::testing::Test {
 protected:
  std::vector<uint64_t> find(std::string_view question, size_t limit = 16) {
    auto found = search_->find(question, limit);
    EXPECT_TRUE(found) << found.error().message;
    return found ? *found : std::vector<uint64_t>();
  }
  void SetUp() override {
    auto made = KeywordSearch::create(folder_ / "index");
    ASSERT_TRUE(made) << made.error().message;
    search_ = std::make_unique<KeywordSearch>(std::move(*made));
    ASSERT_TRUE(search_->add(7, "Bridges", "The old bridge was designed by John Roebling."));
    ASSERT_TRUE(search_->add(0, "Whales", "Whales live in the sea, and a whale sings."));
    ASSERT_TRUE(search_->add(900, "", "Nothing of the kind is in the sea."));
    ASSERT_TRUE(search_->add(3, "Émile", "L'école d'été"));
  }
  TestFolder folder_;
  std::unique_ptr<KeywordSearch> search_;
};

TEST_F(Keywords, BestDocumentsFirst) {
  EXPECT_EQ(find("Who designed the bridge?").front(), 7u);
  EXPECT_THAT(find("singing whales in the sea"), ElementsAre(0, 900, 7));
  EXPECT_THAT(find("singing whales in the sea", 1), ElementsAre(0));
  EXPECT_THAT(find("Émile"), ElementsAre(3));
  EXPECT_THAT(find("zebra"), IsEmpty());
}

TEST_F(Keywords, QuestionsMayLookLikeQueries) {
  for (const std::string_view question :
       {"", "?", "\"", "\"bridge", "bridge AND NOT", "NEAR(bridge)", "title:bridge", "bridge*", "-",
        "OR", "'; DROP TABLE documents; --", "^bridge", "\xff\xfe"})
    find(question);
  EXPECT_THAT(find("title:bridge OR"), ElementsAre(7));
}

TEST_F(Keywords, DocumentsCanBeAddedAfterASearch) {
  EXPECT_THAT(find("zebra"), IsEmpty());
  ASSERT_TRUE(search_->add(1, "Zebras", "stripes"));
  EXPECT_THAT(find("zebra"), ElementsAre(1));
}

TEST_F(Keywords, RemovesItsFile) {
  EXPECT_EQ(folder_.entries(), 1u);
  EXPECT_FALSE(KeywordSearch::create(folder_ / "index"));
  search_.reset();
  EXPECT_EQ(folder_.entries(), 0u);
  const auto nowhere = KeywordSearch::create(folder_ / "none" / "index");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, Code::permission);
}

}  // namespace
}  // namespace msa::eval
