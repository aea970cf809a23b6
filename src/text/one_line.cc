#include "text/one_line.h"

#include "text/utf8.h"

namespace msa {

std::string one_line(std::string_view text, size_t longest) {
  const std::string_view head = text.substr(0, longest);
  const bool cut = head.size() < text.size();
  std::string line = clean_utf8(cut ? head.substr(0, complete_utf8_prefix(head)) : head).text;
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  if (cut) line += "...";
  return line;
}

}  // namespace msa
