#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "samples/sample_lines.h"
#include "samples/sample_source.h"

namespace msa {
namespace {

constexpr size_t kMostLineBytes = size_t{64} << 20;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// Where a sample stands in the file.
struct Line {
  uint64_t offset = 0;  // of its first byte
  uint32_t bytes = 0;   // without its line break
  uint32_t number = 0;  // from 1; empty lines count
};

Result<File> open_file(const std::filesystem::path& path) {
  std::error_code problem;
  const auto status = std::filesystem::status(path, problem);
  if (status.type() == std::filesystem::file_type::not_found)
    return system_error("open", path, ENOENT);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    return Error{Code::invalid_argument,
                 fmt::format("{}: is not a file of samples but a folder or a device; give a "
                             "regular file",
                             path.string())};
  File file(std::fopen(path.c_str(), "rbe"));
  if (!file) return system_error("open", path, errno);
  return file;
}

// Reads a file line by line, remembering where each one begins.
class LineScanner {
 public:
  LineScanner(std::FILE* file, const std::filesystem::path& path) : file_(file), path_(path) {}

  // The next line, without its line break, into text(); false at the end of the file.
  Result<bool> next() {
    line_.offset = offset_;
    ++line_.number;
    text_.clear();
    for (;;) {
      if (at_ == size_) MSA_TRY(fill());
      if (size_ == 0) return offset_ > line_.offset;  // the last line needs no line break
      const char* begin = block_.data() + at_;
      const void* found = std::memchr(begin, '\n', size_ - at_);
      const size_t bytes = found != nullptr
                               ? static_cast<size_t>(static_cast<const char*>(found) - begin)
                               : size_ - at_;
      if (bytes > kMostLineBytes - text_.size())
        return Error{Code::unsupported,
                     fmt::format("{}:{}: is longer than {} bytes; split its documents into "
                                 "several samples",
                                 path_.string(), line_.number, kMostLineBytes)};
      text_.append(begin, bytes);
      line_.bytes = static_cast<uint32_t>(text_.size());
      const size_t taken = bytes + (found != nullptr ? 1 : 0);
      at_ += taken;
      offset_ += taken;
      if (found != nullptr) return true;
    }
  }
  std::string_view text() const { return text_; }
  const Line& line() const { return line_; }

 private:
  Result<void> fill() {
    at_ = 0;
    size_ = std::fread(block_.data(), 1, block_.size(), file_);
    if (size_ == 0 && std::ferror(file_) != 0) return system_error("read", path_, errno);
    return {};
  }

  std::FILE* file_;
  const std::filesystem::path& path_;
  std::vector<char> block_ = std::vector<char>(size_t{256} << 10);
  size_t at_ = 0, size_ = 0;
  uint64_t offset_ = 0;  // in the file, of the next byte
  std::string text_;
  Line line_;
};

class SampleFile final : public SampleSource {
 public:
  SampleFile(std::filesystem::path path, File file, std::vector<Line> lines, uint64_t seed)
      : path_(std::move(path)),
        file_(std::move(file)),
        lines_(std::move(lines)),
        order_(lines_.size()),
        seed_(seed) {
    shuffle(0);
  }

  Result<Sample> next() override {
    const uint64_t pass = position_ / lines_.size();
    if (pass != pass_) shuffle(pass);
    MSA_ASSIGN(Sample sample, read(lines_[order_[static_cast<size_t>(position_ % lines_.size())]]));
    ++position_;
    return sample;
  }
  uint64_t position() const override { return position_; }
  Result<void> skip_to(uint64_t position) override {
    position_ = position;
    return {};
  }

 private:
  void shuffle(uint64_t pass) {
    pass_ = pass;
    std::iota(order_.begin(), order_.end(), 0);
    Random(seed_, pass).shuffle(order_);
  }

  Result<Sample> read(const Line& line) {
    text_.resize(line.bytes);
    std::clearerr(file_.get());
    if (::fseeko(file_.get(), static_cast<off_t>(line.offset), SEEK_SET) != 0)
      return system_error("read", path_, errno);
    if (std::fread(text_.data(), 1, text_.size(), file_.get()) != text_.size()) {
      if (std::ferror(file_.get()) != 0) return system_error("read", path_, errno);
      return Error{Code::corrupt,
                   fmt::format("{}:{}: the file has become shorter since it was opened; start "
                               "again with the whole file",
                               path_.string(), line.number)};
    }
    return parse_sample(text_, fmt::format("{}:{}", path_.string(), line.number));
  }

  std::filesystem::path path_;
  File file_;
  std::vector<Line> lines_;
  std::vector<uint32_t> order_;  // of this pass
  uint64_t seed_;
  uint64_t pass_ = 0, position_ = 0;
  std::string text_;
};

bool is_compressed(std::string_view text) {
  return text.starts_with("\x28\xb5\x2f\xfd") || text.starts_with("\x1f\x8b");
}

// Calls `visit` with the lines of an open file that are not blank.
Result<void> scan(std::FILE* opened, const std::filesystem::path& file,
                  const std::function<Result<void>(std::string_view, const Line&)>& visit) {
  LineScanner scanner(opened, file);
  for (;;) {
    MSA_ASSIGN(const bool more, scanner.next());
    if (!more) return {};
    Line line = scanner.line();
    std::string_view text = scanner.text();
    if (line.number == 1 && is_compressed(text))
      return Error{Code::unsupported, fmt::format("{}: is compressed (zstd or gzip), and samples "
                                                  "are read in random order; unpack it",
                                                  file.string())};
    if (line.number == 1 && text.starts_with(kByteOrderMark)) {
      text.remove_prefix(kByteOrderMark.size());
      line.offset += kByteOrderMark.size();
      line.bytes -= static_cast<uint32_t>(kByteOrderMark.size());
    }
    if (line.number == std::numeric_limits<uint32_t>::max())
      return Error{Code::unsupported,
                   fmt::format("{}: has more than {} lines; split it", file.string(), line.number)};
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    MSA_TRY(visit(text, line));
  }
}

}  // namespace

Result<void> for_each_sample_line(
    const std::filesystem::path& file,
    const std::function<Result<void>(std::string_view text, uint32_t number)>& visit) {
  MSA_ASSIGN(const File opened, open_file(file));
  return scan(opened.get(), file,
              [&](std::string_view text, const Line& line) { return visit(text, line.number); });
}

Result<std::unique_ptr<SampleSource>> open_sample_file(const std::filesystem::path& file,
                                                       uint64_t seed) {
  MSA_ASSIGN(File opened, open_file(file));
  std::vector<Line> lines;
  const auto check = [&](std::string_view text, const Line& line) -> Result<void> {
    MSA_TRY(parse_sample(text, fmt::format("{}:{}", file.string(), line.number)));
    lines.push_back(line);
    return {};
  };
  MSA_TRY(scan(opened.get(), file, check));
  if (lines.empty())
    return Error{Code::corrupt,
                 fmt::format("{}: has no samples; write one JSON object per line", file.string())};
  return std::make_unique<SampleFile>(file, std::move(opened), std::move(lines), seed);
}

}  // namespace msa
