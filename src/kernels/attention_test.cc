// Attention of the CPU backend against the reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "kernels/test_matrices.h"

namespace msa {
namespace {

struct Heads {
  size_t query, kv, dim;
};

class AttentionTest : public testing::TestWithParam<DType> {
 protected:
  // bf16: the weights are rounded to bf16 (2^-9 each) before they meet the values, of which the
  // largest sets the scale; f32: rounding of scores of size 10 goes through exp.
  double close() const { return GetParam() == DType::bf16 ? 0x1p-8 : 1e-5; }

  void check_context(Backend& backend, Heads heads, size_t queries, size_t keys, size_t margin,
                     float scale = 1) {
    const size_t qw = heads.query * heads.dim, kw = heads.kv * heads.dim;
    const auto q = TestMatrix::random(random_, GetParam(), queries, qw, qw + margin, scale);
    const auto k = TestMatrix::random(random_, GetParam(), keys, kw, kw + 2 * margin);
    const auto v = TestMatrix::random(random_, GetParam(), keys, kw, kw + margin);
    TestMatrix out(GetParam(), queries, qw, qw + 3 * margin), expected = out;
    backend.context_attention(q.view(), k.view(), v.view(), heads.kv, heads.dim, out.view());
    reference_->context_attention(q.view(), k.view(), v.view(), heads.kv, heads.dim,
                                  expected.view());
    expect_close(out, expected, close(),
                 fmt::format("H {} G {} D {}, {} of {} keys", heads.query, heads.kv, heads.dim,
                             queries, keys),
                 1);
  }

  void check_documents(Heads heads, const std::vector<uint32_t>& lengths) {
    std::vector<uint32_t> starts = {0};
    for (const uint32_t length : lengths) starts.push_back(starts.back() + length);
    const size_t T = starts.back(), qw = heads.query * heads.dim, kw = heads.kv * heads.dim;
    // As in the model: one matrix holds q, k and v.
    const auto qkv = TestMatrix::random(random_, GetParam(), T, qw + 2 * kw);
    const ConstAnyMat all = qkv.view();
    TestMatrix out(GetParam(), T, qw, qw + 1), expected = out;
    const auto run = [&](Backend& backend, TestMatrix& to) {
      backend.document_attention(all.slice_cols(0, qw), all.slice_cols(qw, kw),
                                 all.slice_cols(qw + kw, kw), starts, heads.kv, heads.dim,
                                 to.view());
    };
    run(*backend_, out);
    run(*reference_, expected);
    expect_close(out, expected, close(), fmt::format("{} documents", lengths.size()), 1);
    TestMatrix again(GetParam(), T, qw, qw + 1);
    run(*backend_, again);
    EXPECT_EQ(again.bytes(), out.bytes()) << "another result for the same call";
  }

  std::unique_ptr<Backend> backend_ = cpu_backend(2), reference_ = make_reference_backend();
  std::mt19937 random_{1};
};
INSTANTIATE_TEST_SUITE_P(Types, AttentionTest, testing::Values(DType::f32, DType::bf16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(AttentionTest, FewQueries) {
  for (const Heads heads : {Heads{4, 4, 16}, {6, 2, 64}, {8, 1, 80}, {3, 1, 128}, {2, 2, 6}})
    for (const size_t queries : {1, 2, 4})
      for (const size_t keys : {4, 63, 64, 65, 200})
        check_context(*backend_, heads, queries, keys, keys % 2);
}

TEST_P(AttentionTest, FewQueriesOnManyThreads) {
  auto backend = cpu_backend(5);
  check_context(*backend, {8, 4, 128}, 3, 700, 0);
}

TEST_P(AttentionTest, ManyQueries) {
  for (const Heads heads : {Heads{4, 4, 16}, {6, 2, 64}, {8, 1, 80}, {2, 1, 128}, {2, 2, 6}})
    for (const size_t queries : {5, 17, 64, 70})
      for (const size_t more : {0, 1, 63, 64, 90})
        check_context(*backend_, heads, queries, queries + more, more % 3);
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  check_context(*backend_, {2, 1, 16}, 1, 100, 0, 100);
  check_context(*backend_, {2, 1, 16}, 40, 100, 0, 100);
}

TEST_P(AttentionTest, OneDocument) {
  for (const uint32_t length : {1, 2, 15, 64, 129, 300}) check_documents({4, 2, 64}, {length});
}

TEST_P(AttentionTest, ManyTinyDocuments) {
  std::vector<uint32_t> lengths;
  for (size_t i = 0; i < 200; ++i) lengths.push_back(1 + static_cast<uint32_t>(random_() % 5));
  check_documents({4, 2, 16}, lengths);
}

TEST_P(AttentionTest, DocumentsOfAllLengths) {
  check_documents({8, 1, 80}, {1, 100, 64, 63, 65, 1, 2, 257});
  check_documents({4, 4, 128}, {31, 130, 5});
}

}  // namespace
}  // namespace msa
