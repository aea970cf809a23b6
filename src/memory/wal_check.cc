#include "memory/wal_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <vector>

namespace msa {
namespace {

// https://www.sqlite.org/fileformat2.html#the_write_ahead_log: a header of 32 bytes, then frames,
// each a header of 24 bytes and a page. Numbers are big-endian, but sums are over words of the
// order that the magic number says.
constexpr size_t kHeaderBytes = 32, kSummedHeaderBytes = 24;
constexpr size_t kFrameHeaderBytes = 24, kSummedFrameHeaderBytes = 8;
constexpr uint32_t kMagic = 0x377f0682;  // the last bit: words are big-endian
constexpr uint32_t kVersion = 3007000;

uint32_t big_endian(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 |
         bytes[at + 3];
}

struct Sum {
  uint32_t a = 0, b = 0;
  bool operator==(const Sum&) const = default;
};

Sum stored_sum(std::span<const uint8_t> bytes, size_t at) {
  return {big_endian(bytes, at), big_endian(bytes, at + 4)};
}

// SQLite's checksum; `bytes` is a multiple of 8 long.
Sum add(Sum sum, std::span<const uint8_t> bytes, bool big) {
  const auto word = [&](size_t at) {
    const uint32_t value = big_endian(bytes, at);
    return big ? value : __builtin_bswap32(value);
  };
  for (size_t at = 0; at < bytes.size(); at += 8) {
    sum.a += word(at) + sum.b;
    sum.b += word(at + 4) + sum.a;
  }
  return sum;
}

// Whether the sums differ in one byte.
bool one_byte_apart(const Sum& x, const Sum& y) {
  const uint64_t difference = uint64_t{x.a ^ y.a} << 32 | (x.b ^ y.b);
  if (difference == 0) return false;
  const int shift = std::countr_zero(difference) / 8 * 8;
  return (difference >> shift) <= 0xff;
}

// The byte that, changed alone, gives `bytes` the sum `wanted` in place of `found`. The sum is
// linear in each word, modulo 2^32: what a change of the word at pair i adds to it is the change
// times a factor that depends on the number of pairs behind.
std::optional<size_t> changed_byte(std::span<const uint8_t> bytes, const Sum& found,
                                   const Sum& wanted, bool big) {
  const Sum missing{wanted.a - found.a, wanted.b - found.b};
  Sum first{1, 1}, second{0, 1};  // factors of a pair's two words
  for (size_t pair = bytes.size() / 8; pair-- > 0;) {
    for (const auto& [factor, offset] : {std::pair{first, size_t{0}}, {second, size_t{4}}})
      for (size_t i = 0; i < 4; ++i) {
        const size_t at = pair * 8 + offset + i;
        const int shift = static_cast<int>(8 * (big ? 3 - i : i));
        for (uint32_t value = 0; value < 256; ++value) {
          const uint32_t change = (value - bytes[at]) << shift;
          if (change != 0 && factor.a * change == missing.a && factor.b * change == missing.b)
            return at;
        }
      }
    for (Sum* factor : {&first, &second}) {
      factor->a += factor->b;
      factor->b += factor->a;
    }
  }
  return std::nullopt;
}

class Log {
 public:
  explicit Log(const std::filesystem::path& file)
      : file_(file), in_(file, std::ios::binary), header_(kHeaderBytes) {}

  std::optional<std::string> damage() {
    if (!read(0, header_)) return std::nullopt;
    const std::span<const uint8_t> summed(header_.data(), kSummedHeaderBytes);
    const Sum wanted = stored_sum(header_, kSummedHeaderBytes);
    const uint32_t magic = big_endian(header_, 0);
    big_ = (magic & 1) != 0;
    const uint32_t page = big_endian(header_, 8);
    if ((magic & ~1u) == kMagic && big_endian(header_, 4) == kVersion && page >= 512 &&
        page <= 65536 && std::has_single_bit(page) && add({}, summed, big_) == wanted)
      return frame_damage(page);
    for (const bool big : {false, true}) {
      const Sum found = add({}, summed, big);
      if (one_byte_apart(found, wanted) || changed_byte(summed, found, wanted, big))
        return fmt::format(
            "{}: its header was changed, so that SQLite sees no commit in it; keep "
            "a copy of the bank before anything writes to it",
            file_.string());
    }
    return std::nullopt;
  }

 private:
  bool read(uint64_t at, std::vector<uint8_t>& bytes) {
    in_.clear();
    in_.seekg(static_cast<std::streamoff>(at));
    return static_cast<bool>(in_.read(reinterpret_cast<char*>(bytes.data()),
                                      static_cast<std::streamsize>(bytes.size())));
  }

  std::optional<std::string> frame_damage(size_t page) {
    const Sum salts = stored_sum(header_, 16);
    std::vector<uint8_t> frame(kFrameHeaderBytes + page);
    Sum sum = stored_sum(header_, kSummedHeaderBytes);
    uint64_t at = kHeaderBytes;
    for (;; at += frame.size()) {
      if (!read(at, frame)) return std::nullopt;  // the log is right to its end
      const Sum next = sum_of(sum, frame);
      const Sum stored = stored_sum(frame, 16);
      if (stored_sum(frame, 8) == salts && stored == next) {
        sum = next;
        continue;
      }
      if (one_byte_changed(sum, frame, salts)) return message(at);
      break;
    }
    // A later commit would have waited for this one.
    const uint64_t bad = at;
    bool committed = false;
    do {
      if (stored_sum(frame, 8) != salts) continue;
      if (committed) return message(bad);
      committed = big_endian(frame, 4) != 0;
    } while (read(at += frame.size(), frame));
    return std::nullopt;
  }

  Sum sum_of(Sum before, std::span<const uint8_t> frame) const {
    return add(add(before, frame.first(kSummedFrameHeaderBytes), big_),
               frame.subspan(kFrameHeaderBytes), big_);
  }

  bool one_byte_changed(Sum before, std::span<const uint8_t> frame, const Sum& salts) const {
    const Sum stored = stored_sum(frame, 16), found = sum_of(before, frame);
    if (stored_sum(frame, 8) != salts)
      return found == stored && one_byte_apart(stored_sum(frame, 8), salts);
    if (one_byte_apart(found, stored)) return true;
    std::vector<uint8_t> summed(frame.begin(), frame.begin() + kSummedFrameHeaderBytes);
    summed.insert(summed.end(), frame.begin() + kFrameHeaderBytes, frame.end());
    return changed_byte(summed, found, stored, big_).has_value();
  }

  std::string message(uint64_t at) const {
    return fmt::format(
        "{}: the log was changed behind byte {}: SQLite takes that for its end and passes over the "
        "commits there; keep a copy of the bank before anything writes to it",
        file_.string(), at);
  }

  std::filesystem::path file_;
  std::ifstream in_;
  std::vector<uint8_t> header_;
  bool big_ = false;
};

}  // namespace

std::optional<std::string> find_log_damage(const std::filesystem::path& catalogue) {
  const std::filesystem::path file = std::filesystem::path(catalogue).concat("-wal");
  std::optional<std::string> first = Log(file).damage();
  // A writer may be at work: what it had half written is right when it is looked at again.
  for (int again = 0; first && again < 2; ++again)
    if (Log(file).damage() != first) return std::nullopt;
  return first;
}

}  // namespace msa
