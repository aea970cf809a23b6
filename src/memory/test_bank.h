// For tests only: small banks whose every value follows from the document's number.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/test_folder.h"
#include "kernels/int8_rows.h"
#include "memory/bank.h"

namespace msa {

// These tests kill processes, not machines: a file system in memory shows the same, and syncing it
// costs nothing. Who sets TMPDIR tests the disk that it names.
inline const bool kInMemory =
    ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", /*replace=*/0) == 0;

inline BankManifest small_manifest(DType dtype = DType::bf16,
                                   ContentFormat content = ContentFormat::full) {
  BankManifest manifest;
  manifest.router_layers = {1, 2, 5};
  manifest.kv_heads = 2;
  manifest.head_dim = 12;
  manifest.chunk_size = 4;
  manifest.dtype = dtype;
  manifest.content = content;
  manifest.model_fingerprint = 0x0123456789abcdef;
  manifest.tokenizer_fingerprint = 0xfedcba9876543210;
  return manifest;
}

// 1 to 5 chunks, depending on the number.
inline uint32_t chunks_of(uint32_t number) {
  return 1 + (number * 7 + 3) % 5;
}

// The value at this place of a document's arrays: exact in bf16, different nearly everywhere.
// array: 0 routing key, 1 pooled key, 2 pooled value.
inline float value_of(uint32_t number, size_t layer, int array, uint32_t chunk, size_t column) {
  uint64_t mix = number * 1000003ull + layer * 8191 + static_cast<uint64_t>(array) * 131071 +
                 chunk * 524287ull + column * 127;
  mix = (mix ^ (mix >> 29)) * 0xbf58476d1ce4e5b9ull;
  return static_cast<float>(static_cast<int>((mix >> 40) % 255) - 127);
}

inline void put_value(DType dtype, std::byte* array, size_t index, float value) {
  if (dtype == DType::f32) {
    std::memcpy(array + index * sizeof(float), &value, sizeof(float));
  } else {
    const bf16 narrow = bf16::from_float(value);
    std::memcpy(array + index * sizeof(bf16), &narrow, sizeof(bf16));
  }
}

inline float get_value(ConstAnyMat m, size_t row, size_t column) {
  return m.dtype == DType::f32 ? m.as<float>().row(row)[column]
                               : m.as<bf16>().row(row)[column].to_float();
}

// How many pooled values in this row of a segment are not those of chunk `c` of document `number`
// in router layer `l`. As int8, each may be off by half a scale, which its head's greatest one
// sets.
inline uint64_t wrong_content(const SegmentLayer& layer, size_t row, uint32_t number, size_t l,
                              uint32_t c) {
  const size_t width = layer.keys.cols;
  const auto expected = [&](size_t i) {
    return value_of(number, l, i < width ? 1 : 2, c, i % width);
  };
  uint64_t wrong = 0;
  const Int8Rows& int8 = layer.content_int8;
  if (int8.heads == 0) {
    if (layer.content.cols != 2 * width) return 2 * width;
    for (size_t i = 0; i < 2 * width; ++i) wrong += get_value(layer.content, row, i) != expected(i);
    return wrong;
  }
  if (int8.cols() != 2 * width || int8.rows != layer.keys.rows) return 2 * width;
  std::vector<float> values(2 * width);
  from_int8_rows(int8.slice_rows(row, 1), MatView<float>(values.data(), 1, 2 * width));
  for (size_t first = 0; first < 2 * width; first += int8.head_dim) {
    float highest = 0;
    for (size_t i = first; i < first + int8.head_dim; ++i)
      highest = std::max(highest, std::abs(expected(i)));
    for (size_t i = first; i < first + int8.head_dim; ++i)
      wrong += !(std::abs(values[i] - expected(i)) <= highest / 254 * (1 + 1e-4f));
  }
  return wrong;
}

// These documents, encoded.
inline EncodedBatch make_batch(const BankManifest& manifest, const std::vector<uint32_t>& numbers) {
  EncodedBatch batch;
  batch.dtype = manifest.dtype;
  batch.kv_width = manifest.kv_heads * manifest.head_dim;
  for (const uint32_t number : numbers) {
    batch.chunks.push_back(chunks_of(number));
    batch.total_chunks += batch.chunks.back();
  }
  const size_t width = batch.kv_width, element = size_of(batch.dtype);
  for (size_t l = 0; l < manifest.router_layers.size(); ++l) {
    EncodedLayer layer;
    layer.keys = AlignedBuffer<std::byte>(batch.total_chunks * width * element);
    layer.content = AlignedBuffer<std::byte>(batch.total_chunks * 2 * width * element);
    size_t row = 0;
    for (const uint32_t number : numbers)
      for (uint32_t c = 0; c < chunks_of(number); ++c, ++row)
        for (size_t i = 0; i < width; ++i) {
          put_value(batch.dtype, layer.keys.data(), row * width + i, value_of(number, l, 0, c, i));
          for (int half = 0; half < 2; ++half)
            put_value(batch.dtype, layer.content.data(),
                      row * 2 * width + static_cast<size_t>(half) * width + i,
                      value_of(number, l, 1 + half, c, i));
        }
    batch.layers.push_back(std::move(layer));
  }
  return batch;
}

// Documents first .. first+count-1, encoded.
inline EncodedBatch make_batch(const BankManifest& manifest, uint32_t first, uint32_t count) {
  std::vector<uint32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), first);
  return make_batch(manifest, numbers);
}

