#include "crash/disk_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "base/test_folder.h"

namespace msa::crash {

namespace fs = std::filesystem;

const char* name_of(Unsynced unsynced) {
  switch (unsynced) {
    case Unsynced::all_lost: return "all unsynced lost";
    case Unsynced::names_lost: return "unsynced names lost";
    case Unsynced::bytes_lost: return "unsynced bytes lost";
    case Unsynced::any: return "some of the unsynced lost";
    case Unsynced::all_kept: return "all unsynced kept";
  }
  return "?";
}

DiskImage DiskImage::read(const fs::path& folder) {
  DiskImage image;
  image.root_ = read_node(folder);
  return image;
}

DiskImage::NodePtr DiskImage::read_node(const fs::path& path) {
  auto node = std::make_shared<Node>();
  node->folder = fs::is_directory(path);
  if (!node->folder) {
    node->bytes = node->durable = TestFolder::get(path);
    return node;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(path))
    node->names[entry.path().filename().string()] = read_node(entry.path());
  node->durable_names = node->names;
  return node;
}

DiskImage::NodePtr DiskImage::find(const std::string& path) const {
  NodePtr node = root_;
  for (const fs::path& part : fs::path(path)) {
    const auto there = node->names.find(part.string());
    if (there == node->names.end())
      throw std::logic_error(fmt::format("the journal names '{}', which is not there", path));
    node = there->second;
  }
  return node;
}

DiskImage::Place DiskImage::place(const std::string& path) const {
  const fs::path whole(path);
  return {find(whole.parent_path().string()), whole.filename().string()};
}

void DiskImage::change_names(std::map<std::string, NodePtr>& names,
                             const std::vector<NameChange>& changes) {
  for (const NameChange& change : changes) {
    if (change.node)
      names[change.name] = change.node;
    else
      names.erase(change.name);
  }
}

void DiskImage::change(const Place& place, std::vector<NameChange> changes) {
  change_names(place.folder->names, changes);
  place.folder->unsynced_names.push_back(std::move(changes));
}

void DiskImage::put(std::string& bytes, const Piece& piece) {
  if (piece.truncate) {
    bytes.resize(piece.offset);
    return;
  }
  if (bytes.size() < piece.offset + piece.bytes.size())
    bytes.resize(piece.offset + piece.bytes.size());
  bytes.replace(piece.offset, piece.bytes.size(), piece.bytes);
}

void DiskImage::apply(const Change& c) {
  switch (c.kind) {
    case Change::Kind::acknowledge: return;
    case Change::Kind::create_file:
    case Change::Kind::create_folder: {
      auto node = std::make_shared<Node>();
      node->folder = c.kind == Change::Kind::create_folder;
      const Place at = place(c.path);
      return change(at, {{at.name, node}});
    }
    case Change::Kind::write:
    case Change::Kind::truncate: {
      Node& file = *find(c.path);
      const Piece piece{c.offset, c.bytes, c.kind == Change::Kind::truncate};
      put(file.bytes, piece);
      file.unsynced.push_back(piece);
      return;
    }
    case Change::Kind::sync: {
      Node& node = *find(c.path);
      node.durable = node.bytes;
      node.unsynced.clear();
      node.durable_names = node.names;
      node.unsynced_names.clear();
      return;
    }
    case Change::Kind::rename: {
      const NodePtr node = find(c.path);
      const Place from = place(c.path), to = place(c.to);
      if (from.folder == to.folder) return change(from, {{from.name, nullptr}, {to.name, node}});
      // The harder case for the program: the two folders know nothing of each other.
      change(from, {{from.name, nullptr}});
      return change(to, {{to.name, node}});
    }
    case Change::Kind::link: {
      const Place to = place(c.to);
      return change(to, {{to.name, find(c.path)}});
    }
    case Change::Kind::remove: {
      const Place at = place(c.path);
      return change(at, {{at.name, nullptr}});
    }
  }
}

std::string DiskImage::durable_bytes(const Node& node, Unsynced unsynced, std::mt19937& random) {
  constexpr uint64_t kSector = 512;
  if (unsynced == Unsynced::any) {
    // Often a file is whole or untouched; between the two everything is possible.
    switch (random() % 4) {
      case 0: return node.durable;
      case 1: return node.bytes;
      default: break;
    }
    std::string bytes = node.durable;
    for (const Piece& piece : node.unsynced) {
      if (piece.truncate) {
        if (random() % 2 == 0) put(bytes, piece);
        continue;
      }
      for (uint64_t at = 0; at < piece.bytes.size();) {
        const uint64_t length =
            std::min(kSector - (piece.offset + at) % kSector, piece.bytes.size() - at);
        if (random() % 2 == 0) put(bytes, {piece.offset + at, piece.bytes.substr(at, length)});
        at += length;
      }
    }
    return bytes;
  }
  return unsynced == Unsynced::all_lost || unsynced == Unsynced::bytes_lost ? node.durable
                                                                            : node.bytes;
}

void DiskImage::write_node(const Node& node, const fs::path& path, Unsynced unsynced,
                           std::mt19937& random) {
  if (!node.folder) {
    const std::string bytes = durable_bytes(node, unsynced, random);
    std::ofstream out(path, std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
    return;
  }
  fs::create_directory(path);
  std::map<std::string, NodePtr> names = node.durable_names;
  size_t kept = node.unsynced_names.size();
  if (unsynced == Unsynced::all_lost || unsynced == Unsynced::names_lost) kept = 0;
  if (unsynced == Unsynced::any) kept = random() % (kept + 1);
  for (size_t i = 0; i < kept; ++i) change_names(names, node.unsynced_names[i]);
  for (const auto& [name, child] : names) write_node(*child, path / name, unsynced, random);
}

void DiskImage::write_to(const fs::path& folder, Unsynced unsynced, std::mt19937& random) const {
  write_node(*root_, folder, unsynced, random);
}

void DiskImage::collect(const Node& node, const std::string& path,
                        std::map<std::string, std::string>& files) {
  if (!node.folder) files[path] = node.bytes;
  for (const auto& [name, child] : node.names)
    collect(*child, path.empty() ? name : std::string(path).append("/").append(name), files);
}

std::map<std::string, std::string> DiskImage::files() const {
  std::map<std::string, std::string> files;
  collect(*root_, "", files);
  return files;
}

}  // namespace msa::crash
