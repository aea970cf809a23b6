// Damage in SQLite's write-ahead log. Private to memory/.
//
// SQLite takes the first frame of the log whose checksum is wrong for the log's end, since a power
// cut leaves such frames behind. Where one was whole once, it and all commits behind it are lost to
// view without an error, which is what this looks for.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace msa {

// What is wrong with the log beside `catalogue`, if anything is for certain: its header or first
// bad frame is right but for one byte, or a commit stands behind the one that the bad frame belongs
// to, which is not begun before that is on the disk. Nothing if there is no log, or none that can
// be read.
std::optional<std::string> find_log_damage(const std::filesystem::path& catalogue);

}  // namespace msa
