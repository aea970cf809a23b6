// The scan of compressed keys: one pass, from scores with error bounds to the documents that may be
// among the best.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "kernels/compressed_keys.h"
#include "kernels/cpu/document_walk.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rounded_queries.h"

namespace msa::cpu {

// One caller at a time.
class CandidateScan {
 public:
  // native: whether the processor's products of bytes are to be used.
  CandidateScan(int threads, bool native) : threads_(threads), native_(native) {}

  // As Backend::route_candidates.
  void run(const RouteRule& rule, std::span<const RouteQuery> requests,
           std::span<const CompressedBlock> blocks, std::vector<RouteCandidates>& found);

 private:
  struct Candidate {
    RouteHit hit;
    float upper = 0;  // its score in full is at most this
  };
  // The documents of one request that one thread has met and that may be among the k best.
  class Gathering {
   public:
    void start(size_t k, size_t most);
    void add(const RouteHit& hit, float error);
    std::span<const Candidate> candidates() const { return candidates_; }
    std::span<const float> lowers() const { return lowers_; }  // the k highest lower bounds

   private:
    size_t k_ = 0, most_ = 0;
    float least_ = 0;  // the lowest of lowers_ once there are k; before, and for k = 0, its bounds
    std::vector<Candidate> candidates_;
    std::vector<float> lowers_;  // a heap with the lowest on top
  };
  struct Request {
    size_t k = 0, most = 0;  // documents wanted, candidates kept
    RoundedQueries queries;
    std::vector<RoundedQueries::Error> errors;  // of each block
  };
  struct Open {  // the document that a tile's end cuts
    DocumentScore score;
    float error = 0;
  };
  struct Worker {
    HugeBuffer memory;
    float *totals = nullptr, *chunk_scores = nullptr, *errors = nullptr;
    std::vector<TilePiece> pieces;
    std::vector<Open> open;  // per request
    std::vector<Gathering> gathered;
  };

  void scan(const CompressedBlock& block, uint32_t block_number, Range spans, Worker& worker) const;
  void collect(size_t request, RouteCandidates& found);

  int threads_;
  bool native_;

  // Of the call that runs; what is beyond request_count_ is memory kept for later ones.
  RouteRule rule_;
  std::vector<Request> requests_;
  size_t request_count_ = 0;
  bool int4_ = false;
  BlockRows rows_;
  std::vector<Worker> workers_;
  std::vector<Candidate> merged_;
  std::vector<float> lowers_;
};

}  // namespace msa::cpu
