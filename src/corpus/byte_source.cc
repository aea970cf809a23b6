#include "corpus/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "base/files.h"
#include "corpus/input_files.h"

namespace msa {
namespace {

constexpr size_t kInputBytes = 128 << 10;

class PlainBytes : public ByteSource {
 public:
  PlainBytes(int file, std::filesystem::path path, bool owned)
      : file_(file), owned_(owned), path_(std::move(path)) {}
  PlainBytes(const PlainBytes&) = delete;
  PlainBytes& operator=(const PlainBytes&) = delete;
  ~PlainBytes() override {
    if (owned_) ::close(file_);
  }

  Result<size_t> read(std::span<std::byte> out) override {
    while (true) {
      const ssize_t got = ::read(file_, out.data(), out.size());
      if (got >= 0) {
        bytes_read_ += static_cast<uint64_t>(got);
        return static_cast<size_t>(got);
      }
      if (errno != EINTR) return system_error("read", path_, errno);
    }
  }
  uint64_t stored_bytes_read() const override { return bytes_read_; }

 private:
  int file_;
  bool owned_;
  std::filesystem::path path_;
  uint64_t bytes_read_ = 0;
};

// What both decompressors share: the compressed bytes in a buffer, and where in the file they are.
class CompressedInput {
 public:
  CompressedInput(std::unique_ptr<ByteSource> file, std::filesystem::path path)
      : file_(std::move(file)), path_(std::move(path)), buffer_(kInputBytes) {}

  // What is buffered and not taken; after a refill at the end of the file, nothing.
  std::span<const std::byte> rest() const { return std::span(buffer_).subspan(at_, size_ - at_); }
  void take(size_t bytes) { at_ += bytes; }
  Result<void> refill() {
    if (at_ < size_) return {};
    MSA_ASSIGN(size_, file_->read(buffer_));
    at_ = 0;
    return {};
  }
  uint64_t stored_bytes_read() const { return file_->stored_bytes_read(); }

  Error corrupt(std::string_view what) const {
    return {Code::corrupt, fmt::format("{}: {} at byte {}; copy or download the file again",
                                       path_.string(), what, stored_bytes_read() - rest().size())};
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::unique_ptr<ByteSource> file_;
  std::filesystem::path path_;
  std::vector<std::byte> buffer_;
  size_t at_ = 0, size_ = 0;
};

class GzipBytes : public ByteSource {
 public:
  GzipBytes(std::unique_ptr<ByteSource> file, std::filesystem::path path)
      : input_(std::move(file), std::move(path)) {}
  GzipBytes(const GzipBytes&) = delete;
  GzipBytes& operator=(const GzipBytes&) = delete;
  ~GzipBytes() override { ::inflateEnd(&stream_); }

  Result<void> start() {
    constexpr int kGzipWindow = 15 + 16;  // the largest window, gzip header and checksum
    if (::inflateInit2(&stream_, kGzipWindow) != Z_OK)
      return Error{Code::no_space, fmt::format("{}: out of memory to decompress it; close other "
                                               "programs",
                                               input_.path().string())};
    return {};
  }

  Result<size_t> read(std::span<std::byte> out) override {
    if (out.empty()) return size_t{0};
    out = out.first(std::min<size_t>(out.size(), 1u << 30));  // zlib counts in 32 bits
    while (true) {
      MSA_TRY(input_.refill());
      if (between_members_) MSA_TRY(skip_padding());
      const auto in = input_.rest();
      if (in.empty()) {
        if (between_members_) return size_t{0};
        return input_.corrupt("the gzip data breaks off");
      }
      between_members_ = false;
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
      stream_.avail_in = static_cast<uInt>(in.size());
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = static_cast<uInt>(out.size());
      const int status = ::inflate(&stream_, Z_NO_FLUSH);
      input_.take(in.size() - stream_.avail_in);
      if (status == Z_STREAM_END) {
        between_members_ = true;
        any_member_ = true;
        ::inflateReset(&stream_);
      } else if (status == Z_NEED_DICT || (status != Z_OK && status != Z_BUF_ERROR)) {
        return input_.corrupt(fmt::format("damaged gzip data ({})",
                                          stream_.msg != nullptr ? stream_.msg : "no detail"));
      }
      if (const size_t got = out.size() - stream_.avail_out; got > 0) return got;
    }
  }
  uint64_t stored_bytes_read() const override { return input_.stored_bytes_read(); }

 private:
  // After a member, tape-sized zero padding may follow, as gzip itself allows.
  Result<void> skip_padding() {
    while (any_member_ && !input_.rest().empty() && input_.rest()[0] == std::byte{0}) {
      input_.take(1);
      MSA_TRY(input_.refill());
    }
    return {};
  }

  CompressedInput input_;
  z_stream stream_ = {};
  bool between_members_ = false, any_member_ = false;
};

class ZstdBytes : public ByteSource {
 public:
  ZstdBytes(std::unique_ptr<ByteSource> file, std::filesystem::path path)
      : input_(std::move(file), std::move(path)), stream_(::ZSTD_createDStream()) {}

  Result<size_t> read(std::span<std::byte> out) override {
    if (out.empty()) return size_t{0};
    if (!stream_)
      return Error{Code::no_space, fmt::format("{}: out of memory to decompress it; close other "
                                               "programs",
                                               input_.path().string())};
    while (true) {
      MSA_TRY(input_.refill());
      const auto in = input_.rest();
      // The decompressor may hold back output when its input is used up: ask once more.
      if (in.empty() && !output_waits_) {
        if (between_frames_) return size_t{0};
        return input_.corrupt("the zstd data breaks off");
      }
      ZSTD_inBuffer source = {in.data(), in.size(), 0};
      ZSTD_outBuffer target = {out.data(), out.size(), 0};
      const size_t status = ::ZSTD_decompressStream(stream_.get(), &target, &source);
      if (::ZSTD_isError(status))
        return input_.corrupt(fmt::format("damaged zstd data ({})", ::ZSTD_getErrorName(status)));
      input_.take(source.pos);
      between_frames_ = status == 0;
      output_waits_ = !between_frames_ && target.pos == target.size;
      if (target.pos > 0) return target.pos;
    }
  }
  uint64_t stored_bytes_read() const override { return input_.stored_bytes_read(); }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ::ZSTD_freeDStream(stream); }
  };
  CompressedInput input_;
  std::unique_ptr<ZSTD_DStream, Free> stream_;
  bool between_frames_ = false, output_waits_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_bytes(const std::filesystem::path& path) {
  if (path == "-") return std::make_unique<PlainBytes>(STDIN_FILENO, "standard input", false);
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return system_error("open", path, errno);
  auto plain = std::make_unique<PlainBytes>(file, path, true);
  switch (compression_of(path)) {
    case Compression::none: return plain;
    case Compression::zstd: return std::make_unique<ZstdBytes>(std::move(plain), path);
    case Compression::gzip: break;
  }
  auto gzip = std::make_unique<GzipBytes>(std::move(plain), path);
  MSA_TRY(gzip->start());
  return gzip;
}

}  // namespace msa
