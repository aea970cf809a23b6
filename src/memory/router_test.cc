#include "memory/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "base/test_folder.h"
#include "memory/bank.h"
#include "memory/test_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;

// A memory held in plain vectors, each document's rows remembered apart from the arrays.
struct Memory {
  struct Doc {
    uint32_t number;
    std::vector<std::vector<std::vector<float>>> keys, content;  // [layer][chunk][column]
  };
  std::vector<std::vector<std::vector<float>>> arrays;  // own what the views look at
  std::vector<std::vector<DocumentSpan>> spans;
  std::vector<Doc> documents;
  std::shared_ptr<Snapshot> snapshot = std::make_shared<Snapshot>();
};

// Whole numbers, so that sums are exact whatever their order and ties are true ties.
Memory make_memory(std::mt19937& random, const std::vector<int>& layers, size_t width,
                   size_t segments, int value_range) {
  Memory memory;
  const auto value = [&] {
    return static_cast<float>(static_cast<int>(random() % (2 * value_range + 1)) - value_range);
  };
  memory.snapshot->router_layers = layers;
  uint32_t number = random() % 3;
  for (size_t s = 0; s < segments; ++s) {
    SegmentView view;
    std::vector<DocumentSpan>& spans = memory.spans.emplace_back();
    const size_t first = memory.documents.size(), count = random() % 12;
    uint32_t row = 0;
    for (size_t d = 0; d < count; ++d) {
      row += random() % 3;  // rows of removed documents
      const uint32_t chunks = 1 + random() % 6;
      spans.push_back({number, row, chunks});
      memory.documents.push_back({number, {}, {}});
      number += 1 + random() % 4;
      row += chunks;
      memory.snapshot->chunks += chunks;
    }
    row += random() % 2;
    view.documents = spans;
    for (size_t l = 0; l < layers.size(); ++l) {
      std::vector<float> keys(row * width), content(row * 2 * width);
      for (float& v : keys) v = value();
      for (float& v : content) v = value();
      for (size_t d = 0; d < count; ++d) {
        Memory::Doc& doc = memory.documents[first + d];
        doc.keys.emplace_back();
        doc.content.emplace_back();
        const DocumentSpan& span = view.documents[d];
        for (size_t c = span.first_chunk; c < span.first_chunk + span.chunks; ++c) {
          doc.keys.back().emplace_back(&keys[c * width], &keys[c * width] + width);
          doc.content.back().emplace_back(&content[c * 2 * width],
                                          &content[c * 2 * width] + 2 * width);
        }
      }
      memory.arrays.push_back({std::move(keys), std::move(content)});
      const auto& owned = memory.arrays.back();
      view.layers.push_back({MatView<const float>(owned[0].data(), row, width),
                             MatView<const float>(owned[1].data(), row, 2 * width)});
    }
    memory.snapshot->segments.push_back(std::move(view));
  }
  memory.snapshot->documents = memory.documents.size();
  return memory;
}

// Equations 2 and 3 word for word: heads, then tokens, then chunks. Dot similarity, in double.
double document_score(const RouteRule& rule, MatView<const float> q,
                      const std::vector<std::vector<float>>& keys) {
  const size_t D = rule.head_dim, group = rule.query_heads / rule.kv_heads;
  std::vector<double> per_chunk;
  for (const std::vector<float>& key : keys) {
    std::vector<double> per_token;
    for (size_t t = 0; t < q.rows; ++t) {
      std::vector<double> per_head;
      for (size_t h = 0; h < rule.query_heads; ++h) {
        double dot = 0;
        for (size_t i = 0; i < D; ++i)
          dot += static_cast<double>(q.row(t)[h * D + i]) * key[h / group * D + i];
        per_head.push_back(dot / std::sqrt(static_cast<double>(D)));
      }
      double score = 0;
      for (const double s : per_head) score += s / static_cast<double>(per_head.size());
      if (rule.heads == RouteRule::Heads::max)
        score = *std::max_element(per_head.begin(), per_head.end());
      per_token.push_back(score);
    }
    double score = *std::max_element(per_token.begin(), per_token.end());
    if (rule.tokens == RouteRule::Tokens::last) score = per_token.back();
    if (rule.tokens == RouteRule::Tokens::mean) {
      score = 0;
      for (const double s : per_token) score += s / static_cast<double>(per_token.size());
    }
    per_chunk.push_back(score);
  }
  if (rule.chunks == RouteRule::Chunks::max)
    return *std::max_element(per_chunk.begin(), per_chunk.end());
  double score = 0;
  for (const double s : per_chunk) score += s / static_cast<double>(per_chunk.size());
  return score;
}

