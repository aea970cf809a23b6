// For tests only: encodes documents of make_document() as make_batch() does.
#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include "memory/repair.h"
#include "memory/test_bank.h"

namespace msa {

// A document's tokens are the number of make_document() that its text is of, as often as that one
// has tokens. `encoded` counts the documents that were encoded, if there is one.
inline RepairEncoder test_encoder(DType dtype = DType::bf16, uint64_t* encoded = nullptr) {
  RepairEncoder encoder;
  encoder.batch_tokens = 30;
  encoder.tokenize = [](uint32_t, std::string_view, std::string_view text) {
    unsigned seed = 0;
    EXPECT_EQ(std::sscanf(std::string(text).c_str(), "Text of %u,", &seed), 1);
    return std::vector<int32_t>(make_document(seed).tokens, static_cast<int32_t>(seed));
  };
  encoder.encode =
      [dtype,
       encoded](std::span<const std::span<const int32_t>> documents) -> Result<EncodedBatch> {
    std::vector<uint32_t> seeds;
    for (const std::span<const int32_t> tokens : documents)
      seeds.push_back(static_cast<uint32_t>(tokens.front()));
    if (encoded != nullptr) *encoded += seeds.size();
    return make_batch(small_manifest(dtype), seeds);
  };
  return encoder;
}

}  // namespace msa
