// What a msa::Bank holds.
#pragma once

#include <memory>
#include <mutex>

#include "memory/bank.h"
#include "msa/msa.h"

namespace msa {

struct Bank::Impl {
  std::shared_ptr<BankReader> reader;
  mutable std::mutex busy;  // the reader takes one caller at a time
};

}  // namespace msa
