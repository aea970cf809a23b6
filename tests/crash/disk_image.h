// What a disk holds when the power goes: of all that was written, what was synced for certain, and
// of the rest any part.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "crash/file_faults.h"

namespace msa::crash {

// What becomes of changes that were not synced. The rules are those of POSIX, not the kinder ones
// of some file system: syncing a file makes its bytes durable, syncing a folder the names in it,
// and neither does the other's work. Names of one folder become durable in their order, bytes of a
// file sector by sector in any order.
enum class Unsynced {
  all_lost,
  names_lost,  // bytes are there
  bytes_lost,  // names are there: a file may be empty
  any,         // some of both, by chance
  all_kept,    // as if only the process had ended
};
inline constexpr Unsynced kEveryUnsynced[] = {Unsynced::all_lost, Unsynced::names_lost,
                                              Unsynced::bytes_lost, Unsynced::any,
                                              Unsynced::all_kept};
const char* name_of(Unsynced unsynced);

class DiskImage {
 public:
  DiskImage() = default;
  DiskImage(DiskImage&&) = default;
  DiskImage& operator=(DiskImage&&) = default;

  // The folder as it is, all of it durable.
  static DiskImage read(const std::filesystem::path& folder);

  void apply(const Change& change);
  // Makes `folder`, which must not be there, as the disk may be now.
  void write_to(const std::filesystem::path& folder, Unsynced unsynced, std::mt19937& random) const;
  // Every file that the running system sees, by path.
  std::map<std::string, std::string> files() const;

 private:
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  // A name that comes (with its node) or goes (without).
  struct NameChange {
    std::string name;
    NodePtr node;
  };
  struct Piece {
    uint64_t offset = 0;
    std::string bytes;
    bool truncate = false;  // to `offset`
  };
  struct Node {
    bool folder = false;
    // Of a file: as it is, as it is durable, and what lies between the two.
    std::string bytes, durable;
    std::vector<Piece> unsynced;
    // Of a folder. The changes of one call stand together.
    std::map<std::string, NodePtr> names, durable_names;
    std::vector<std::vector<NameChange>> unsynced_names;
  };
  struct Place {
    NodePtr folder;
    std::string name;
  };
  static NodePtr read_node(const std::filesystem::path& path);
  static void change_names(std::map<std::string, NodePtr>& names,
                           const std::vector<NameChange>& changes);
  static void put(std::string& bytes, const Piece& piece);
  static void write_node(const Node& node, const std::filesystem::path& path, Unsynced unsynced,
                         std::mt19937& random);
  static std::string durable_bytes(const Node& node, Unsynced unsynced, std::mt19937& random);
  static void collect(const Node& node, const std::string& path,
                      std::map<std::string, std::string>& files);

  NodePtr find(const std::string& path) const;
  Place place(const std::string& path) const;
  void change(const Place& place, std::vector<NameChange> changes);

  NodePtr root_;
};

}  // namespace msa::crash
