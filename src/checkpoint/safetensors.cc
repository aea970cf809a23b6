#include "checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "checkpoint/json_file.h"

namespace msa {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are mapped as they are stored");

constexpr size_t kLengthBytes = 8;                 // in front of the header: its length
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own bound
constexpr std::string_view kMetadata = "__metadata__";

// One tensor as the header describes it.
struct HeaderEntry {
  std::string name, dtype;
  std::vector<uint64_t> shape, offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Takes the header apart while it is parsed, so that nothing but these fields is ever held and a
// repeated name is seen. Each callback returns whether to go on; error() says why not.
class HeaderReader : public json::json_sax_t {
 public:
  std::vector<HeaderEntry>& entries() { return entries_; }
  const std::string& error() const { return error_; }

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::start: place_ = Place::root; return true;
      case Place::tensor_value: place_ = Place::tensor; return true;
      case Place::metadata_value: place_ = Place::metadata; return true;
      default: return unexpected("an object");
    }
  }

  bool key(string_t& name) override {
    if (place_ == Place::metadata) return true;  // free texts, of no use here
    if (place_ == Place::tensor) {
      HeaderEntry& entry = entries_.back();
      if (name == "dtype") return begin(entry.has_dtype, Place::dtype, name);
      if (name == "shape") return begin(entry.has_shape, Place::shape_value, name);
      if (name == "data_offsets") return begin(entry.has_offsets, Place::offsets_value, name);
      return fail(fmt::format("tensor '{}' has an unknown field \"{}\"", printable(entry.name),
                              printable(name)));
    }
    if (name == kMetadata) {
      if (std::exchange(has_metadata_, true)) return fail("the metadata come twice");
      place_ = Place::metadata_value;
      return true;
    }
    if (name.empty()) return fail("a tensor has an empty name");
    entries_.emplace_back().name = std::move(name);
    place_ = Place::tensor_value;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      const HeaderEntry& entry = entries_.back();
      if (!entry.has_dtype || !entry.has_shape || !entry.has_offsets)
        return fail(fmt::format("tensor '{}' has no \"{}\"", printable(entry.name),
                                !entry.has_dtype   ? "dtype"
                                : !entry.has_shape ? "shape"
                                                   : "data_offsets"));
      if (entry.offsets.size() != 2)
        return fail(fmt::format("tensor '{}' has {} data_offsets instead of 2",
                                printable(entry.name), entry.offsets.size()));
    }
    place_ = place_ == Place::root ? Place::end : Place::root;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::shape_value) return place_ = Place::shape, true;
    if (place_ == Place::offsets_value) return place_ = Place::offsets, true;
    return unexpected("a list");
  }
  bool end_array() override { return place_ = Place::tensor, true; }

  bool string(string_t& text) override {
    if (place_ == Place::metadata) return true;
    if (place_ != Place::dtype) return unexpected("a text");
    entries_.back().dtype = std::move(text);
    place_ = Place::tensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t number) override {
    if (place_ == Place::shape) return entries_.back().shape.push_back(number), true;
    if (place_ == Place::offsets) return entries_.back().offsets.push_back(number), true;
    return unexpected("a number");
  }

  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return unexpected("a fraction or a number beyond 64 bits");
  }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool null() override { return unexpected("null"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return fail(fmt::format("the header is not valid JSON at its byte {}", position));
  }

 private:
  // What comes next. The *_value places wait for the value of a key just read.
  enum class Place {
    start,
    root,
    metadata_value,
    metadata,
    tensor_value,
    tensor,
    dtype,
    shape_value,
    shape,
    offsets_value,
    offsets,
    end,
  };

  bool fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
    return false;
  }
  bool unexpected(std::string_view what) {
    if (entries_.empty() || place_ == Place::metadata || place_ == Place::metadata_value)
      return fail(fmt::format("{} is out of place in the header", what));
    return fail(fmt::format("{} is out of place at tensor '{}' of the header", what,
                            printable(entries_.back().name)));
  }
  bool begin(bool& seen, Place next, std::string_view field) {
    if (std::exchange(seen, true))
      return fail(
          fmt::format("tensor '{}' has \"{}\" twice", printable(entries_.back().name), field));
    place_ = next;
    return true;
  }

  Place place_ = Place::start;
  bool has_metadata_ = false;
  std::vector<HeaderEntry> entries_;
  std::string error_;
};

std::optional<DType> dtype_named(std::string_view name) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i64})
    if (name == name_of(dtype)) return dtype;
  return std::nullopt;
}

// The bytes of a tensor, or nothing if they do not fit 64 bits.
std::optional<uint64_t> byte_count(DType dtype, const std::vector<uint64_t>& shape) {
  // A zero anywhere makes the product small again, so each step is checked, not just the result.
  std::optional<uint64_t> bytes = size_of(dtype);
  for (const uint64_t extent : shape)
    if (bytes) bytes = checked_mul(*bytes, extent);
  return bytes;
}

// A file's header against its bytes.
class Validator {
 public:
  Validator(const std::filesystem::path& file, std::span<const std::byte> data, uint64_t data_begin)
      : file_(file), data_(data), data_begin_(data_begin) {}

