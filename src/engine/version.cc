#include "msa/msa.h"

namespace msa {

std::string_view version() {
  return MSA_VERSION;
}

}  // namespace msa
