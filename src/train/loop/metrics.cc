#include "train/loop/metrics.h"

namespace msa::train {

void MetricsSum::Weighted::add(double value, double of) {
  if (of <= 0) return;
  sum += value * of;
  weight += of;
}

std::optional<double> MetricsSum::Weighted::mean() const {
  if (weight <= 0) return std::nullopt;
  return sum / weight;
}

void MetricsSum::add(const StepMetrics& m) {
  ++batches_;
  loss_.add(m.loss, 1);
  lm_loss_.add(m.lm_loss, 1);
  if (m.routed_queries > 0) aux_loss_.add(m.aux_loss, 1);
  const auto numbers = static_cast<double>(m.number_tokens);
  const auto answers = static_cast<double>(m.answer_tokens);
  const auto queries = static_cast<double>(m.routed_queries);
  number_loss_.add(m.number_loss, numbers);
  number_accuracy_.add(m.number_accuracy, numbers);
  answer_loss_.add(m.answer_loss, answers);
  answer_accuracy_.add(m.answer_accuracy, answers);
  numbers_right_.add(m.numbers_right, static_cast<double>(m.number_queries));
  answers_right_.add(m.answers_right, static_cast<double>(m.answer_queries));
  text_loss_.add(m.text_loss, static_cast<double>(m.text_tokens));
  recall_at_1_.add(m.recall_at_1, queries);
  recall_at_5_.add(m.recall_at_5, queries);
  recall_at_k_.add(m.recall_at_k, queries);
}

Metrics MetricsSum::mean() const {
  Metrics mean;
  mean.loss = loss_.mean().value_or(0);
  mean.lm_loss = lm_loss_.mean();
  mean.aux_loss = aux_loss_.mean();
  if (batches_ > 0) mean.routed_share = aux_loss_.weight / static_cast<double>(batches_);
  mean.number_loss = number_loss_.mean();
  mean.answer_loss = answer_loss_.mean();
  mean.text_loss = text_loss_.mean();
  mean.number_accuracy = number_accuracy_.mean();
  mean.answer_accuracy = answer_accuracy_.mean();
  mean.numbers_right = numbers_right_.mean();
  mean.answers_right = answers_right_.mean();
  mean.recall_at_1 = recall_at_1_.mean();
  mean.recall_at_5 = recall_at_5_.mean();
  mean.recall_at_k = recall_at_k_.mean();
  return mean;
}

}  // namespace msa::train
