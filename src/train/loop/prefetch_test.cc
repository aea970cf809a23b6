#include "train/loop/prefetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace msa::train {
namespace {

// Batch n holds the token n; after `good` batches comes an error or an exception.
class CountingBatcher final : public Batcher {
 public:
  CountingBatcher(std::atomic<int>& made, int good, bool throws = false)
      : made_(made), good_(good), throws_(throws) {}
  Result<Batch> next() override {
    if (made_ >= good_) {
      if (throws_) throw std::runtime_error("broken");
      return Error{Code::corrupt, "line 3: is bad; correct it"};
    }
    Batch batch;
    batch.doc_tokens = {made_++};
    return batch;
  }
  std::string state() const override { return std::to_string(made_); }
  Result<void> restore(const std::string&) override { return {}; }
  uint64_t samples_skipped() const override { return 0; }

 private:
  std::atomic<int>& made_;
  const int good_;
  const bool throws_;
};

TEST(Prefetcher, GivesBatchesInOrderWithTheStateAfterEach) {
  std::atomic<int> made = 0;
  Prefetcher prefetcher(std::make_unique<CountingBatcher>(made, 1000), 3);
  for (int i = 0; i < 100; ++i) {
    const Result<PreparedBatch> prepared = prefetcher.next();
    ASSERT_TRUE(prepared.ok());
    EXPECT_EQ(prepared->batch.doc_tokens.front(), i);
    EXPECT_EQ(prepared->state, std::to_string(i + 1));
  }
}

TEST(Prefetcher, StaysWithinItsLead) {
  std::atomic<int> made = 0;
  Prefetcher prefetcher(std::make_unique<CountingBatcher>(made, 1000), 3);
  ASSERT_TRUE(prefetcher.next().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(made, 4);
}

TEST(Prefetcher, AnErrorComesAfterTheBatchesBeforeItAndStays) {
  for (const bool throws : {false, true}) {
    std::atomic<int> made = 0;
    Prefetcher prefetcher(std::make_unique<CountingBatcher>(made, 2, throws), 8);
    EXPECT_TRUE(prefetcher.next().ok());
    EXPECT_TRUE(prefetcher.next().ok());
    for (int i = 0; i < 2; ++i) {
      const Result<PreparedBatch> failed = prefetcher.next();
      ASSERT_FALSE(failed.ok());
      EXPECT_THAT(failed.error().message, testing::HasSubstr(throws ? "broken" : "line 3"));
    }
  }
}

TEST(Prefetcher, CanBeDroppedAtAnyMoment) {
  for (int taken = 0; taken < 5; ++taken) {
    std::atomic<int> made = 0;
    Prefetcher prefetcher(std::make_unique<CountingBatcher>(made, 1000), 2);
    for (int i = 0; i < taken; ++i) ASSERT_TRUE(prefetcher.next().ok());
  }
}

}  // namespace
}  // namespace msa::train