TEST(Router, ChoosesAsEveryChunkScoredByHandSays) {
  std::mt19937 random(23);
  const auto backend = make_reference_backend();
  size_t ties = 0;
  for (int round = 0; round < 200; ++round) {
    RouteRule rule;
    rule.kv_heads = 1 + random() % 3;
    rule.query_heads = rule.kv_heads * (1u << random() % 2);
    rule.head_dim = 4;  // its square root is exact
    rule.heads = random() % 2 ? RouteRule::Heads::mean : RouteRule::Heads::max;
    rule.tokens = std::array{RouteRule::Tokens::max, RouteRule::Tokens::mean,
                             RouteRule::Tokens::last}[random() % 3];
    rule.chunks = random() % 2 ? RouteRule::Chunks::max : RouteRule::Chunks::mean;
    rule.cosine = false;
    const std::vector<int> layers{2, 3, 7};
    // With values from -1 to 1 many documents share a score.
    const Memory memory =
        make_memory(random, layers, rule.kv_heads * rule.head_dim, random() % 4, round % 2 ? 1 : 9);
    const size_t k = 1 + random() % 8;
    Router router(*backend, memory.snapshot, rule, k);
    // In half of the rounds some documents are passed over, and one that the memory does not have.
    std::vector<uint32_t> passed_over;
    if (round % 2 == 1) {
      for (const Memory::Doc& doc : memory.documents)
        if (random() % 3 == 0) passed_over.push_back(doc.number);
      passed_over.push_back(4'000'000'000);
      router.pass_over(passed_over);
    }
    for (const size_t l : {2, 0, 1}) {
      const size_t tokens = 1 + random() % 5;
      std::vector<float> q(tokens * rule.query_heads * rule.head_dim);
      for (float& v : q) v = static_cast<float>(static_cast<int>(random() % 5) - 2);
      const MatView<const float> router_q(q.data(), tokens, rule.query_heads * rule.head_dim);

      std::vector<std::pair<double, uint32_t>> expected;  // minus score, number: ties by number
      std::map<uint32_t, const Memory::Doc*> by_number;
      for (const Memory::Doc& doc : memory.documents) {
        if (std::ranges::find(passed_over, doc.number) != passed_over.end()) continue;
        // Rounded, since means of halves and thirds may differ in the last place.
        const double score = std::round(document_score(rule, router_q, doc.keys[l]) * 1e4);
        expected.emplace_back(-score, doc.number);
        by_number[doc.number] = &doc;
      }
      std::sort(expected.begin(), expected.end());
      for (size_t i = 1; i < std::min(k, expected.size()); ++i)
        ties += expected[i].first == expected[i - 1].first;
      expected.resize(std::min(k, expected.size()));

      const auto context = router.select(layers[l], router_q);
      ASSERT_TRUE(context.ok()) << context.error().message;
      const LayerChoice& choice = router.choices().back();
      EXPECT_EQ(choice.layer, layers[l]);
      ASSERT_EQ(choice.hits.size(), expected.size());
      // Where float and double see a tie differently, the scores still have to agree.
      const bool exact =
          rule.chunks == RouteRule::Chunks::max && rule.tokens != RouteRule::Tokens::mean;
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(choice.hits[i].score, -expected[i].first / 1e4, 2e-4);
        if (exact) {
          EXPECT_EQ(choice.hits[i].number, expected[i].second) << round;
        }
      }

      // The context: every chunk of the winners, in ascending number, key and value apart.
      std::vector<uint32_t> winners;
      for (const RouteHit& hit : choice.hits) winners.push_back(hit.number);
      std::sort(winners.begin(), winners.end());
      ASSERT_EQ(context->size(), winners.size());
      const size_t width = rule.kv_heads * rule.head_dim;
      for (size_t i = 0; i < winners.size(); ++i) {
        const auto& content = by_number.at(winners[i])->content[l];
        const ContextBlock& block = (*context)[i];
        ASSERT_EQ(block.keys.rows, content.size());
        ASSERT_EQ(block.values.rows, content.size());
        ASSERT_EQ(block.keys.cols, width);
        ASSERT_EQ(block.values.cols, width);
        for (size_t c = 0; c < content.size(); ++c)
          for (size_t j = 0; j < width; ++j) {
            EXPECT_EQ(get_value(block.keys, c, j), content[c][j]);
            EXPECT_EQ(get_value(block.values, c, j), content[c][width + j]);
          }
      }
    }
    EXPECT_EQ(router.choices().size(), 3u);
    router.reset();
    EXPECT_TRUE(router.choices().empty());
  }
  EXPECT_GT(ties, 100u);
}

