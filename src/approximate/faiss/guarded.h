// FAISS throws; what follows does not.
#pragma once

#include <faiss/impl/FaissException.h>
#include <fmt/format.h>
#include <omp.h>

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "msa/result.h"

namespace msa {

// What `call` returns, or what FAISS or the allocator threw as an error. `doing`: "searching".
template <class Call>
auto without_exceptions(std::string_view doing, Call&& call) -> decltype(call()) {
  try {
    return std::forward<Call>(call)();
  } catch (const std::bad_alloc&) {
    return Error{
        Code::no_space,
        fmt::format("{} the index: out of memory; use fewer lists, or exact routing", doing)};
  } catch (const faiss::FaissException& error) {
    std::string what = error.what();
    for (char& c : what)
      if (c == '\n') c = ' ';
    return Error{Code::internal,
                 fmt::format("{} the index: FAISS failed: {}; use exact routing", doing, what)};
  } catch (const std::exception& error) {
    return Error{Code::internal,
                 fmt::format("{} the index: {}; use exact routing", doing, error.what())};
  }
}

// FAISS and its BLAS take as many threads as OpenMP says; while this lives, so many.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~ThreadScope() { omp_set_num_threads(before_); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

}  // namespace msa
