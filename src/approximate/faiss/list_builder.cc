// Finding centres and codes with FAISS.
#include <algorithm>
#include <cassert>
#include <utility>

#include "approximate/faiss/guarded.h"
#include "approximate/faiss/indexes.h"

namespace msa {
namespace {

// K-means converges slowly and the last iterations change little.
constexpr int kIterations = 10;

class FaissListBuilder final : public ListBuilder {
 public:
  FaissListBuilder(const ListShape& shape, int threads, uint64_t seed)
      : shape_(shape), threads_(threads), index_(make_faiss_index(shape)) {
    const auto configure = [&](faiss::ClusteringParameters& clustering) {
      clustering.niter = kIterations;
      clustering.seed = static_cast<int>(seed & 0x7fffffff);
      // The caller has chosen the sample: neither warned about on standard error nor thinned out.
      clustering.min_points_per_centroid = 1;
      clustering.max_points_per_centroid = 1 << 20;
    };
    configure(index_.lists->cp);
    if (auto* product = dynamic_cast<faiss::IndexIVFPQ*>(index_.lists.get())) {
      configure(product->pq.cp);
      product->pq.cp.max_points_per_centroid = 256;
    }
  }

  Result<void> train(MatView<const float> sample) override {
    return without_exceptions("training", [&]() -> Result<void> {
      assert(sample.dense() && sample.cols == shape_.width && sample.rows >= shape_.lists);
      const ThreadScope scope(threads_);
      index_.lists->train(static_cast<faiss::Index::idx_t>(sample.rows), sample.data);
      return {};
    });
  }

  Result<void> add(MatView<const float> keys, std::span<const uint32_t> rows) override {
    return without_exceptions("building", [&]() -> Result<void> {
      assert(keys.dense() && keys.cols == shape_.width && keys.rows == rows.size());
      const ThreadScope scope(threads_);
      const std::vector<faiss::Index::idx_t> ids(rows.begin(), rows.end());
      index_.lists->add_with_ids(static_cast<faiss::Index::idx_t>(keys.rows), keys.data,
                                 ids.data());
      return {};
    });
  }

  std::span<const float> centres() const override {
    return {index_.centres->get_xb(), shape_.lists * shape_.width};
  }
  std::span<const float> quantiser() const override {
    return const_cast<FaissListBuilder*>(this)->index_.quantiser();
  }
  List list(size_t number) const override {
    const faiss::InvertedLists& lists = *index_.lists->invlists;
    const size_t size = lists.list_size(number);
    List found;
    if (size == 0) return found;
    const faiss::Index::idx_t* ids = lists.get_ids(number);
    found.rows.assign(ids, ids + size);
    lists.release_ids(number, ids);
    found.codes = {lists.get_codes(number), size * shape_.code_bytes()};
    return found;
  }

 private:
  ListShape shape_;
  int threads_;
  FaissIndex index_;
};

}  // namespace

Result<void> check_list_index_support() {
  return {};
}

Result<std::unique_ptr<ListBuilder>> make_list_builder(const ListShape& shape, int threads,
                                                       uint64_t seed) {
  return without_exceptions("making", [&]() -> Result<std::unique_ptr<ListBuilder>> {
    return std::make_unique<FaissListBuilder>(shape, threads, seed);
  });
}

}  // namespace msa
