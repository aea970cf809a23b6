// Passages of encyclopaedias and manuals: reading them, and giving them other names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "msa/result.h"
#include "samples/sample.h"
#include "tasks/task.h"

namespace msa::prose {

struct Passage {
  SampleDocument document;
  std::string name;      // what questions call it: the title, without "(film)" where that is enough
  std::string kind;      // "film", "politician"; for passages of further files, the file
  bool test = false;     // held out
  bool shipped = false;  // of the collection, not of further files
};

// One passage that says who something of another is: "the director of …".
struct Link {
  uint32_t from, to;  // passages
};

// Immutable.
class Passages {
 public:
  // Reads wikipedia_passages.jsonl.zst in `folder` and `files`, whose passages are never held out.
  // A passage without a title is `corrupt`.
  static Result<std::shared_ptr<const Passages>> load(
      const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files);

  const std::vector<Passage>& all() const { return all_; }
  const std::vector<SampleDocument>& collection() const { return collection_; }
  // The passage with this name, titles of honour before it passed over; nothing if there is none.
  std::optional<uint32_t> find(std::string_view name) const;
  // Passages of the same kind, this one included.
  const std::vector<uint32_t>& alike(uint32_t passage) const {
    return by_kind_.at(all_[passage].kind);
  }

 private:
  std::vector<Passage> all_;
  std::vector<SampleDocument> collection_;
  std::unordered_map<std::string, uint32_t> by_name_;
  std::unordered_map<std::string, std::vector<uint32_t>> by_kind_;
};

// Immutable.
class Renamer {
 public:
  Renamer(std::shared_ptr<const Passages> passages, Split split);

  struct Renamed {
    SampleDocument document;  // without id
    std::string name;
  };
  // The passage with another name for its subject, throughout; `deep`: with other dates, numbers
  // and rare names too. Nothing if the name has no word that can be replaced.
  std::optional<Renamed> rename(uint32_t passage, uint64_t seed, bool deep) const;

  // Whether so few passages have the word that it points to one.
  bool is_rare(std::string_view word) const;

 private:
  enum class Kind : uint8_t { subject, rare, year, number, day };
  struct Piece {
    uint32_t begin, end;
    Kind kind;
  };
  struct Pieces {
    std::vector<Piece> title, name, text;
    bool renamable = false;
  };

  std::vector<Piece> split(std::string_view text, const std::vector<std::string>& subject) const;
  // An invented word that no passage has.
  std::string new_word(uint64_t seed, size_t length) const;
  std::string replaced(std::string_view text, const std::vector<Piece>& pieces, uint64_t seed,
                       bool deep) const;

  std::shared_ptr<const Passages> passages_;
  Split split_;
  std::unordered_map<std::string, uint32_t> frequency_;  // passages that have the word
  std::vector<Pieces> pieces_;
};

}  // namespace msa::prose
