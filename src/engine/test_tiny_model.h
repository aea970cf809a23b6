// For tests only: a model so small that encoding and answering take milliseconds.
#pragma once

#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "msa/msa.h"
#include "text/bpe_trainer.h"

namespace msa {

inline constexpr size_t kTinyTopK = 3;

// Writes it, with random weights, to `folder` / "model". What fails fails the test.
inline void write_tiny_model(const TestFolder& folder) {
  BpeTrainer trainer = BpeTrainer::create({.vocabulary = 300}).value();
  trainer.add("rivers and the river banks, bridges over the rivers");
  ASSERT_TRUE(trainer.write(folder / "tokenizer.json"));
  ModelShape shape;
  shape.layers = 4;
  shape.hidden = 32;
  shape.feed_forward = 64;
  shape.query_heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 8;
  shape.chunk_size = 8;
  shape.top_k = kTinyTopK;
  ASSERT_TRUE(init_model(folder / "model", shape, folder / "tokenizer.json", 5).ok());
}

}  // namespace msa
