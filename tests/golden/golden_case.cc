#include "golden/golden_case.h"

#include <fmt/format.h>

#include <cstring>

namespace msa {
namespace {

template <class T>
Result<std::vector<T>> values(const SafetensorsFile& file, const std::string& name) {
  MSA_ASSIGN(const TensorView tensor, file.find(name));
  if (tensor.dtype != dtype_of<T>())
    return Error{Code::unsupported,
                 fmt::format("{}: tensor '{}' is {}, expected {}", file.path().string(), name,
                             name_of(tensor.dtype), name_of(dtype_of<T>()))};
  std::vector<T> out(tensor.count());
  std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
  return out;
}

}  // namespace

bool GoldenCase::has(const std::string& name) const {
  return expected.tensors().contains(name);
}

Result<std::vector<float>> GoldenCase::floats(const std::string& name) const {
  return values<float>(expected, name);
}

Result<std::vector<int64_t>> GoldenCase::integers(const std::string& name) const {
  return values<int64_t>(expected, name);
}

Result<GoldenCase> GoldenCase::open(const std::filesystem::path& folder) {
  GoldenCase golden;
  MSA_ASSIGN(Checkpoint checkpoint, Checkpoint::open(folder));
  golden.checkpoint = std::make_shared<const Checkpoint>(std::move(checkpoint));
  MSA_ASSIGN(golden.expected, SafetensorsFile::open(folder / "expected.safetensors"));

  const auto tokens = [&](const std::string& name) -> Result<std::vector<int32_t>> {
    MSA_ASSIGN(const auto ids, golden.integers(name));
    return std::vector<int32_t>(ids.begin(), ids.end());
  };
  MSA_ASSIGN(golden.prefix, tokens("prefix_ids"));
  MSA_ASSIGN(golden.tail, tokens("tail_ids"));
  for (int i = 0; golden.has(fmt::format("query{}_ids", i)); ++i) {
    MSA_ASSIGN(auto query, tokens(fmt::format("query{}_ids", i)));
    golden.queries.push_back(std::move(query));
  }
  MSA_ASSIGN(const auto all, tokens("doc_tokens"));
  MSA_ASSIGN(const auto lengths, golden.integers("doc_lengths"));
  size_t first = 0;
  for (const int64_t length : lengths) {
    if (length < 1 || static_cast<uint64_t>(length) > all.size() - first)
      return Error{Code::corrupt, fmt::format("{}: doc_lengths do not fit the {} doc_tokens",
                                              golden.expected.path().string(), all.size())};
    golden.documents.emplace_back(all.begin() + static_cast<ptrdiff_t>(first),
                                  all.begin() + static_cast<ptrdiff_t>(first) + length);
    first += static_cast<size_t>(length);
  }
  return golden;
}

}  // namespace msa
