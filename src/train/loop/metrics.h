// Means of step metrics over many batches.
#pragma once

#include <cstdint>
#include <optional>

#include "train/loop/log.h"
#include "train/model/model.h"

namespace msa::train {

// Losses are means over batches, the auxiliary one over those that routed; token accuracies and
// losses are weighted by tokens, whole targets and recall by queries.
class MetricsSum {
 public:
  void add(const StepMetrics& metrics);
  uint64_t batches() const { return batches_; }
  Metrics mean() const;

 private:
  struct Weighted {
    double sum = 0, weight = 0;
    void add(double value, double of);
    std::optional<double> mean() const;
  };
  uint64_t batches_ = 0;
  Weighted loss_, lm_loss_, aux_loss_, number_loss_, answer_loss_, text_loss_, number_accuracy_,
      answer_accuracy_, numbers_right_, answers_right_, recall_at_1_, recall_at_5_, recall_at_k_;
};

}  // namespace msa::train
