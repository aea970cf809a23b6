// The FAISS objects of a shape: made for building, and again around arrays for searching.
#pragma once

#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexScalarQuantizer.h>

#include <memory>

#include "approximate/list_index.h"

namespace msa {

// An index without keys, and the centres it is around. Declared in this order: the index looks at
// the centres.
struct FaissIndex {
  std::unique_ptr<faiss::IndexFlatIP> centres;
  std::unique_ptr<faiss::IndexIVF> lists;

  // Lowest values and ranges, or prototypes.
  std::vector<float>& quantiser() {
    if (auto* scalar = dynamic_cast<faiss::IndexIVFScalarQuantizer*>(lists.get()))
      return scalar->sq.trained;
    return static_cast<faiss::IndexIVFPQ*>(lists.get())->pq.centroids;
  }
};

inline FaissIndex make_faiss_index(const ListShape& shape) {
  FaissIndex made;
  made.centres =
      std::make_unique<faiss::IndexFlatIP>(static_cast<faiss::Index::idx_t>(shape.width));
  if (shape.coding == KeyCoding::scalar)
    made.lists = std::make_unique<faiss::IndexIVFScalarQuantizer>(
        made.centres.get(), shape.width, shape.lists, faiss::ScalarQuantizer::QT_8bit,
        faiss::METRIC_INNER_PRODUCT, /*encode_residual=*/true);
  else
    made.lists = std::make_unique<faiss::IndexIVFPQ>(made.centres.get(), shape.width, shape.lists,
                                                     shape.code_bytes(), /*nbits_per_idx=*/8,
                                                     faiss::METRIC_INNER_PRODUCT);
  return made;
}

}  // namespace msa
