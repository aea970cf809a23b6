#include "msa/result.h"

namespace msa {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::invalid_argument: return "invalid_argument";
    case Code::not_found: return "not_found";
    case Code::corrupt: return "corrupt";
    case Code::mismatch: return "mismatch";
    case Code::unsupported: return "unsupported";
    case Code::io: return "io";
    case Code::no_space: return "no_space";
    case Code::permission: return "permission";
    case Code::busy: return "busy";
    case Code::cancelled: return "cancelled";
    case Code::internal: return "internal";
  }
  return "unknown";
}

}  // namespace msa
