// pack() and matmul() of the CPU backend against the reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstring>

#include "kernels/test_matrices.h"

namespace msa {
namespace {

struct Product {
  size_t rows, outputs, inputs;
  DType compute, y;
  bool accumulate = false;
  size_t x_margin = 0, y_margin = 0;
};

std::string name_of(const Product& p) {
  return fmt::format("{}x{}x{} {} to {}{} margins {} {}", p.rows, p.outputs, p.inputs,
                     name_of(p.compute), name_of(p.y), p.accumulate ? " accumulate" : "",
                     p.x_margin, p.y_margin);
}

void check(Backend& backend, Backend& reference, const Product& p, std::mt19937& random) {
  const auto w = TestMatrix::random(random, p.compute, p.outputs, p.inputs);
  const auto x = TestMatrix::random(random, p.compute, p.rows, p.inputs, p.inputs + p.x_margin);
  auto y = TestMatrix::random(random, p.y, p.rows, p.outputs, p.outputs + p.y_margin);
  auto expected = y;
  const ConstAnyMat parts[] = {w.view()};
  auto packed = backend.pack(parts, p.compute);
  auto plain = reference.pack(parts, p.compute);
  ASSERT_TRUE(packed.ok()) << packed.error().message;
  EXPECT_EQ((*packed)->outputs(), p.outputs);
  EXPECT_EQ((*packed)->inputs(), p.inputs);
  EXPECT_GE((*packed)->bytes(), p.outputs * p.inputs * size_of(p.compute));
  backend.matmul(x.view(), **packed, y.view(), p.accumulate);
  reference.matmul(x.view(), **plain, expected.view(), p.accumulate);
  expect_close(y, expected, 1e-5, name_of(p), std::sqrt(static_cast<double>(p.inputs)));
}

TEST(Matmul, EveryRemainder) {
  auto backend = cpu_backend();
  auto reference = make_reference_backend();
  std::mt19937 random(1);
  for (const DType compute : {DType::f32, DType::bf16})
    for (const size_t rows : {1, 2, 3, 4, 5, 17})
      for (const size_t outputs : {1, 63, 130})
        for (const size_t inputs : {1, 2, 31, 64, 97})
          check(*backend, *reference, {rows, outputs, inputs, compute, DType::f32}, random);
}

TEST(Matmul, DestinationsAccumulationAndStrides) {
  auto backend = cpu_backend();
  auto reference = make_reference_backend();
  std::mt19937 random(2);
  for (const size_t rows : {1, 3, 6, 530})
    for (const size_t margin : {0, 1, 7}) {
      const size_t n = rows > 500 ? 33 : 200, k = rows > 500 ? 40 : 96;
      check(*backend, *reference, {rows, n, k, DType::f32, DType::f32, true, margin, 0}, random);
      check(*backend, *reference, {rows, n, k, DType::bf16, DType::f32, true, 0, margin}, random);
      check(*backend, *reference, {rows, n, k, DType::bf16, DType::bf16, false, margin, margin},
            random);
      check(*backend, *reference, {rows, n, k, DType::f32, DType::f32, false, margin, margin},
            random);
    }
}

TEST(Matmul, WidePanels) {
  auto backend = cpu_backend();
  auto reference = make_reference_backend();
  std::mt19937 random(3);
  check(*backend, *reference, {5, 700, 3072, DType::bf16, DType::f32, true}, random);
  check(*backend, *reference, {1, 64, 5000, DType::bf16, DType::f32, true}, random);
}

TEST(Matmul, ManyThreadsShareFewOutputs) {
  auto backend = cpu_backend(7);
  auto reference = make_reference_backend();
  std::mt19937 random(4);
  for (const DType compute : {DType::f32, DType::bf16})
    check(*backend, *reference, {2, 130, 2048, compute, DType::f32, true}, random);
}

TEST(Matmul, PacksPartsOfAnyDtypeAtAnyByte) {
  auto backend = cpu_backend();
  auto reference = make_reference_backend();
  std::mt19937 random(5);
  const size_t inputs = 70;
  for (const DType compute : {DType::f32, DType::bf16}) {
    std::vector<std::vector<std::byte>> memory;
    std::vector<TestMatrix> matrices;
    std::vector<ConstAnyMat> shifted, aligned;
    for (const auto& [dtype, rows] :
         {std::pair{DType::f16, 65}, {DType::bf16, 1}, {DType::f32, 130}})
      matrices.push_back(
          TestMatrix::random(random, dtype, static_cast<size_t>(rows), inputs, 0, 0.1f));
    for (const TestMatrix& m : matrices) {
      aligned.push_back(m.view());
      auto& bytes = memory.emplace_back(m.bytes().size() + 1);
      std::memcpy(bytes.data() + 1, m.bytes().data(), m.bytes().size());
      shifted.push_back(ConstAnyMat(bytes.data() + 1, m.view().dtype, m.view().rows, inputs));
    }
    auto packed = backend->pack(shifted, compute);
    auto plain = reference->pack(aligned, compute);
    ASSERT_TRUE(packed.ok());
    for (const size_t rows : {1, 9}) {
      const auto x = TestMatrix::random(random, compute, rows, inputs);
      TestMatrix y(DType::f32, rows, 196), expected(DType::f32, rows, 196);
      backend->matmul(x.view(), **packed, y.view(), false);
      reference->matmul(x.view(), **plain, expected.view(), false);
      expect_close(y, expected, 1e-5, "parts");
    }
  }
}

TEST(Matmul, SameCallSameBits) {
  auto backend = cpu_backend();
  std::mt19937 random(6);
  const auto w = TestMatrix::random(random, DType::bf16, 320, 512);
  const ConstAnyMat parts[] = {w.view()};
  auto packed = backend->pack(parts, DType::bf16);
  ASSERT_TRUE(packed.ok());
  for (const size_t rows : {1, 4, 33}) {
    const auto x = TestMatrix::random(random, DType::bf16, rows, 512);
    TestMatrix first(DType::f32, rows, 320), second(DType::f32, rows, 320);
    backend->matmul(x.view(), **packed, first.view(), false);
    backend->matmul(x.view(), **packed, second.view(), false);
    EXPECT_EQ(first.bytes(), second.bytes());
  }
}

TEST(Matmul, NothingToPackIsAnError) {
  auto backend = cpu_backend();
  EXPECT_FALSE(backend->pack({}, DType::f32).ok());
}

}  // namespace
}  // namespace msa
