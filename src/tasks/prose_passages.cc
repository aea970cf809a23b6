#include "tasks/prose_passages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "msa/document.h"
#include "tasks/factbook_letters.h"
#include "tasks/factbook_names.h"
#include "tasks/prose_facts.h"

namespace msa::prose {
namespace {

using factbook::invented_word;
using factbook::is_capitalized;
using factbook::is_digit;
using factbook::is_month;
using factbook::letter_at;
using factbook::lower;
using factbook::mix;
using factbook::number_end;
using factbook::word_end;

constexpr uint64_t kTestPercent = 15;
// A capitalized word in so few passages is a name that points to one.
constexpr uint32_t kRare = 4;

// Words of names that many share or that say what something is: they stay.
constexpr std::array<std::string_view, 48> kKept = {
    "The",      "And",         "Of",       "For",     "With",     "From",    "King",
    "Queen",    "Prince",      "Duke",     "Count",   "Earl",     "Lord",    "Lady",
    "Sir",      "Saint",       "Jr",       "Sr",      "III",      "VII",     "VIII",
    "XIII",     "XIV",         "Princess", "Duchess", "Countess", "Emperor", "Empress",
    "Archduke", "Archduchess", "Margrave", "Baron",   "Bishop",   "Pope",    "University",
    "School",   "River",       "Lake",     "Museum",  "Film",     "Album",   "Song",
    "Series",   "Island",      "Republic", "Church",  "College",  "Station"};

std::string base_name(std::string_view title) {
  const size_t bracket = title.rfind(" (");
  if (bracket == std::string_view::npos || bracket == 0 || !title.ends_with(')'))
    return std::string(title);
  return std::string(title.substr(0, bracket));
}

Error read_problem(std::string where, std::string_view what) {
  return Error{Code::corrupt, fmt::format("{}: {}; mend or leave out this passage", where, what)};
}

}  // namespace

Result<std::shared_ptr<const Passages>> Passages::load(
    const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files) {
  auto passages = std::make_shared<Passages>();
  std::vector<std::filesystem::path> paths = {folder / "wikipedia_passages.jsonl.zst"};
  paths.insert(paths.end(), files.begin(), files.end());
  for (size_t f = 0; f < paths.size(); ++f) {
    const std::string file = paths[f].string();
    std::optional<Error> problem;
    ReaderOptions reading;
    reading.on_problem = [&](const DocumentProblem& found) {
      if (!problem) problem = read_problem(found.where, found.what);
    };
    MSA_ASSIGN(const std::unique_ptr<DocumentSource> source, open_documents({paths[f]}, reading));
    const size_t before = passages->all_.size();
    for (;;) {
      MSA_ASSIGN(std::optional<Document> document, source->next());
      if (!document) break;
      if (document->title.empty())
        return read_problem(file, fmt::format("passage '{}' has no title", document->id));
      Passage passage;
      passage.name = base_name(document->title);
      passage.shipped = f == 0;
      passage.test = passage.shipped && hash64(document->title) % 100 < kTestPercent;
      passage.kind = passage.shipped ? std::string(subject_kind(document->text)) : file;
      passage.document = {std::move(document->title), std::move(document->text),
                          std::move(document->id)};
      passages->all_.push_back(std::move(passage));
    }
    if (problem) return *problem;
    if (passages->all_.size() == before)
      return Error{Code::corrupt,
                   fmt::format("{}: no passage in it; name a file that has some", file)};
  }

  std::unordered_map<std::string, uint32_t> count;
  for (const Passage& passage : passages->all_) ++count[passage.name];
  for (uint32_t i = 0; i < passages->all_.size(); ++i) {
    Passage& passage = passages->all_[i];
    if (count[passage.name] > 1) passage.name = passage.document.title;
    passages->by_name_.emplace(passage.name, i);
    if (passage.shipped) passages->collection_.push_back(passage.document);
    passages->by_kind_[passage.kind].push_back(i);
  }
  return std::shared_ptr<const Passages>(std::move(passages));
}

std::optional<uint32_t> Passages::find(std::string_view name) const {
  for (;;) {
    if (const auto found = by_name_.find(std::string(name)); found != by_name_.end())
      return found->second;
    const size_t space = name.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    // "King Frederick IV of Denmark".
    if (std::ranges::find(kKept, name.substr(0, space)) == kKept.end()) return std::nullopt;
    name.remove_prefix(space + 1);
  }
}

Renamer::Renamer(std::shared_ptr<const Passages> passages, Split split)
    : passages_(std::move(passages)), split_(split) {
  for (const Passage& passage : passages_->all()) {
    std::unordered_set<std::string_view> words;
    const std::string_view text = passage.document.text;
    for (size_t i = 0; i < text.size();) {
      const size_t end = word_end(text, i);
      if (end > i) words.insert(text.substr(i, end - i));
      i = std::max(end, i + 1);
    }
    for (const std::string_view word : words) ++frequency_[std::string(word)];
  }
  for (const Passage& passage : passages_->all()) {
    std::vector<std::string> subject;
    const std::string name = base_name(passage.document.title);
    for (size_t i = 0; i < name.size();) {
      const size_t end = word_end(name, i);
      const std::string word = name.substr(i, end - i);
      if (word.size() > 2 && is_capitalized(word) && std::ranges::find(kKept, word) == kKept.end())
        subject.push_back(word);
      i = std::max(end, i + 1);
    }
    Pieces pieces;
    pieces.renamable = !subject.empty();
    pieces.title = this->split(passage.document.title, subject);
    pieces.name = this->split(passage.name, subject);
    pieces.text = this->split(passage.document.text, subject);
    pieces_.push_back(std::move(pieces));
  }
}

bool Renamer::is_rare(std::string_view word) const {
  if (word.size() < 3 || !is_capitalized(word) || is_month(word)) return false;
  const auto found = frequency_.find(std::string(word));
  if (found != frequency_.end() && found->second > kRare) return false;
  return !frequency_.contains(lower(word));
}

std::vector<Renamer::Piece> Renamer::split(std::string_view text,
                                           const std::vector<std::string>& subject) const {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    std::optional<Kind> kind;
    if (is_digit(text[i])) {
      end = number_end(text, i);
      const std::string_view number = text.substr(i, end - i);
      const bool plain = std::ranges::all_of(number, is_digit);
      // "12th" and "20s" are not numbers of their own.
      if (end == text.size() || letter_at(text, end) == 0) {
        kind = Kind::number;
        if (plain && number.size() == 4 && (number[0] == '1' || number.starts_with("20")))
          kind = Kind::year;
        if (plain && number.size() <= 2) {
          const bool month_after =
              end + 1 < text.size() && text[end] == ' ' &&
              is_month(text.substr(end + 1, word_end(text, end + 1) - end - 1));
          const size_t space = i > 1 ? text.rfind(' ', i - 2) : std::string_view::npos;
          const size_t word = space == std::string_view::npos ? 0 : space + 1;
          const bool month_before =
              i > 1 && text[i - 1] == ' ' && is_month(text.substr(word, i - 1 - word));
          if (month_after || month_before) kind = Kind::day;
        }
      }
    } else if (letter_at(text, i) > 0) {
      end = word_end(text, i);
      const std::string_view word = text.substr(i, end - i);
      if (std::ranges::find(subject, word) != subject.end()) {
        kind = Kind::subject;
      } else if (is_rare(word)) {
        kind = Kind::rare;
      }
    }
    if (kind) pieces.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(end), *kind});
    i = end;
  }
  return pieces;
}

