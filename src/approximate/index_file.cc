// The lists of one layer on disk.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "approximate/index_format.h"
#include "base/checked.h"
#include "base/hash.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

constexpr std::array<char, 8> kMagic = {'M', 'S', 'A', 'I', 'D', 'X', '1', '\0'};
constexpr uint64_t kAlignment = 64;  // of every array

// Where the arrays are; the format leaves no choice.
struct Places {
  uint64_t centres = 0, quantiser = 0, offsets = 0, rows = 0, codes = 0, end = 0;
};

// Nothing if the sizes do not fit 64 bits.
std::optional<Places> places_of(const ListShape& shape, uint64_t rows) {
  std::optional<uint64_t> at = sizeof(IndexFileHeader);
  const auto place = [&](std::initializer_list<uint64_t> factors, uint64_t& begin) {
    const auto bytes = checked_product<uint64_t>(factors);
    if (at) at = checked_add<uint64_t>(*at, kAlignment - 1);
    if (!at || !bytes) {
      at.reset();
      return;
    }
    begin = *at / kAlignment * kAlignment;
    at = checked_add(begin, *bytes);
  };
  Places places;
  place({shape.lists, shape.width, sizeof(float)}, places.centres);
  place({shape.quantiser_floats(), sizeof(float)}, places.quantiser);
  place({uint64_t{shape.lists} + 1, sizeof(uint64_t)}, places.offsets);
  place({rows, sizeof(uint32_t)}, places.rows);
  place({rows, shape.code_bytes()}, places.codes);
  if (!at || *at > std::numeric_limits<int64_t>::max()) return std::nullopt;
  places.end = *at;
  return places;
}

template <class T>
std::span<const std::byte> bytes_of(const T* data, size_t count) {
  return std::as_bytes(std::span(data, count));
}

// Appends to a file, and hashes what it appends.
class HashedWriter {
 public:
  explicit HashedWriter(AtomicFileWriter& file) : file_(file) {}
  Result<void> write(std::span<const std::byte> bytes) {
    hasher_.add(bytes);
    return file_.write(bytes);
  }
  Result<void> pad() {
    static constexpr std::byte kZeros[kAlignment] = {};
    const uint64_t over = file_.size() % kAlignment;
    return over == 0 ? Result<void>() : write(std::span(kZeros).first(kAlignment - over));
  }
  uint64_t digest() const { return hasher_.digest(); }

 private:
  AtomicFileWriter& file_;
  Hasher hasher_;
};

Error bad(const fs::path& file, std::string_view what) {
  return {Code::corrupt, fmt::format("{}: {}; build the index again with `msa memory index`",
                                     file.string(), what)};
}

template <class T>
std::span<const T> array_at(const MappedFile& file, uint64_t offset, uint64_t count) {
  return {reinterpret_cast<const T*>(file.bytes().data() + offset), count};
}

}  // namespace

