#include "train/loop/tensor_memory.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <random>
#include <thread>

namespace msa::train {
namespace {

class TensorMemoryTest : public testing::Test {
 protected:
  TensorMemoryTest() {
    keep_tensor_memory();
    settle();
  }
  // What other tests left is given back.
  static void settle() {
    for (int i = 0; i < 10; ++i) tensor_memory_step_done();
  }
  static torch::Tensor floats(int64_t count) { return torch::empty({count}, torch::kFloat32); }
};

TEST_F(TensorMemoryTest, ABlockIsUsedAgain) {
  const TensorMemory before = tensor_memory();
  const void* where = nullptr;
  {
    const torch::Tensor tensor = floats(1 << 20);
    where = tensor.data_ptr();
    EXPECT_GE(tensor_memory().used, before.used + (4u << 20));
  }
  EXPECT_EQ(tensor_memory().used, before.used);
  EXPECT_GE(tensor_memory().kept, before.kept + (4u << 20));
  // Also for a slightly smaller tensor.
  const torch::Tensor again = floats((1 << 20) - (1 << 16));
  EXPECT_EQ(again.data_ptr(), where);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(where) % 64, 0u);
}

TEST_F(TensorMemoryTest, IdleBlocksAreGivenBack) {
  const uint64_t before = tensor_memory().kept;
  { const torch::Tensor tensor = floats(1 << 20); }
  EXPECT_GT(tensor_memory().kept, before);
  settle();
  EXPECT_EQ(tensor_memory().kept, 0u);
}

// Sizes that vary from step to step do not add up.
TEST_F(TensorMemoryTest, StaysBounded) {
  std::mt19937_64 random(3);
  uint64_t most = 0;
  for (int step = 0; step < 300; ++step) {
    std::vector<torch::Tensor> tensors;
    for (int i = 0; i < 8; ++i)
      tensors.push_back(floats(static_cast<int64_t>(200'000 + random() % 100'000)));
    for (torch::Tensor& tensor : tensors) tensor.fill_(1);
    tensors.clear();
    tensor_memory_step_done();
    most = std::max(most, tensor_memory().kept);
  }
  // A step holds at most 8 * 1.2 MB; the size classes may cost a few times that.
  EXPECT_LT(most, 40u << 20);
}

TEST_F(TensorMemoryTest, ThreadsShareIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) {
        const torch::Tensor tensor = torch::full({30'000 + 1000 * (i % 7)}, t, torch::kFloat32);
        ASSERT_EQ(tensor.max().item<float>(), static_cast<float>(t));
        ASSERT_EQ(tensor.min().item<float>(), static_cast<float>(t));
      }
    });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TensorMemoryTest, SmallAndEmptyTensorsWork) {
  EXPECT_EQ(torch::empty({0}).numel(), 0);
  EXPECT_EQ(torch::ones({3}).sum().item<float>(), 3);
  torch::Tensor grown = torch::ones({3});
  grown.resize_({1 << 18});
  grown.fill_(2);
  EXPECT_EQ(grown[1 << 17].item<float>(), 2);
}

}  // namespace
}  // namespace msa::train
