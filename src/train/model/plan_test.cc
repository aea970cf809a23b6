#include "train/model/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "train/model/test_batch.h"

namespace msa::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Two documents of 5 and 2 tokens, one query of 3 that routes with its first two.
Batch two_documents() {
  Batch batch;
  batch.prefix = {1, 2, 3};
  batch.doc_tokens = {10, 11, 12, 13, 14, 20, 21};
  batch.doc_starts = {0, 5, 7};
  batch.doc_group = {0, 0};
  batch.doc_number = {0, 1};
  batch.query_tokens = {30, 31, 32};
  batch.query_starts = {0, 3};
  batch.query_group = {0};
  batch.routes = {1, 1, 0};
  batch.labels = {-1, 40, 41};
  batch.label_weights = {0, 1, 0.5f};
  batch.label_kinds = {LabelKind::text, LabelKind::number, LabelKind::answer};
  batch.relevant_starts = {0, 1};
  batch.relevant = {1};
  return batch;
}

TEST(Plan, RowsPositionsAndChunks) {
  const auto plan = make_plan(two_documents(), small_config(), 2);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->prefix, 3);
  EXPECT_EQ(plan->context, 6);
  EXPECT_EQ(plan->rows, 13);
  EXPECT_THAT(plan->tokens, ElementsAre(1, 2, 3, 30, 31, 32, 10, 11, 12, 13, 14, 20, 21));
  EXPECT_THAT(plan->positions, ElementsAre(0, 1, 2, 5, 6, 7, 0, 1, 2, 3, 4, 0, 1));
  EXPECT_THAT(plan->chunk_rows, ElementsAre(0, 4, 5, 7));  // a document's last chunk is shorter
  EXPECT_THAT(plan->doc_chunks, ElementsAre(0, 2, 3));
  EXPECT_THAT(plan->routed, ElementsAre(0));
  EXPECT_THAT(plan->routing_rows, ElementsAre(3, 4));
  EXPECT_THAT(plan->routing_runs, ElementsAre(0, 2));
  EXPECT_THAT(plan->is_relevant, ElementsAre(0, 1));
  EXPECT_THAT(plan->label_rows, ElementsAre(4, 5));
  EXPECT_THAT(plan->labels, ElementsAre(40, 41));
  EXPECT_FALSE(plan->documents_predict);
}

TEST(Plan, WhatWasHandedOverIsSkippedWhereTheModelSaysSo) {
  Batch batch = two_documents();
  batch.handed_over_starts = {0, 1};
  batch.handed_over = {0};
  ModelConfig config = small_config();
  EXPECT_THAT(make_plan(batch, config, 2)->sees, ElementsAre(1, 1));
  config.msa.skip_handed_over = true;
  const auto plan = make_plan(batch, config, 2);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(plan->sees, ElementsAre(0, 1));
  EXPECT_THAT(plan->is_relevant, ElementsAre(0, 1));
  EXPECT_THAT(plan->named, ElementsAre(-1));
}

TEST(Plan, DocumentsPredictTheirOwnNextTokens) {
  Batch batch = two_documents();
  batch.doc_label_weights = {1, 0, 1, 0, 1, 1, 1};  // the last token of a document predicts nothing
  const auto plan = make_plan(batch, small_config(), 2);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_TRUE(plan->documents_predict);
  EXPECT_EQ(plan->query_labels, 2u);
  EXPECT_THAT(plan->label_rows, ElementsAre(4, 5, 6, 8, 11));
  EXPECT_THAT(plan->labels, ElementsAre(40, 41, 11, 13, 21));
}