  // The tensor's view, if all that it says of itself is so.
  Result<TensorView> view(const HeaderEntry& entry) const {
    const auto [begin, end] = std::pair(entry.offsets[0], entry.offsets[1]);
    const std::optional<DType> dtype = dtype_named(entry.dtype);
    if (!dtype)
      return Error{Code::unsupported,
                   fmt::format("{}: tensor '{}' is of dtype {}, only F32, F16, BF16 and I64 are "
                               "read; convert it",
                               file_.string(), printable(entry.name), printable(entry.dtype))};
    if (begin > end || end > data_.size())
      return corrupt(entry, fmt::format("takes bytes {} to {}, the file has {} from its byte {} on",
                                        begin, end, data_.size(), data_begin_));
    const std::optional<uint64_t> bytes = byte_count(*dtype, entry.shape);
    if (!bytes)
      return corrupt(entry, fmt::format("has a shape of [{}], more than 64 bits can count",
                                        fmt::join(entry.shape, ", ")));
    if (*bytes != end - begin)
      return corrupt(
          entry, fmt::format("of shape [{}] and dtype {} needs {} bytes, the header "
                             "gives it {}",
                             fmt::join(entry.shape, ", "), name_of(*dtype), *bytes, end - begin));
    return TensorView{
        *dtype, {entry.shape.begin(), entry.shape.end()}, data_.subspan(begin, end - begin)};
  }

  // Whether the tensors lie one behind the other from the first byte to the last.
  Result<void> no_gaps_or_overlaps(const std::vector<HeaderEntry>& entries) const {
    std::vector<const HeaderEntry*> order;
    order.reserve(entries.size());
    for (const HeaderEntry& entry : entries) order.push_back(&entry);
    std::sort(order.begin(), order.end(),
              [](const HeaderEntry* a, const HeaderEntry* b) { return a->offsets < b->offsets; });
    uint64_t end = 0;
    const HeaderEntry* before = nullptr;
    for (const HeaderEntry* entry : order) {
      const uint64_t begin = entry->offsets[0];
      if (begin < end)
        return corrupt(*entry, fmt::format("begins at byte {}, within tensor '{}' that ends at {}",
                                           begin, printable(before->name), end));
      if (begin > end)
        return corrupt(*entry, fmt::format("begins at byte {}, {} bytes after the one before it",
                                           begin, begin - end));
      end = entry->offsets[1];
      before = entry;
    }
    if (end != data_.size())
      return Error{Code::corrupt,
                   fmt::format("{}: {} bytes of data follow {}; download it again", file_.string(),
                               data_.size() - end,
                               before ? fmt::format("the last tensor '{}', which ends at byte {}",
                                                    printable(before->name), end)
                                      : "a header without tensors")};
    return {};
  }

 private:
  Error corrupt(const HeaderEntry& entry, std::string_view what) const {
    return {Code::corrupt, fmt::format("{}: tensor '{}' {}; download it again", file_.string(),
                                       printable(entry.name), what)};
  }

  const std::filesystem::path& file_;
  std::span<const std::byte> data_;  // what follows the header
  uint64_t data_begin_;
};

// The length of the header, which is known to be there.
Result<size_t> header_length(const std::filesystem::path& file, std::span<const std::byte> bytes) {
  constexpr std::string_view kPointer = "version https://git-lfs";
  if (bytes.size() >= kPointer.size() &&
      std::memcmp(bytes.data(), kPointer.data(), kPointer.size()) == 0)
    return Error{Code::corrupt, fmt::format("{}: is a Git LFS pointer of {} bytes, not the file "
                                            "itself; fetch it with git lfs pull",
                                            file.string(), bytes.size())};
  if (bytes.size() < kLengthBytes)
    return Error{Code::corrupt,
                 fmt::format("{}: has {} bytes, a safetensors file has at least {}; download it "
                             "again",
                             file.string(), bytes.size(), kLengthBytes + 2)};
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes)
    return Error{Code::corrupt,
                 fmt::format("{}: claims a header of {} bytes, {} follow and {} are allowed; it is "
                             "no safetensors file or was cut off: download it again",
                             file.string(), length, bytes.size() - kLengthBytes, kMaxHeaderBytes)};
  return static_cast<size_t>(length);
}

}  // namespace

size_t TensorView::count() const {
  return std::accumulate(shape.begin(), shape.end(), size_t{1}, std::multiplies<>());
}

ConstAnyMat TensorView::matrix() const {
  assert(shape.size() <= 2 && "a tensor of more than two dimensions is no matrix");
  const size_t cols = shape.empty() ? 1 : shape.back();
  return {bytes.data(), dtype, shape.size() == 2 ? shape.front() : 1, cols};
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& file) {
  SafetensorsFile opened;
  MSA_ASSIGN(opened.file_, MappedFile::open(file));
  const std::span<const std::byte> bytes = opened.file_.bytes();
  MSA_ASSIGN(const size_t length, header_length(file, bytes));

  HeaderReader header;
  const char* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  try {
    if (!json::sax_parse(text, text + length, &header))
      return Error{Code::corrupt,
                   fmt::format("{}: {}; download it again", file.string(), header.error())};
    const Validator validator(file, bytes.subspan(kLengthBytes + length), kLengthBytes + length);
    for (const HeaderEntry& entry : header.entries()) {
      MSA_ASSIGN(TensorView view, validator.view(entry));
      if (!opened.tensors_.emplace(entry.name, std::move(view)).second)
        return Error{Code::corrupt,
                     fmt::format("{}: tensor '{}' comes twice in the header; download it again",
                                 file.string(), printable(entry.name))};
    }
    MSA_TRY(validator.no_gaps_or_overlaps(header.entries()));
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, fmt::format("{}: a header of {} bytes does not fit the memory; "
                                             "free some memory",
                                             file.string(), length)};
  }
  return opened;
}

Result<TensorView> SafetensorsFile::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  return Error{Code::not_found, fmt::format("{}: has no tensor '{}' among its {}; check that the "
                                            "file belongs to this model",
                                            path().string(), printable(name), tensors_.size())};
}

}  // namespace msa
