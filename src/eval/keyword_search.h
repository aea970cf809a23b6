// Keyword search to compare with: BM25 as SQLite's full-text index computes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa::eval {

// An index of titles and texts in a file of its own. One caller at a time.
class KeywordSearch {
 public:
  // Makes `file`, which must not exist; it is removed with the index.
  static Result<KeywordSearch> create(const std::filesystem::path& file);
  KeywordSearch(KeywordSearch&&) noexcept;
  KeywordSearch& operator=(KeywordSearch&&) noexcept;
  ~KeywordSearch();

  // Adds document `number`, at most 2^62; each number once.
  Result<void> add(uint64_t number, std::string_view title, std::string_view text);
  // The best `limit` documents that share a word (its stem) with the question, best first.
  Result<std::vector<uint64_t>> find(std::string_view question, size_t limit);

 private:
  struct State;
  explicit KeywordSearch(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace msa::eval
