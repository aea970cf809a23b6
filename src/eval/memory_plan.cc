#include "eval/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/hash.h"
#include "base/random.h"

namespace msa::eval {
namespace {

constexpr uint64_t kProgressEvery = 1024;  // distractors
// Document numbers have 32 bits, and indices of documents share them here.
constexpr uint64_t kMostDocuments = uint64_t{1} << 31;

}  // namespace

MemoryPlanner::MemoryPlanner(const Exam& exam, CountTokens count, uint64_t seed)
    : exam_(exam), count_(std::move(count)), seed_(seed) {}

const SampleDocument& MemoryPlanner::document(uint64_t index) {
  if (index < exam_.documents.size()) return exam_.documents[index];
  const uint64_t distractor = index - exam_.documents.size();
  distractor_ = exam_.filler->distractor(distractor);
  distractor_.id = fmt::format("distractor/{}", distractor);
  return distractor_;
}

uint64_t MemoryPlanner::cost(uint64_t index, MemorySize::Unit unit) {
  if (unit == MemorySize::Unit::documents) return 1;
  if (index >= lengths_.size()) lengths_.resize(index + 1 + index / 2);
  if (lengths_[index] == 0)
    lengths_[index] =
        static_cast<uint32_t>(std::clamp<uint64_t>(count_(document(index), index), 1, UINT32_MAX));
  return lengths_[index];
}

uint64_t MemoryPlanner::cost_of(std::span<const uint32_t> documents, MemorySize::Unit unit) {
  uint64_t sum = 0;
  for (const uint32_t document : documents) sum += cost(document, unit);
  return sum;
}

Result<SizePlan> MemoryPlanner::plan(const MemorySize& size,
                                     const std::function<bool(uint64_t)>& progress) {
  const bool own = size.unit == MemorySize::Unit::own;
  const auto unit = own ? MemorySize::Unit::tokens : size.unit;
  const uint64_t most = own ? std::numeric_limits<uint64_t>::max() : size.amount;
  const Error stopped{Code::cancelled, "stopped while the memory was planned"};
  SizePlan result{size, {}, {}};

  uint64_t collection = 0;
  for (uint64_t i = 0; i < exam_.collection; ++i) {
    collection += cost(i, unit);
    if (i % kProgressEvery == 0 && progress && !progress(collection)) return stopped;
  }

  // Samples into memories. Several may share documents, which then count several times.
  struct Filling {
    std::vector<uint32_t> documents;
    MemoryPlan plan;
    uint64_t used;
  };
  std::vector<Filling> fillings;
  for (const ExamGroup& group : exam_.groups) {
    const uint64_t needed = cost_of(group.documents, unit);
    if (collection > most || needed > most - collection) {
      result.left_out.insert(result.left_out.end(), group.questions.begin(), group.questions.end());
      continue;
    }
    if (fillings.empty() || needed > most - fillings.back().used)
      fillings.push_back({{}, {}, collection});
    Filling& filling = fillings.back();
    filling.used += needed;
    filling.documents.insert(filling.documents.end(), group.documents.begin(),
                             group.documents.end());
    filling.plan.questions.insert(filling.plan.questions.end(), group.questions.begin(),
                                  group.questions.end());
  }

  for (Filling& filling : fillings) {
    std::ranges::sort(filling.documents);
    filling.documents.erase(std::unique(filling.documents.begin(), filling.documents.end()),
                            filling.documents.end());
    MemoryPlan& memory = filling.plan;
    for (uint64_t i = 0; i < exam_.collection; ++i) memory.documents.push_back(i);
    memory.documents.insert(memory.documents.end(), filling.documents.begin(),
                            filling.documents.end());
    uint64_t used = collection + cost_of(filling.documents, unit);
    for (uint64_t d = exam_.documents.size(); !own && exam_.filler; ++d) {
      const uint64_t needed = cost(d, unit);
      if (needed > most - used) break;
      if (memory.documents.size() >= kMostDocuments)
        return Error{Code::unsupported,
                     fmt::format("a memory of {} would have more than {} documents; use a smaller "
                                 "one",
                                 to_string(size), kMostDocuments)};
      used += needed;
      memory.documents.push_back(d);
      if ((d - exam_.documents.size()) % kProgressEvery == 0 && progress && !progress(used))
        return stopped;
    }
    memory.tokens = unit == MemorySize::Unit::tokens ? used : 0;
    if (unit != MemorySize::Unit::tokens)
      for (const uint64_t document : memory.documents)
        memory.tokens += cost(document, MemorySize::Unit::tokens);
    Random draw(seed_, hash64(fmt::format("{}/{}", to_string(size), result.memories.size())));
    draw.shuffle(memory.documents);
    result.memories.push_back(std::move(memory));
  }
  return result;
}

Result<std::optional<Document>> PlanSource::next() {
  if (given_ == plan_.documents.size()) return std::optional<Document>();
  const SampleDocument& from = planner_.document(plan_.documents[given_++]);
  Document document;
  document.id = from.id;
  document.title = from.title;
  document.text = from.text;
  document.source = from.id;
  document.char_end = from.text.size();
  return std::optional(std::move(document));
}

DocumentIds::DocumentIds(const Exam& exam) {
  for (uint32_t i = 0; i < exam.documents.size(); ++i)
    by_id_.emplace(exam.documents[i].id, exam.first_of_text[i]);
}

uint64_t DocumentIds::find(std::string_view id) const {
  if (const auto at = by_id_.find(id); at != by_id_.end()) return at->second;
  // A passage of a longer document: "id#3".
  const size_t mark = id.rfind('#');
  if (mark != id.npos && mark + 1 < id.size() &&
      id.find_first_not_of("0123456789", mark + 1) == id.npos)
    if (const auto at = by_id_.find(id.substr(0, mark)); at != by_id_.end()) return at->second;
  return UINT64_MAX;
}

}  // namespace msa::eval
