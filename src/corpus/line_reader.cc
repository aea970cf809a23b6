#include "corpus/line_reader.h"

#include <span>

namespace msa {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

Result<std::string_view> BlockReader::peek() {
  if (at_ == size_) MSA_TRY(fill());
  return std::string_view(block_.data() + at_, size_ - at_);
}

Result<void> BlockReader::fill() {
  at_ = size_ = 0;
  do {
    MSA_ASSIGN(const size_t got,
               bytes_.read(std::as_writable_bytes(std::span(block_).subspan(size_))));
    size_ += got;
    if (got == 0) break;
    // A pipe may give less than a byte order mark at first.
  } while (!started_ && size_ < kByteOrderMark.size());
  if (!started_ && std::string_view(block_.data(), size_).starts_with(kByteOrderMark))
    at_ = kByteOrderMark.size();
  const bool only_mark = !started_ && at_ > 0 && at_ == size_;
  started_ = true;
  return only_mark ? fill() : Result<void>();
}

Result<LineReader::Status> LineReader::next(std::string& line) {
  line.clear();
  bool any = false, too_long = false;
  while (true) {
    MSA_ASSIGN(const std::string_view block, blocks_.peek());
    if (block.empty()) break;
    if (!any) ++number_;
    any = true;
    const size_t end = block.find('\n');
    const std::string_view piece = block.substr(0, end);
    too_long = too_long || piece.size() > max_bytes_ - line.size();
    if (!too_long) line += piece;
    blocks_.take(end == std::string_view::npos ? block.size() : end + 1);
    if (end != std::string_view::npos) break;
  }
  if (!any) return Status::end;
  if (too_long) {
    line.clear();
    return Status::too_long;
  }
  if (line.ends_with('\r')) line.pop_back();
  return Status::line;
}

}  // namespace msa
