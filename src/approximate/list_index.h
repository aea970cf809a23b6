// The seam to FAISS: keys in lists of neighbours (IVF), coded in few bits. Searching looks into the
// lists whose centres are nearest to a query. Knows vectors and rows, no banks and no files.
//
// FAISS finds centres and codes, and scores codes; its own files are not read or written, so that
// nothing it parses comes from a disk. Its exceptions end here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/mat_view.h"
#include "msa/result.h"

namespace msa {

enum class KeyCoding : uint32_t {
  scalar = 0,   // a byte for each value of the difference to the list's centre
  product = 1,  // a byte for each few values of it: the nearest of 256 prototypes
};
inline constexpr size_t kPrototypes = 256;

struct ListShape {
  KeyCoding coding = KeyCoding::scalar;
  size_t width = 0;  // values of a key, G*D
  size_t lists = 0;  // at least 1

  // Values that one byte stands for: 1, or for product the largest of 8, 4, 2, 1 that divides
  // width.
  size_t values_per_byte() const;
  size_t code_bytes() const { return width / values_per_byte(); }
  // Floats that say what codes mean: lowest value and range of each column, [2, width]; or
  // prototypes [code_bytes, 256, values_per_byte].
  size_t quantiser_floats() const;
};

// One layer's index, where it lies. Valid while its owner lives.
struct ListArrays {
  ListShape shape;
  std::span<const float> centres;     // [lists, width]
  std::span<const float> quantiser;   // [quantiser_floats()]
  std::span<const uint64_t> offsets;  // [lists + 1]: list i is rows[offsets[i]] .. [offsets[i+1]]
  std::span<const uint32_t> rows;     // [rows]: numbers that the caller gave
  std::span<const uint8_t> codes;     // [rows, code_bytes]
};

// Makes such arrays. One caller at a time.
class ListBuilder {
 public:
  virtual ~ListBuilder() = default;
  // Keys [n, width], finite: finds centres and quantiser. Once, before everything else; at least as
  // many as there are lists, and 256 for product.
  virtual Result<void> train(MatView<const float> sample) = 0;
  // Puts keys [n, width] into lists under these row numbers.
  virtual Result<void> add(MatView<const float> keys, std::span<const uint32_t> rows) = 0;

  virtual std::span<const float> centres() const = 0;
  virtual std::span<const float> quantiser() const = 0;
  struct List {
    std::vector<uint32_t> rows;
    std::span<const uint8_t> codes;  // valid until add() or the end of the builder
  };
  virtual List list(size_t number) const = 0;
};

struct NearRow {
  uint32_t row = 0;
  float score = 0;  // inner product with the decoded key
};

struct ListSearchCost {
  size_t lists = 0;    // looked into, each once whatever the number of queries
  uint64_t bytes = 0;  // read: centres, row numbers and codes
};

// Searches such arrays. One caller at a time.
class ListSearcher {
 public:
  virtual ~ListSearcher() = default;
  // For each query [M, width] the `nearest` rows in the `probes` lists with the nearest centres,
  // fewer if there are fewer; those of all queries together, in no order. A list is read once, for
  // all queries that look into it.
  virtual Result<std::vector<NearRow>> search(MatView<const float> queries, size_t probes,
                                              size_t nearest) = 0;
  virtual ListSearchCost last_cost() const = 0;
};

// An `unsupported` error in a build without FAISS, which says what to do.
Result<void> check_list_index_support();
// threads: at least 1. The same seed and threads give the same lists.
Result<std::unique_ptr<ListBuilder>> make_list_builder(const ListShape& shape, int threads,
                                                       uint64_t seed);
// `arrays` fit each other: offsets ascend from 0 to the number of rows.
Result<std::unique_ptr<ListSearcher>> make_list_searcher(const ListArrays& arrays, int threads);

}  // namespace msa
