#include "tasks/train_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/files.h"
#include "text/prompt.h"

namespace msa {
namespace {

constexpr size_t kMostNamesBytes = size_t{16} << 20;
constexpr uint64_t kMostWeight = 1'000'000;

using Names = std::set<std::string, std::less<>>;

Result<Names> read_names(const std::filesystem::path& file) {
  Names names;
  if (file.empty()) return names;
  MSA_ASSIGN(const std::string text, read_file(file, kMostNamesBytes));
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) names.emplace(line);
    begin = end + 1;
  }
  if (names.empty())
    return Error{
        Code::invalid_argument,
        fmt::format("{}: has no names; name a file with one on each line, or none", file.string())};
  return names;
}

bool is_held_out(const Names& names, std::string_view title) {
  if (names.contains(title)) return true;
  for (size_t at = title.find(':'); at != std::string_view::npos; at = title.find(':', at + 1))
    if (names.contains(title.substr(0, at))) return true;
  return false;
}

}  // namespace

Result<TokenizerTexts> parse_tokenizer_texts(std::string_view argument) {
  TokenizerTexts texts;
  const auto bad = [&](std::string_view setting) {
    return Error{Code::invalid_argument,
                 fmt::format("'{}': '@{}' is not @first=N or @weight=N with N from 1 (weights up "
                             "to {}); write PATH, PATH@first=1000 or PATH@weight=10",
                             argument, setting, kMostWeight)};
  };
  std::string_view rest = argument;
  for (;;) {
    const size_t at = rest.rfind('@');
    if (at == std::string_view::npos) break;
    const std::string_view setting = rest.substr(at + 1);
    const bool first = setting.starts_with("first="), weight = setting.starts_with("weight=");
    if (!first && !weight) break;  // a path may hold the sign
    const std::string_view number = setting.substr(setting.find('=') + 1);
    uint64_t value = 0;
    const auto [end, problem] =
        std::from_chars(number.data(), number.data() + number.size(), value);
    if (problem != std::errc() || end != number.data() + number.size() || value == 0 ||
        (weight && value > kMostWeight))
      return bad(setting);
    (first ? texts.first : texts.weight) = value;
    rest = rest.substr(0, at);
  }
  if (rest.empty())
    return Error{
        Code::invalid_argument,
        fmt::format("'{}': has no path; write PATH, PATH@first=1000 or PATH@weight=10", argument)};
  texts.path = rest;
  return texts;
}

Result<BpeSummary> train_tokenizer(const TokenizerTraining& training,
                                   const std::filesystem::path& file) {
  MSA_ASSIGN(const Names held_out, read_names(training.held_out));
  MSA_ASSIGN(BpeTrainer trainer, BpeTrainer::create(training.bpe));
  ReaderOptions reading;
  reading.on_problem = training.on_problem;
  for (const TokenizerTexts& texts : training.texts) {
    MSA_ASSIGN(const std::unique_ptr<DocumentSource> source, open_documents({texts.path}, reading));
    for (uint64_t read = 0; texts.first == 0 || read < texts.first; ++read) {
      MSA_ASSIGN(const std::optional<Document> document, source->next());
      if (!document) break;
      if (!is_held_out(held_out, document->title))
        trainer.add(document_text(document->title, document->text), texts.weight);
    }
  }
  return trainer.write(file);
}

}  // namespace msa