TEST(Router, RoutesOverABankOnDisk) {
  const TestFolder folder;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const BankManifest manifest = small_manifest(dtype);
    const auto bank = folder / std::string(name_of(dtype));
    fill_bank(bank, manifest, {5, 1, 6});
    auto reader = std::move(BankReader::open(bank)).value();
    const auto backend = make_reference_backend();
    RouteRule rule;
    rule.query_heads = 4;
    rule.kv_heads = manifest.kv_heads;
    rule.head_dim = manifest.head_dim;
    rule.cosine = false;
    Router router(*backend, *reader->snapshot(), rule, 4);
    reader.reset();  // the snapshot is enough
    // The key of one chunk of document 8 points straight at it.
    const size_t D = rule.head_dim, group = rule.query_heads / rule.kv_heads;
    std::vector<float> q(rule.query_heads * D);
    for (size_t h = 0; h < rule.query_heads; ++h)
      for (size_t i = 0; i < D; ++i) q[h * D + i] = value_of(8, 1, 0, 0, h / group * D + i);
    const auto context = router.select(2, MatView<const float>(q.data(), 1, q.size()));
    ASSERT_TRUE(context.ok()) << context.error().message;
    ASSERT_EQ(context->size(), 4u);
    EXPECT_EQ(router.choices()[0].hits[0].number, 8u);
    std::vector<uint32_t> numbers;
    for (const RouteHit& hit : router.choices()[0].hits) numbers.push_back(hit.number);
    std::sort(numbers.begin(), numbers.end());
    for (size_t i = 0; i < 4; ++i) {
      ASSERT_EQ((*context)[i].keys.rows, chunks_of(numbers[i]));
      for (uint32_t c = 0; c < chunks_of(numbers[i]); ++c) {
        EXPECT_EQ(get_value((*context)[i].keys, c, 3), value_of(numbers[i], 1, 1, c, 3));
        EXPECT_EQ(get_value((*context)[i].values, c, 3), value_of(numbers[i], 1, 2, c, 3));
      }
    }
  }
}

TEST(Router, RefusesLayersAndWidthsOfAnotherModel) {
  std::mt19937 random(1);
  const auto backend = make_reference_backend();
  RouteRule rule;
  rule.query_heads = rule.kv_heads = 2;
  rule.head_dim = 4;
  const Memory memory = make_memory(random, {2, 5}, 8, 3, 3);
  const std::vector<float> q(8, 1.0f);
  const MatView<const float> router_q(q.data(), 1, 8);
  Router router(*backend, memory.snapshot, rule, 2);
  for (const int layer : {-1, 0, 3, 6}) {
    const auto context = router.select(layer, router_q);
    ASSERT_FALSE(context.ok());
    EXPECT_EQ(context.error().code, Code::mismatch);
    EXPECT_THAT(context.error().message, HasSubstr("only for layers 2,5"));
  }
  EXPECT_TRUE(router.choices().empty());
  rule.head_dim = 2;
  Router narrow(*backend, memory.snapshot, rule, 2);
  const auto context = narrow.select(2, MatView<const float>(q.data(), 1, 4));
  ASSERT_FALSE(context.ok());
  EXPECT_THAT(context.error().message, HasSubstr("have 8 values, the model's 4"));
}

