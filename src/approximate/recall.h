// How much of what the exact scan finds an index finds, and what it reads for it.
#pragma once

#include <memory>
#include <stop_token>

#include "approximate/bank_index.h"
#include "approximate/index_builder.h"
#include "memory/router.h"

namespace msa {

// Routes questions twice, exactly and with the index, as an answer would. One caller at a time.
class RecallTest {
 public:
  RecallTest(Backend& backend, std::shared_ptr<const Snapshot> snapshot, size_t head_dim,
             std::shared_ptr<BankIndex> index);

  // Chooses the least effort with which the first half of the questions (at least two in all) reach
  // `recall` on average, sets it, and measures it with the others. Where all lists and the most
  // candidates are not enough, these are chosen.
  Result<LayerMeasure> tune(size_t layer, const FoldedQuestions& questions, double recall,
                            std::stop_token stop);

 private:
  struct Half;
  struct Outcome {
    double recall = 0, bytes = 0, seconds = 0;  // means
  };
  Result<void> find_exactly(size_t layer, Half& half);
  Result<Outcome> run(size_t layer, const Half& half);

  Backend& backend_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::shared_ptr<BankIndex> index_;
  Router exact_, approximate_;
  double row_bytes_ = 0, all_chunks_ = 0;
};

}  // namespace msa
