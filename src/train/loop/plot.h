// The curves of a training run as an SVG drawing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"
#include "train/loop/log.h"

namespace msa::train {

// Losses, accuracies and recall, and the learning rate, over the tokens trained on; phases are
// shaded, evaluations of held-out batches dashed. Readable on a white and on a dark page. An error
// if there are fewer than two training records.
Result<std::string> plot_svg(const std::vector<LogRecord>& records, std::string_view title);

}  // namespace msa::train