TEST(Router, ChoosesNothingFromNothing) {
  std::mt19937 random(2);
  const auto backend = make_reference_backend();
  RouteRule rule;
  rule.query_heads = rule.kv_heads = 1;
  rule.head_dim = 4;
  const std::vector<float> q(8, 1.0f);
  const auto chosen = [&](const Memory& memory, size_t k, size_t tokens) {
    Router router(*backend, memory.snapshot, rule, k);
    const auto context = router.select(2, MatView<const float>(q.data(), tokens, 4));
    EXPECT_TRUE(context.ok());
    EXPECT_EQ(router.choices().size(), 1u);
    EXPECT_EQ(router.choices()[0].hits.size(), context->size());
    return context->size();
  };
  const Memory none = make_memory(random, {2}, 4, 0, 3);
  Memory some = make_memory(random, {2}, 4, 4, 3);
  ASSERT_GT(some.documents.size(), 3u);
  EXPECT_EQ(chosen(none, 3, 2), 0u);
  EXPECT_EQ(chosen(some, 0, 2), 0u);
  EXPECT_EQ(chosen(some, 3, 0), 0u);
  EXPECT_EQ(chosen(some, 3, 1), 3u);
  EXPECT_EQ(chosen(some, 1000, 1), some.documents.size());
}

LayerChoice choice(int layer, std::vector<std::pair<uint32_t, float>> hits) {
  LayerChoice made{layer, {}};
  for (const auto& [number, score] : hits) made.hits.push_back({number, score, 0, 0});
  return made;
}

TEST(RankDocuments, ByLayersThenMeanThenNumber) {
  const std::vector<LayerChoice> choices{
      choice(4, {{7, 0.9f}, {3, 0.5f}, {1, 0.4f}}),
      choice(5, {{3, 0.1f}, {1, 0.2f}, {9, 0.0f}}),
      choice(6, {{8, 0.9f}}),
  };
  const auto ranking = rank_documents(choices);
  std::vector<uint32_t> numbers;
  for (const RankedDocument& r : ranking) numbers.push_back(r.number);
  // 1 and 3: two layers, equal means; 7 and 8: one layer, equal means.
  EXPECT_THAT(numbers, testing::ElementsAre(1u, 3u, 7u, 8u, 9u));
  EXPECT_FLOAT_EQ(ranking[4].score, 1.0f / 3 + 0.5f / 3);  // a mean of 0 squeezes to a half
  EXPECT_TRUE(rank_documents({}).empty());
  EXPECT_TRUE(rank_documents(std::vector{choice(1, {})}).empty());
}

TEST(RankDocuments, ScoresFallWithTheOrderWhateverTheyAre) {
  std::mt19937 random(29);
  const float wild[] = {0,
                        1,
                        -1,
                        1e30f,
                        -1e30f,
                        3e-39f,
                        std::numeric_limits<float>::infinity(),
                        0.25f,
                        1000,
                        -1000,
                        -std::numeric_limits<float>::infinity(),
                        std::numeric_limits<float>::quiet_NaN()};
  for (int round = 0; round < 300; ++round) {
    std::vector<LayerChoice> choices;
    std::map<uint32_t, std::pair<int, double>> tally;
    const size_t layers = 1 + random() % 40;
    for (size_t l = 0; l < layers; ++l) {
      LayerChoice made{static_cast<int>(l), {}};
      for (uint32_t n = 0; n < 30; ++n) {
        if (random() % 3 != 0) continue;
        const float score =
            round % 2 ? wild[random() % 12] : static_cast<float>(random() % 7) * 0.125f;
        made.hits.push_back({n, score, 0, 0});
        tally[n].first += 1;
        tally[n].second += score;
      }
      choices.push_back(std::move(made));
    }
    const auto ranking = rank_documents(choices);
    ASSERT_EQ(ranking.size(), tally.size());
    for (size_t i = 0; i < ranking.size(); ++i) {
      const auto [count, sum] = tally[ranking[i].number];
      const float share = static_cast<float>(count) / static_cast<float>(layers);
      EXPECT_GT(ranking[i].score, share);
      EXPECT_LT(ranking[i].score, static_cast<float>(count + 1) / static_cast<float>(layers));
      if (i == 0) continue;
      EXPECT_LE(ranking[i].score, ranking[i - 1].score);
      const auto [count_before, sum_before] = tally[ranking[i - 1].number];
      EXPECT_LE(count, count_before);
      if (count != count_before || std::isnan(sum) || std::isnan(sum_before)) continue;
      const double mean = sum / count, mean_before = sum_before / count_before;
      EXPECT_LE(mean, mean_before);
      if (mean == mean_before) {
        EXPECT_LT(ranking[i - 1].number, ranking[i].number);
      }
    }
  }
}

}  // namespace
}  // namespace msa
