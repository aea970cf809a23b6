// In the place of faiss/ in a build without FAISS.
#include "approximate/list_index.h"

namespace msa {
namespace {

Error no_faiss() {
  return {Code::unsupported,
          "approximate routing: this build has no FAISS; use exact routing, or install FAISS "
          "(scripts/install-deps.sh --index) and build again"};
}

}  // namespace

Result<void> check_list_index_support() {
  return no_faiss();
}

Result<std::unique_ptr<ListBuilder>> make_list_builder(const ListShape&, int, uint64_t) {
  return no_faiss();
}

Result<std::unique_ptr<ListSearcher>> make_list_searcher(const ListArrays&, int) {
  return no_faiss();
}

}  // namespace msa
