// The library's edge: nothing that is thrown underneath passes it.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <type_traits>

#include "msa/result.h"

namespace msa {

// Calls `body`, which returns a Result, and turns what it throws into an Error.
template <class Body>
auto guarded(const char* doing, Body&& body) -> std::invoke_result_t<Body> {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, std::string(doing) +
                                     ": out of memory; use a smaller model, "
                                     "bank or batch"};
  } catch (const std::exception& e) {
    return Error{Code::internal, std::string(doing) + ": " + e.what()};
  }
}

}  // namespace msa
