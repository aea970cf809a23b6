// For tests only: fixtures around a small bank and the routing over it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "memory/test_bank.h"

namespace msa {

// A bank in a folder of its own. What cannot be opened fails the test.
class BankTest : public testing::Test {
 protected:
  std::unique_ptr<BankWriter> writer() {
    auto writer = BankWriter::open_or_create(bank_, manifest_);
    EXPECT_TRUE(writer.ok()) << writer.error().message;
    return writer.ok() ? std::move(writer).value() : nullptr;
  }
  std::shared_ptr<BankReader> reader() {
    auto reader = BankReader::open(bank_);
    EXPECT_TRUE(reader.ok()) << reader.error().message;
    return reader.ok() ? std::move(reader).value() : nullptr;
  }

  TestFolder folder_;
  std::filesystem::path bank_ = folder_ / "bank";
  BankManifest manifest_ = small_manifest();
};

// What routing over it takes: the CPU backend with two threads, a rule that fits, random questions.
class RoutedBankTest : public BankTest {
 protected:
  void SetUp() override {
    rule_.query_heads = 4;
    rule_.kv_heads = manifest_.kv_heads;
    rule_.head_dim = manifest_.head_dim;
    rule_.cosine = false;
    Runtime runtime;
    runtime.threads = 2;
    auto made = make_cpu_backend(runtime);
    ASSERT_TRUE(made.ok()) << made.error().message;
    backend_ = std::move(*made);
  }
  // [tokens, H * D]
  std::vector<float> query(size_t tokens) {
    std::normal_distribution<float> normal;
    std::vector<float> q(tokens * rule_.query_heads * rule_.head_dim);
    for (float& x : q) x = normal(random_);
    return q;
  }
  MatView<const float> view(const std::vector<float>& q) const {
    const size_t width = rule_.query_heads * rule_.head_dim;
    return {q.data(), q.size() / width, width};
  }

  RouteRule rule_;
  std::unique_ptr<Backend> backend_;
  std::mt19937 random_{3};
};

}  // namespace msa