inline NewDocument make_document(uint32_t number) {
  NewDocument document;
  document.id = fmt::format("doc/{}", number);
  document.title = number % 3 == 0 ? "" : fmt::format("Title {}", number);
  document.source = fmt::format("notes/{}.txt", number / 10);
  document.text = fmt::format("Text of {}, with an umlaut \u00fc and {} lines\n", number,
                              std::string(number % 50, 'x'));
  document.char_begin = number * 100ull;
  document.char_end = number * 100ull + 99;
  document.tokens = number % 40 + 5;
  return document;
}

// Adds the next `count` documents, without committing.
inline Result<void> add_documents(BankWriter& writer, const BankManifest& manifest,
                                  uint32_t count) {
  const uint32_t first = writer.next_number();
  std::vector<NewDocument> documents;
  for (uint32_t i = 0; i < count; ++i) documents.push_back(make_document(first + i));
  return writer.add(std::move(documents), make_batch(manifest, first, count));
}

// Makes a bank of segments with these numbers of documents.
inline void fill_bank(const std::filesystem::path& folder, const BankManifest& manifest,
                      const std::vector<uint32_t>& segments) {
  auto writer = BankWriter::open_or_create(folder, manifest);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  for (const uint32_t count : segments) {
    const auto added = add_documents(**writer, manifest, count);
    ASSERT_TRUE(added.ok()) << added.error().message;
    const auto committed = (*writer)->commit();
    ASSERT_TRUE(committed.ok()) << committed.error().message;
  }
}

// Expects documents 0 .. count-1 and nothing else, every value and record as it was made.
inline void expect_bank(BankReader& reader, uint32_t count) {
  auto snapshot = reader.snapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
  const BankManifest& manifest = reader.manifest();
  const size_t width = manifest.kv_heads * manifest.head_dim;
  EXPECT_EQ((*snapshot)->router_layers, manifest.router_layers);
  ASSERT_EQ((*snapshot)->documents, count);
  std::set<uint32_t> numbers;
  uint64_t chunks = 0, wrong = 0;
  for (const SegmentView& segment : (*snapshot)->segments) {
    ASSERT_EQ(segment.layers.size(), manifest.router_layers.size());
    for (const DocumentSpan& span : segment.documents) {
      ASSERT_LT(span.number, count);
      ASSERT_TRUE(numbers.insert(span.number).second);
      ASSERT_EQ(span.chunks, chunks_of(span.number));
      chunks += span.chunks;
      for (size_t l = 0; l < segment.layers.size(); ++l) {
        const SegmentLayer& layer = segment.layers[l];
        ASSERT_EQ(layer.keys.cols, width);
        ASSERT_LE(uint64_t{span.first_chunk} + span.chunks, layer.keys.rows);
        for (uint32_t c = 0; c < span.chunks; ++c) {
          const size_t row = span.first_chunk + c;
          for (size_t i = 0; i < width; ++i)
            wrong += get_value(layer.keys, row, i) != value_of(span.number, l, 0, c, i);
          wrong += wrong_content(layer, row, span.number, l, c);
        }
      }
    }
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(numbers.size(), count);
  EXPECT_EQ((*snapshot)->chunks, chunks);

  uint32_t number = 0;
  const auto visited = reader.catalogue().each_document(0, true, [&](const DocumentRecord& record) {
    const NewDocument expected = make_document(number);
    EXPECT_EQ(record.number, number);
    EXPECT_EQ(record.id, expected.id);
    EXPECT_EQ(record.title, expected.title);
    EXPECT_EQ(record.source, expected.source);
    EXPECT_EQ(record.text, expected.text);
    EXPECT_EQ(record.char_begin, expected.char_begin);
    EXPECT_EQ(record.char_end, expected.char_end);
    EXPECT_EQ(record.tokens, expected.tokens);
    EXPECT_EQ(record.chunks, chunks_of(number));
    EXPECT_EQ(record.hash, document_hash(expected.title, expected.text));
    ++number;
    return true;
  });
  EXPECT_TRUE(visited.ok()) << visited.error().message;
  EXPECT_EQ(number, count);
}

inline void expect_bank(const std::filesystem::path& folder, uint32_t count) {
  auto reader = BankReader::open(folder);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  expect_bank(**reader, count);
}

inline std::vector<std::string> verify_problems(const std::filesystem::path& folder) {
  auto reader = BankReader::open(folder);
  if (!reader) return {reader.error().message};
  auto report = (*reader)->verify({});
  if (!report) return {report.error().message};
  return report->problems;
}

// Flips one bit of a file.
inline void flip_bit(const std::filesystem::path& file, uint64_t byte, unsigned bit = 0) {
  std::string bytes = TestFolder::get(file);
  ASSERT_LT(byte, bytes.size());
  bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << bit));
  std::ofstream out(file, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Runs SQL on a catalogue as any other program could: no checks of references.
inline void tamper(const std::filesystem::path& file, std::string_view sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
  char* message = nullptr;
  const int code = sqlite3_exec(db, std::string(sql).c_str(), nullptr, nullptr, &message);
  EXPECT_EQ(code, SQLITE_OK) << (message == nullptr ? "" : message) << " in " << sql;
  sqlite3_free(message);
  sqlite3_close(db);
}

}  // namespace msa