Result<IndexedFile> write_index_file(const fs::path& folder, std::string name, int layer,
                                     const ListShape& shape, uint64_t rows,
                                     const ListBuilder& builder) {
  const std::optional<Places> places = places_of(shape, rows);
  if (!places)
    return Error{Code::invalid_argument,
                 fmt::format("{}: {} lists of {} values are too many; ask for fewer lists",
                             (folder / name).string(), shape.lists, shape.width)};
  MSA_ASSIGN(AtomicFileWriter file, AtomicFileWriter::create(folder / name));
  HashedWriter out(file);
  IndexFileHeader header{};
  header.magic = kMagic;
  header.version = kIndexVersion;
  header.coding = static_cast<uint32_t>(shape.coding);
  header.layer = static_cast<uint32_t>(layer);
  header.width = shape.width;
  header.lists = shape.lists;
  header.rows = rows;
  header.code_bytes = shape.code_bytes();
  header.file_bytes = places->end;
  MSA_TRY(out.write(bytes_of(&header, 1)));
  MSA_TRY(out.pad());
  MSA_TRY(out.write(std::as_bytes(builder.centres())));
  MSA_TRY(out.pad());
  MSA_TRY(out.write(std::as_bytes(builder.quantiser())));
  MSA_TRY(out.pad());
  std::vector<uint64_t> offsets(shape.lists + 1);
  for (size_t list = 0; list < shape.lists; ++list)
    offsets[list + 1] = offsets[list] + builder.list(list).rows.size();
  if (offsets.back() != rows)
    return Error{Code::internal, fmt::format("{}: the lists hold {} keys, not {}; build it again",
                                             (folder / name).string(), offsets.back(), rows)};
  MSA_TRY(out.write(bytes_of(offsets.data(), offsets.size())));
  MSA_TRY(out.pad());
  for (size_t list = 0; list < shape.lists; ++list) {
    const ListBuilder::List held = builder.list(list);
    MSA_TRY(out.write(bytes_of(held.rows.data(), held.rows.size())));
  }
  MSA_TRY(out.pad());
  for (size_t list = 0; list < shape.lists; ++list)
    MSA_TRY(out.write(std::as_bytes(builder.list(list).codes)));
  MSA_TRY(file.commit());
  IndexedFile written;
  written.layer = layer;
  written.file = std::move(name);
  written.bytes = places->end;
  written.checksum = out.digest();
  return written;
}

Result<MappedIndex> open_index_file(const fs::path& folder, const IndexCatalogue& catalogue,
                                    const IndexedFile& record) {
  const fs::path path = folder / record.file;
  MSA_ASSIGN(MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() != record.bytes)
    return bad(path, fmt::format("has {} bytes, {} were written", bytes.size(), record.bytes));
  if (const uint64_t checksum = hash64(bytes); checksum != record.checksum)
    return bad(path, fmt::format("has checksum {}, {} was written", to_hex(checksum),
                                 to_hex(record.checksum)));

  // From here on it is what somebody wrote with a right checksum, which need not be this program.
  IndexFileHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);  // record.bytes is at least this
  const ListShape shape{catalogue.coding, catalogue.width, catalogue.lists};
  if (header.magic != kMagic || header.version != kIndexVersion || header.zero != 0 ||
      header.coding != static_cast<uint32_t>(shape.coding) ||
      header.layer != static_cast<uint32_t>(record.layer) || header.width != shape.width ||
      header.lists != shape.lists || header.rows != catalogue.rows ||
      header.code_bytes != shape.code_bytes() || header.file_bytes != bytes.size())
    return bad(path, fmt::format("its header is not as {} says", kIndexCatalogue));
  const std::optional<Places> places = places_of(shape, header.rows);
  if (!places || places->end != bytes.size())
    return bad(path, fmt::format("has {} bytes, its arrays take another number", bytes.size()));

  MappedIndex index;
  index.arrays.shape = shape;
  index.arrays.centres = array_at<float>(file, places->centres, shape.lists * shape.width);
  index.arrays.quantiser = array_at<float>(file, places->quantiser, shape.quantiser_floats());
  index.arrays.offsets = array_at<uint64_t>(file, places->offsets, shape.lists + 1);
  index.arrays.rows = array_at<uint32_t>(file, places->rows, header.rows);
  index.arrays.codes = array_at<uint8_t>(file, places->codes, header.rows * shape.code_bytes());
  const std::span<const uint64_t> offsets = index.arrays.offsets;
  if (offsets.front() != 0 || offsets.back() != header.rows ||
      !std::is_sorted(offsets.begin(), offsets.end()))
    return bad(path, fmt::format("the lists' offsets do not ascend from 0 to {}", header.rows));
  const uint64_t chunks = catalogue.chunks();
  for (const uint32_t row : index.arrays.rows)
    if (row >= chunks)
      return bad(path, fmt::format("row {} is in a list, there are {} chunks", row, chunks));
  index.file = std::move(file);
  return index;
}

}  // namespace msa
