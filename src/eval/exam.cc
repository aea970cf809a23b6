#include "eval/exam.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "samples/sample_source.h"

namespace msa::eval {
namespace {

constexpr size_t kMostFileBytes = size_t{4} << 30;
// A maker that gives no question in so many samples running gives none at all.
constexpr uint64_t kMostEmptySamples = 10'000;
constexpr uint64_t kQuestionStream = 1;

uint64_t text_hash(const SampleDocument& document) {
  Hasher hasher;
  hasher.add_number(document.title.size());
  hasher.add(document.title);
  hasher.add(document.text);
  return hasher.digest();
}

class Builder {
 public:
  Builder(Exam exam, const ExamOptions& options) : exam_(std::move(exam)), options_(options) {}

  void add_collection(const std::vector<SampleDocument>& documents) {
    for (const SampleDocument& document : documents) {
      const uint64_t hash = text_hash(document);
      const std::optional<uint32_t> first = find_text(document, hash);
      insert(document, hash, first.value_or(next_index()));
    }
    exam_.collection = exam_.documents.size();
  }

  bool is_full() const { return exam_.questions.size() >= options_.questions; }

  // Takes the documents of the sample and some of its questions; false if it has none.
  bool add_sample(const Sample& sample, uint64_t index) {
    if (sample.questions.empty()) return false;
    std::vector<uint32_t> at;
    for (const SampleDocument& document : sample.documents) at.push_back(add_document(document));

    size_t count = options_.per_sample > 0 ? options_.per_sample
                   : exam_.collection > 0  ? 1
                                           : sample.questions.size();
    count = std::min({count, sample.questions.size(), options_.questions - exam_.questions.size()});
    std::vector<size_t> chosen(sample.questions.size());
    std::iota(chosen.begin(), chosen.end(), size_t{0});
    Random draw(options_.seed ^ index, kQuestionStream);
    draw.shuffle(chosen);
    chosen.resize(count);
    std::ranges::sort(chosen);

    ExamGroup group;
    for (const size_t q : chosen) {
      const SampleQuestion& from = sample.questions[q];
      ExamQuestion question{from.question, {}, {from.answer}, from.values, from.kind, {}};
      question.where = sample.questions.size() == 1
                           ? sample.where
                           : fmt::format("{}, question {}", sample.where, q + 1);
      question.expected.insert(question.expected.end(), from.accepted.begin(), from.accepted.end());
      for (const std::vector<uint32_t>& step : from.steps) {
        std::vector<uint32_t>& documents = question.steps.emplace_back();
        for (const uint32_t document : step) documents.push_back(at[document]);
      }
      group.questions.push_back(static_cast<uint32_t>(exam_.questions.size()));
      exam_.questions.push_back(std::move(question));
    }
    std::erase_if(at, [&](uint32_t document) { return document < exam_.collection; });
    std::ranges::sort(at);
    at.erase(std::unique(at.begin(), at.end()), at.end());
    group.documents = std::move(at);
    exam_.groups.push_back(std::move(group));
    return true;
  }

  Exam take() { return std::move(exam_); }

 private:
  uint32_t next_index() const { return static_cast<uint32_t>(exam_.documents.size()); }

  // The first document of this title and text.
  std::optional<uint32_t> find_text(const SampleDocument& document, uint64_t hash) const {
    for (auto [at, end] = by_text_.equal_range(hash); at != end; ++at) {
      const SampleDocument& known = exam_.documents[at->second];
      if (known.title == document.title && known.text == document.text) return at->second;
    }
    return std::nullopt;
  }

  // An id that stands for another document already gets a new ending.
  void insert(SampleDocument document, uint64_t hash, uint32_t first) {
    if (document.id.empty()) document.id = "text-" + to_hex(hash);
    for (const std::string wanted = document.id; by_id_.contains(document.id);)
      document.id = fmt::format("{}~{}", wanted, ++renamed_);
    if (first == next_index()) by_text_.emplace(hash, first);
    by_id_.emplace(document.id, next_index());
    exam_.first_of_text.push_back(first);
    exam_.documents.push_back(std::move(document));
  }

  // The index of `document`, which is new or the same text as one that is there. A document of the
  // collection is known by its id alone, for makers may shorten it.
  uint32_t add_document(const SampleDocument& document) {
    if (!document.id.empty()) {
      const auto known = by_id_.find(document.id);
      if (known != by_id_.end() && known->second < exam_.collection)
        return exam_.first_of_text[known->second];
    }
    const uint64_t hash = text_hash(document);
    if (const std::optional<uint32_t> known = find_text(document, hash)) return *known;
    insert(document, hash, next_index());
    return next_index() - 1;
  }

  Exam exam_;
  const ExamOptions& options_;
  std::unordered_map<std::string, uint32_t> by_id_;
  std::unordered_multimap<uint64_t, uint32_t> by_text_;  // first ones
  uint64_t renamed_ = 0;
};

}  // namespace

Result<Exam> exam_from_task(std::shared_ptr<const Task> task, const ExamOptions& options) {
  Exam exam;
  exam.name = task->name();
  exam.filler = task;
  Builder builder(std::move(exam), options);
  builder.add_collection(task->collection());
  uint64_t empty = 0;
  for (uint64_t index = 0; !builder.is_full(); ++index) {
    const Sample sample = task->sample(index);
    if (const std::string problem = sample.questions.empty() ? "" : sample_problem(sample);
        !problem.empty())
      return Error{Code::internal, fmt::format("{}: {}", sample.where, problem)};
    empty = builder.add_sample(sample, index) ? 0 : empty + 1;
    if (empty > kMostEmptySamples)
      return Error{Code::invalid_argument,
                   fmt::format("task {}: {} samples without a question; change its settings",
                               task->name(), empty)};
  }
  return builder.take();
}

Result<Exam> exam_from_files(const std::vector<std::filesystem::path>& files,
                             std::shared_ptr<const Task> filler, const ExamOptions& options) {
  Exam exam;
  exam.filler = std::move(filler);
  for (const std::filesystem::path& file : files)
    exam.name += (exam.name.empty() ? "" : ", ") + file.string();
  Builder builder(std::move(exam), options);
  uint64_t index = 0;
  for (const std::filesystem::path& file : files) {
    MSA_ASSIGN(const std::string text, read_file(file, kMostFileBytes));
    std::string_view rest = text;
    if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
    bool any = false;
    for (uint64_t line_number = 1; !rest.empty() && !builder.is_full(); ++line_number) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      MSA_ASSIGN(const Sample sample,
                 parse_sample(line, fmt::format("{}:{}", file.string(), line_number)));
      builder.add_sample(sample, index++);
      any = true;
    }
    if (!any && !builder.is_full())
      return Error{
          Code::invalid_argument,
          fmt::format("{}: holds no samples; write one JSON object per line", file.string())};
  }
  return builder.take();
}

}  // namespace msa::eval
