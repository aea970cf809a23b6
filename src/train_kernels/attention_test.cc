#include "train_kernels/attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>

#include "train_kernels/ref.h"
#include "train_kernels/test_matrix.h"

namespace msa::train_kernels {
namespace {

struct CaseShape {
  DType dtype = DType::f32;
  size_t kv_heads = 2, group = 1, head_dim = 16, prefix = 3, chunks = 9, segments = 4;
  size_t most_tokens = 20;
  bool strided = false, outside = false;  // outside: rows before and after all segments
};

std::string describe(const CaseShape& shape) {
  return fmt::format("{} G {} H/G {} D {} prefix {} chunks {} segments {} tokens {} strided {}",
                     name_of(shape.dtype), shape.kv_heads, shape.group, shape.head_dim,
                     shape.prefix, shape.chunks, shape.segments, shape.most_tokens, shape.strided);
}

// Random inputs that own their memory; some segments are empty, some see no context.
struct Case {
  TestMatrix q, k, v, prefix_k, prefix_v, chunk_k, chunk_v, grad_out;
  std::vector<int32_t> starts, chunk_starts{0}, chunks;
  std::vector<uint8_t> sees_prefix;
  CaseShape shape;

  Case(const CaseShape& of, uint64_t seed) : shape(of) {
    Random random(seed);
    starts.push_back(shape.outside ? 2 : 0);
    for (size_t s = 0; s < shape.segments; ++s) {
      const size_t tokens = s == 0 ? shape.most_tokens : random.between(0, shape.most_tokens);
      starts.push_back(starts.back() + static_cast<int32_t>(tokens));
      sees_prefix.push_back(random.chance(0.6));
      std::vector<int32_t> all(shape.chunks);
      for (size_t c = 0; c < all.size(); ++c) all[c] = static_cast<int32_t>(c);
      random.shuffle(all);
      // The last chunk is for nobody.
      if (!all.empty()) std::erase(all, static_cast<int32_t>(shape.chunks) - 1);
      all.resize(random.chance(0.3) ? 0 : random.between(0, all.size()));
      chunks.insert(chunks.end(), all.begin(), all.end());
      chunk_starts.push_back(static_cast<int32_t>(chunks.size()));
    }
    const size_t rows = static_cast<size_t>(starts.back()) + (shape.outside ? 3 : 0);
    const size_t width = shape.kv_heads * shape.head_dim, wide = width * shape.group;
    const size_t more = shape.strided ? 5 : 0;
    const auto make = [&](size_t count, size_t columns) {
      return TestMatrix::random(random, shape.dtype, count, columns, columns + more, 1.5);
    };
    q = make(rows, wide);
    k = make(rows, width);
    v = make(rows, width);
    prefix_k = make(shape.prefix, width);
    prefix_v = make(shape.prefix, width);
    chunk_k = make(shape.chunks, width);
    chunk_v = make(shape.chunks, width);
    grad_out = make(rows, wide);
  }

  AttentionInputs inputs() const {
    return {q.view(),        k.view(),       v.view(),       prefix_k.view(),
            prefix_v.view(), chunk_k.view(), chunk_v.view(), shape.kv_heads * shape.group,
            shape.kv_heads,  shape.head_dim, starts,         sees_prefix,
            chunk_starts,    chunks};
  }
  size_t heads() const { return shape.kv_heads * shape.group; }
};

// The seven gradients, NaN before they are written.
struct Gradients {
  static constexpr std::array kNames = {"q",        "k",       "v",      "prefix_k",
                                        "prefix_v", "chunk_k", "chunk_v"};
  std::array<TestMatrix, 7> all;

