// Searching lists, with FAISS's scoring of codes. FAISS's own search goes through the lists of one
// query after the other; this one goes through the lists, so that each is read once for all routing
// tokens of a question, wherever it lies.
#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "approximate/faiss/guarded.h"
#include "approximate/faiss/indexes.h"

namespace msa {
namespace {

using Id = faiss::Index::idx_t;

class FaissListSearcher final : public ListSearcher {
 public:
  FaissListSearcher(const ListArrays& arrays, int threads)
      : arrays_(arrays), threads_(threads), index_(make_faiss_index(arrays.shape)) {
    index_.centres->add(static_cast<Id>(arrays.shape.lists), arrays.centres.data());
    index_.quantiser().assign(arrays.quantiser.begin(), arrays.quantiser.end());
    index_.lists->is_trained = true;
  }

  Result<std::vector<NearRow>> search(MatView<const float> queries, size_t probes,
                                      size_t nearest) override {
    return without_exceptions("searching", [&]() -> Result<std::vector<NearRow>> {
      assert(queries.dense() && queries.cols == arrays_.shape.width);
      cost_ = {};
      if (queries.rows == 0 || probes == 0 || nearest == 0) return std::vector<NearRow>();
      const ThreadScope scope(threads_);
      find_lists(queries, std::min(probes, arrays_.shape.lists));
      return scan_lists(queries, nearest);
    });
  }
  ListSearchCost last_cost() const override { return cost_; }

 private:
  // A query that looks into a list, and its inner product with the list's centre.
  struct Visit {
    uint32_t list = 0, query = 0;
    float centre_score = 0;
  };
  // The best rows of one query that one thread has met: a heap with the worst on top, as FAISS
  // keeps it. Labels are list and position.
  struct Best {
    std::unique_ptr<faiss::InvertedListScanner> scanner;
    std::vector<float> scores;
    std::vector<Id> places;
  };

  void find_lists(MatView<const float> queries, size_t probes) {
    std::vector<float> scores(queries.rows * probes);
    std::vector<Id> lists(queries.rows * probes);
    index_.centres->search(static_cast<Id>(queries.rows), queries.data, static_cast<Id>(probes),
                           scores.data(), lists.data());
    visits_.clear();
    for (size_t i = 0; i < lists.size(); ++i)
      // A centre that is no number has no list.
      if (lists[i] >= 0 && static_cast<uint64_t>(lists[i]) < arrays_.shape.lists)
        visits_.push_back(
            {static_cast<uint32_t>(lists[i]), static_cast<uint32_t>(i / probes), scores[i]});
    std::sort(visits_.begin(), visits_.end(), [](const Visit& a, const Visit& b) {
      return a.list != b.list ? a.list < b.list : a.query < b.query;
    });
    starts_.clear();
    for (size_t i = 0; i < visits_.size(); ++i)
      if (i == 0 || visits_[i].list != visits_[i - 1].list) starts_.push_back(i);
    starts_.push_back(visits_.size());

    cost_.lists = starts_.size() - 1;
    cost_.bytes = arrays_.centres.size_bytes();
    for (size_t i = 0; i + 1 < starts_.size(); ++i)
      cost_.bytes +=
          size_of_list(visits_[starts_[i]].list) * (arrays_.shape.code_bytes() + sizeof(uint32_t));
  }

  size_t size_of_list(size_t list) const {
    return arrays_.offsets[list + 1] - arrays_.offsets[list];
  }

  std::vector<NearRow> scan_lists(MatView<const float> queries, size_t nearest) {
    const size_t lists = starts_.size() - 1;
    const size_t workers = std::clamp<size_t>(lists, 1, static_cast<size_t>(threads_));
    nearest = std::min(nearest, arrays_.rows.size());
    // All that allocates, and so may throw, is done before the threads begin.
    std::vector<Best> best(workers * queries.rows);
    for (size_t i = 0; i < best.size(); ++i) {
      best[i].scanner.reset(index_.lists->get_InvertedListScanner(/*store_pairs=*/true, nullptr));
      best[i].scanner->set_query(queries.row(i % queries.rows).data());
      best[i].scores.assign(nearest, -std::numeric_limits<float>::infinity());
      best[i].places.assign(nearest, -1);
    }
    if (nearest > 0) {
#pragma omp parallel for num_threads(static_cast <int>(workers)) schedule(static, 1)
      for (size_t worker = 0; worker < workers; ++worker) {
        for (size_t i = lists * worker / workers; i < lists * (worker + 1) / workers; ++i)
          scan(i, std::span(best).subspan(worker * queries.rows, queries.rows));
      }
    }
    return gather(best, queries.rows, nearest);
  }

  // Scans list `i` of those visited for all its visitors.
  void scan(size_t i, std::span<Best> best) const {
    for (size_t v = starts_[i]; v < starts_[i + 1]; ++v) {
      const Visit& visit = visits_[v];
      const size_t size = size_of_list(visit.list);
      if (size == 0) return;
      Best& to = best[visit.query];
      to.scanner->set_list(visit.list, visit.centre_score);
      to.scanner->scan_codes(
          size, arrays_.codes.data() + arrays_.offsets[visit.list] * arrays_.shape.code_bytes(),
          /*ids=*/nullptr, to.scores.data(), to.places.data(), to.scores.size());
    }
  }

  // Each query's best rows of all threads.
  std::vector<NearRow> gather(const std::vector<Best>& best, size_t queries, size_t nearest) const {
    std::vector<NearRow> all, found;
    for (size_t query = 0; query < queries; ++query) {
      found.clear();
      for (size_t i = query; i < best.size(); i += queries)
        for (size_t j = 0; j < best[i].places.size(); ++j) {
          const Id place = best[i].places[j];
          if (place < 0) continue;
          const size_t list = faiss::lo_listno(place), position = faiss::lo_offset(place);
          found.push_back({arrays_.rows[arrays_.offsets[list] + position], best[i].scores[j]});
        }
      std::sort(found.begin(), found.end(), [](const NearRow& a, const NearRow& b) {
        return a.score != b.score ? a.score > b.score : a.row < b.row;
      });
      found.resize(std::min(found.size(), nearest));
      all.insert(all.end(), found.begin(), found.end());
    }
    return all;
  }

  ListArrays arrays_;
  int threads_;
  FaissIndex index_;
  std::vector<Visit> visits_;   // by list
  std::vector<size_t> starts_;  // where each list's begin in visits_, and their end
  ListSearchCost cost_;
};

}  // namespace

Result<std::unique_ptr<ListSearcher>> make_list_searcher(const ListArrays& arrays, int threads) {
  return without_exceptions("opening", [&]() -> Result<std::unique_ptr<ListSearcher>> {
    return std::make_unique<FaissListSearcher>(arrays, threads);
  });
}

}  // namespace msa
