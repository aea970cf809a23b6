#include "plan/memory_bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "base/checked.h"
#include "plan/arithmetic.h"

namespace msa::plan {
namespace {

// The last number a bank can give is 2^32 - 2 (docs/memory-bank.md).
constexpr uint64_t kMostDocuments = UINT32_MAX;

// Segments: `msa encode` commits after so much; arrays begin at multiples of the alignment.
constexpr uint64_t kSegmentBytes = 128u << 20, kAlignment = 4096;

// The catalogue's rows lie in SQLite pages. A row that fits shares a page with whole rows only, one
// that does not has pages for itself. Measured with the bank's schema: within 5% for texts of 512
// tokens, 20% where lengths vary much.
constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kPageRoom = 4061;  // of a page, for rows
constexpr uint64_t kRowBytes = 150;   // id, title, source and numbers of a document
constexpr uint64_t kIndexBytes = 64;  // of a document in both indices

Error too_large(uint64_t tokens) {
  return Error{Code::invalid_argument,
               fmt::format("a memory of {} tokens: its vectors take more than 2^60 bytes; plan a "
                           "smaller one",
                           tokens)};
}

// Bytes of the catalogue, texts included.
uint64_t catalogue_bytes(uint64_t documents, uint64_t text_bytes) {
  const uint64_t row = text_bytes / documents + kRowBytes;
  const uint64_t rows_per_page = kPageRoom / row;  // 0: a row takes several pages
  const double pages = rows_per_page > 0 ? 1 / static_cast<double>(rows_per_page)
                                         : static_cast<double>(divide_up(row, kPageRoom));
  const double bytes_each = pages * kPageBytes + kIndexBytes;
  return static_cast<uint64_t>(std::llround(bytes_each * static_cast<double>(documents)));
}

Result<void> count_chunks(const PlanModel& model, const MemoryRequest& request, MemoryBytes& m) {
  const uint64_t P = model.chunk_size, T = request.tokens;
  m.fewest_chunks = m.most_chunks = m.chunks = divide_up(T, P);
  m.documents_assumed = !request.documents;
  m.documents = request.documents.value_or(divide_up(T, kDocumentTokens));
  if (m.documents > kMostDocuments)
    return Error{Code::invalid_argument,
                 fmt::format("{} documents: a bank numbers at most {}; plan fewer or longer ones",
                             m.documents, kMostDocuments)};
  if (m.documents_assumed) return {};
  const uint64_t N = m.documents;
  if (N == 0 || N > T)
    return Error{
        Code::invalid_argument,
        fmt::format("{} documents: a memory of {} tokens has at least 1 and at most as many "
                    "documents as tokens; give another number of documents",
                    N, T)};
  // Each document adds up to P-1 to what is divided by P; on average half of that. The products
  // stay below 2^48, tokens were checked by the caller.
  m.fewest_chunks = std::max(N, m.fewest_chunks);
  m.most_chunks = (T + N * (P - 1)) / P;
  m.chunks = std::clamp(divide_up(T + N * (P - 1) / 2, P), m.fewest_chunks, m.most_chunks);
  return {};
}

}  // namespace

Result<MemoryBytes> memory_bytes(const PlanModel& model, const MemoryRequest& request) {
  assert(model.chunk_size > 0 && model.kv_width() > 0);
  if (request.tokens == 0)
    return Error{Code::invalid_argument, "a memory of 0 tokens: holds nothing; plan a larger one"};
  if (request.content == Format::int4)
    return Error{Code::invalid_argument,
                 "pooled keys and values in int4: are attended to, not only compared, and int4 is "
                 "too coarse for that; choose f32, bf16 or int8"};
  if (request.tokens > kMostBytes) return too_large(request.tokens);
  if (!(request.text_bytes_per_token >= 0 && request.text_bytes_per_token <= 1e6))
    return Error{Code::invalid_argument,
                 fmt::format("{} bytes of text per token: is not from 0 to 1000000; give another "
                             "number",
                             request.text_bytes_per_token)};

  MemoryBytes m;
  m.tokens = request.tokens;
  m.key_format = request.keys;
  m.content_format = request.content;
  MSA_TRY(count_chunks(model, request, m));

  const uint64_t heads = model.kv_heads, head_dim = model.head_dim, layers = model.router_layers;
  const uint64_t key_row = row_bytes(request.keys, heads, head_dim);
  const uint64_t content_row = content_row_bytes(request.content, heads, head_dim);
  if (is_compressed(request.keys))
    m.full_key_format = request.content == Format::f32 ? Format::f32 : Format::bf16;
  else
    m.full_key_format = request.keys;
  const uint64_t full_row = row_bytes(m.full_key_format, heads, head_dim);
  m.chunk_bytes = (key_row + content_row) * layers;  // below 2^36, see read_config()

  // If the widest rows of all three arrays fit, so does everything.
  const uint64_t widest = std::max({key_row, content_row, full_row});
  const auto bound = checked_product<uint64_t>({3, widest, layers, m.chunks});
  const double text = static_cast<double>(request.tokens) * request.text_bytes_per_token;
  if (!bound || *bound > kMostBytes || text > static_cast<double>(kMostBytes))
    return too_large(request.tokens);
  m.keys = key_row * layers * m.chunks;
  m.full_keys = is_compressed(request.keys) ? full_row * layers * m.chunks : 0;
  m.pooled_k = m.pooled_v = content_row / 2 * layers * m.chunks;

  m.text = static_cast<uint64_t>(std::llround(text));
  m.catalogue = catalogue_bytes(m.documents, m.text) - m.text;
  m.padding = divide_up(m.stored_vectors(), kSegmentBytes) * (2 * layers + 1) * kAlignment;
  return m;
}

}  // namespace msa::plan
