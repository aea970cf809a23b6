// Numbers of a training run as text for people.
#pragma once

#include <cstdint>
#include <string>

#include "train/loop/train.h"

namespace msa::trainer {

std::string duration_text(double seconds);  // "1 h 05 min", "3 min 20 s", "12.3 s"
std::string count_text(double count);       // "950", "12.3k", "4.56M"
std::string bytes_text(uint64_t bytes);     // "1.2 GiB"
std::string progress_text(const train::TrainProgress& progress);
std::string evaluation_text(const train::LogRecord& record);

}  // namespace msa::trainer