std::string Renamer::new_word(uint64_t seed, size_t length) const {
  for (uint64_t attempt = 0;; ++attempt) {
    std::string word = invented_word(mix(seed, attempt), length, split_);
    if (!frequency_.contains(word) && !frequency_.contains(lower(word))) return word;
  }
}

std::string Renamer::replaced(std::string_view text, const std::vector<Piece>& pieces,
                              uint64_t seed, bool deep) const {
  std::string result;
  size_t from = 0;
  for (const Piece& piece : pieces) {
    if (!deep && piece.kind != Kind::subject) continue;
    const std::string_view old = text.substr(piece.begin, piece.end - piece.begin);
    result += text.substr(from, piece.begin - from);
    from = piece.end;
    const uint64_t bits = mix(seed, hash64(old));
    switch (piece.kind) {
      case Kind::subject:
      case Kind::rare:
        result += factbook::in_case_of(old, new_word(mix(seed, hash64(lower(old))), old.size()));
        break;
      // All years move by as much, so that lives keep their length.
      case Kind::year:
        result += std::to_string(std::stoul(std::string(old)) - mix(seed, 5) % 60);
        break;
      case Kind::day: result += std::to_string(1 + bits % 28); break;
      case Kind::number:
        for (size_t i = 0; i < old.size(); ++i)
          result += is_digit(old[i]) ? static_cast<char>(i == 0 ? '1' + mix(bits, i) % 9
                                                                : '0' + mix(bits, i) % 10)
                                     : old[i];
        break;
    }
  }
  result += text.substr(from);
  return result;
}

std::optional<Renamer::Renamed> Renamer::rename(uint32_t passage, uint64_t seed, bool deep) const {
  const Passage& old = passages_->all()[passage];
  const Pieces& pieces = pieces_[passage];
  if (!pieces.renamable) return std::nullopt;
  Renamed renamed;
  renamed.document.title = replaced(old.document.title, pieces.title, seed, deep);
  renamed.document.text = replaced(old.document.text, pieces.text, seed, deep);
  renamed.name = replaced(old.name, pieces.name, seed, deep);
  return renamed;
}

}  // namespace msa::prose