  Gradients(const Case& of, DType dtype, size_t more) {
    const TestMatrix* like[] = {&of.q,        &of.k,       &of.v,      &of.prefix_k,
                                &of.prefix_v, &of.chunk_k, &of.chunk_v};
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = TestMatrix(dtype, like[i]->rows(), like[i]->cols(), like[i]->cols() + more);
  }
  AttentionGradients views(unsigned wanted = 127) {
    const auto view = [&](size_t i) { return wanted >> i & 1 ? all[i].view() : AnyMat(); };
    return {view(0), view(1), view(2), view(3), view(4), view(5), view(6)};
  }
};

struct Results {
  TestMatrix out, log_sums;
  Gradients gradients;
};

Results compute(const Case& test, int threads) {
  const size_t more = test.shape.strided ? 3 : 0, rows = test.q.rows();
  Results results{TestMatrix(test.shape.dtype, rows, test.q.cols(), test.q.cols() + more),
                  TestMatrix(DType::f32, rows, test.heads()),
                  Gradients(test, test.shape.dtype, more)};
  segment_attention(threads, test.inputs(), results.out.view(), results.log_sums.f32());
  segment_attention_backward(threads, test.inputs(), test.grad_out.view(),
                             std::as_const(results.log_sums).f32(), results.gradients.views());
  return results;
}

void expect_right(const CaseShape& shape, uint64_t seed) {
  SCOPED_TRACE(describe(shape));
  const Case test(shape, seed);
  const Results actual = compute(test, 2);
  TestMatrix out(DType::f32, test.q.rows(), test.q.cols());
  TestMatrix log_sums(DType::f32, test.q.rows(), test.heads());
  Gradients gradients(test, DType::f32, 0);
  ref::segment_attention(test.inputs(), out.view(), log_sums.f32());
  ref::segment_attention_backward(test.inputs(), test.grad_out.view(), gradients.views());
  expect_close(actual.out, out, 1e-5, "out");
  for (size_t i = 0; i < gradients.all.size(); ++i)
    expect_close(actual.gradients.all[i], gradients.all[i], 1e-5, Gradients::kNames[i]);
}

TEST(SegmentAttention, AgreesWithTheTwinForEveryNumberOfTokens) {
  for (size_t tokens = 1; tokens <= 70; ++tokens) {
    CaseShape shape;
    shape.segments = 2;
    shape.most_tokens = tokens;
    shape.chunks = tokens % 40;
    expect_right(shape, tokens);
  }
}

TEST(SegmentAttention, AgreesWithTheTwinForEveryHeadShape) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const size_t head_dim : {1, 2, 6, 16, 20, 32, 48, 64, 80, 128, 136})
      for (const size_t group : {1, 3}) {
        CaseShape shape;
        shape.dtype = dtype;
        shape.head_dim = head_dim;
        shape.group = group;
        shape.kv_heads = 1 + head_dim % 3;
        shape.strided = group == 3;
        expect_right(shape, head_dim);
      }
}

TEST(SegmentAttention, AgreesWithTheTwinOnRandomShapes) {
  Random random(7);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    CaseShape shape;
    shape.dtype = random.chance(0.5) ? DType::f32 : DType::bf16;
    shape.kv_heads = random.between(1, 3);
    shape.group = random.between(1, 3);
    shape.head_dim = 8 * random.between(1, 5);
    shape.prefix = random.between(0, 4);
    shape.chunks = random.between(0, 40);
    shape.segments = random.between(0, 6);
    shape.most_tokens = random.between(0, 90);
    shape.strided = random.chance(0.5);
    shape.outside = random.chance(0.5);
    expect_right(shape, seed);
  }
}

TEST(SegmentAttention, AgreesWithTheTwinOnLongSegments) {
  CaseShape shape;
  shape.kv_heads = 1;
  shape.segments = 2;
  shape.most_tokens = 333;
  shape.chunks = 70;
  expect_right(shape, 3);
}

TEST(SegmentAttention, IsTheSameOnEveryRunAndForAnyNumberOfThreads) {
  CaseShape shape;
  shape.dtype = DType::bf16;
  shape.segments = 40;
  const Case test(shape, 5);
  const Results first = compute(test, 1);
  for (const int threads : {1, 2, 3, 7}) {
    const Results again = compute(test, threads);
    EXPECT_EQ(again.out.bytes(), first.out.bytes());
    EXPECT_EQ(again.log_sums.bytes(), first.log_sums.bytes());
    for (size_t i = 0; i < first.gradients.all.size(); ++i)
      EXPECT_EQ(again.gradients.all[i].bytes(), first.gradients.all[i].bytes())
          << Gradients::kNames[i];
  }
}

TEST(SegmentAttention, WantedGradientsDoNotDependOnWhichOthersAreWanted) {
  const Case test(CaseShape{}, 6);
  const Results all = compute(test, 2);
  for (unsigned wanted = 0; wanted < 128; ++wanted) {
    Gradients some(test, DType::f32, 0);
    segment_attention_backward(2, test.inputs(), test.grad_out.view(), all.log_sums.f32(),
                               some.views(wanted));
    const Gradients untouched(test, DType::f32, 0);
    for (size_t i = 0; i < some.all.size(); ++i)
      EXPECT_EQ(some.all[i].bytes(), (wanted >> i & 1 ? all.gradients : untouched).all[i].bytes())
          << Gradients::kNames[i] << " of " << wanted;
  }
}

TEST(SegmentAttention, LargeScoresDoNotOverflow) {
  CaseShape shape;
  shape.head_dim = 64;
  Case test(shape, 8);
  Random random(9);
  test.q = TestMatrix::random(random, DType::f32, test.q.rows(), test.q.cols(), 0, 300);
  const Results results = compute(test, 2);
  TestMatrix out(DType::f32, test.q.rows(), test.q.cols());
  TestMatrix log_sums(DType::f32, test.q.rows(), test.heads());
  ref::segment_attention(test.inputs(), out.view(), log_sums.f32());
  // Scores of some hundreds: their rounding errors are errors of weights.
  expect_close(results.out, out, 2e-3, "out");
  for (const TestMatrix& gradient : results.gradients.all)
    for (size_t r = 0; r < gradient.rows(); ++r)
      for (size_t c = 0; c < gradient.cols(); ++c) ASSERT_TRUE(std::isfinite(gradient.at(r, c)));
}

}  // namespace
}  // namespace msa::train_kernels