TEST(Plan, LayoutOfSegments) {
  const auto plan = make_plan(two_documents(), small_config(), 2);
  ASSERT_TRUE(plan.ok());
  const SegmentLayout all = plan->layout(true, {{0, 1}});
  EXPECT_THAT(all.starts, ElementsAre(0, 3, 6, 11, 13));
  EXPECT_THAT(all.sees_prefix, ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(all.chunk_starts, ElementsAre(0, 0, 3, 3, 3));
  EXPECT_THAT(all.chunks, ElementsAre(0, 1, 2));
  const SegmentLayout context = plan->layout(false, {});
  EXPECT_THAT(context.starts, ElementsAre(0, 3, 6));
  EXPECT_THAT(context.chunks, ElementsAre());
}

TEST(Plan, QueriesThatSeeNothingDoNotRoute) {
  Batch batch = two_documents();
  batch.relevant_starts = {0, 0};
  batch.relevant = {};
  batch.query_group = {-1};
  EXPECT_TRUE(make_plan(batch, small_config(), 2)->routed.empty());
  batch.query_group = {7};  // a group without documents
  EXPECT_TRUE(make_plan(batch, small_config(), 2)->routed.empty());
  batch.query_group = {0};
  batch.routes = {0, 0, 0};
  EXPECT_TRUE(make_plan(batch, small_config(), 2)->routed.empty());
}

TEST(Plan, WithoutDocumentsOrPrefix) {
  Batch batch = two_documents();
  batch.prefix.clear();
  batch.doc_tokens.clear();
  batch.doc_starts.clear();
  batch.doc_group.clear();
  batch.relevant_starts = {0, 0};
  batch.relevant.clear();
  const auto plan = make_plan(batch, small_config(), 2);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->documents(), 0u);
  EXPECT_EQ(plan->rows, 3);
  EXPECT_THAT(plan->layout(true, {}).starts, ElementsAre(0, 3));
}

TEST(Plan, BadBatchesAreErrors) {
  struct Case {
    const char* what;
    std::function<void(Batch&)> damage;
  };
  const std::vector<Case> cases = {
      {"doc_starts goes from 0 to 6", [](Batch& b) { b.doc_starts.back() = 6; }},
      {"doc_starts has 0 after 0", [](Batch& b) { b.doc_starts[1] = 0; }},
      {"query_starts goes from 1", [](Batch& b) { b.query_starts[0] = 1; }},
      {"doc_group has 1 elements, not 2", [](Batch& b) { b.doc_group.pop_back(); }},
      {"query_group has 0 elements", [](Batch& b) { b.query_group.clear(); }},
      {"routes has 2 elements", [](Batch& b) { b.routes.pop_back(); }},
      {"labels has 4 elements", [](Batch& b) { b.labels.push_back(1); }},
      {"label_weights has 2", [](Batch& b) { b.label_weights.pop_back(); }},
      {"label_kinds has 2", [](Batch& b) { b.label_kinds.pop_back(); }},
      {"doc_label_weights has 1", [](Batch& b) { b.doc_label_weights = {1}; }},
      {"doc_tokens[0] is 64", [](Batch& b) { b.doc_tokens[0] = 64; }},
      {"query_tokens[2] is -1", [](Batch& b) { b.query_tokens[2] = -1; }},
      {"labels[1] is -2", [](Batch& b) { b.labels[1] = -2; }},
      {"prefix[0] is 1000", [](Batch& b) { b.prefix[0] = 1000; }},
      {"relevant document 2 of 2", [](Batch& b) { b.relevant[0] = 2; }},
      {"of another group", [](Batch& b) { b.doc_group[1] = 3; }},
      {"relevant_starts does not cover", [](Batch& b) { b.relevant.push_back(0); }},
      {"relevant_starts has 1 elements", [](Batch& b) { b.relevant_starts.pop_back(); }},
      {"handed_over_starts has 1 elements", [](Batch& b) { b.handed_over_starts = {0}; }},
      {"handed_over document 2 of 2",
       [](Batch& b) {
         b.handed_over_starts = {0, 1};
         b.handed_over = {2};
       }},
      {"named has 2 elements",
       [](Batch& b) {
         b.named = {0, 0};
       }},
      {"names document 2 of 2", [](Batch& b) { b.named = {2}; }},
      {"has no query",
       [](Batch& b) {
         b.query_starts = {0};
         b.query_tokens.clear();
       }},
  };
  for (const Case& c : cases) {
    Batch batch = two_documents();
    c.damage(batch);
    const auto plan = make_plan(batch, small_config(), 2);
    ASSERT_FALSE(plan.ok()) << c.what;
    EXPECT_EQ(plan.error().code, Code::invalid_argument);
    EXPECT_THAT(plan.error().message, HasSubstr(c.what));
  }
  EXPECT_FALSE(make_plan(two_documents(), small_config(), 0).ok());
  ModelConfig narrow = small_config();
  narrow.max_positions = 7;
  const auto plan = make_plan(two_documents(), narrow, 2);
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(plan.error().message, HasSubstr("needs 8 positions, the model has 7"));
}

}  // namespace
}  // namespace msa::train
