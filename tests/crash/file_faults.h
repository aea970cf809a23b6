// A layer between the program and the kernel that sees every call by which files below one folder
// change, and can fail there, or end the process.
//
// Its functions have the names of those of the C library (open, pwrite, rename, …) and are linked
// into the test program. The program's own symbols come before those of any shared library, so that
// the calls SQLite makes come here, too. Changes through mapped memory are not seen: of a bank's
// files only SQLite's index of its log (-shm) changes that way, and it is never trusted after a
// crash.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace msa::crash {

// One call that changed something. Paths are relative to the watched folder, which is "" itself.
struct Change {
  enum class Kind {
    create_file,
    create_folder,
    write,
    truncate,
    sync,  // of a file or a folder
    rename,
    link,
    remove,
    acknowledge,  // not a call: acknowledge() said here that a commit had returned
  } kind = Kind::write;
  std::string path;
  std::string to;       // rename, link
  uint64_t offset = 0;  // write: where; truncate: the new size
  std::string bytes;    // write
};
const char* name_of(Change::Kind kind);
std::string describe(const Change& change);

// What happens at the `at`-th change, counted from 1.
struct Fault {
  enum class Kind {
    none,
    kill_before,  // the process ends before the call has any effect
    kill_within,  // a write: after half of its bytes. Any other call: as kill_before
    disk_full,    // half of a write is done; whatever needs room after that fails with ENOSPC
    error,        // this call alone fails, with EIO
  } kind = Kind::none;
  uint64_t at = 0;
};

// What a process that is killed leaves behind, in memory that it shares with its parent.
struct Counters {
  std::atomic<uint64_t> changes{0};       // calls so far
  std::atomic<uint64_t> acknowledged{0};  // commits that returned
};

// From now on changes below `folder`, an absolute path without symbolic links, are counted and met
// by `fault`. They are appended to `journal` if there is one. One at a time, one thread.
void watch(const std::filesystem::path& folder, const Fault& fault, Counters& counters,
           std::vector<Change>* journal);
// No faults any more; changes are still counted.
void lift_fault();
void stop_watching();

// Says that a commit has returned, to the counters and the journal.
void acknowledge();

}  // namespace msa::crash
