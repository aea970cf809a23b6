#include "samples/sample.h"

#include <fmt/format.h>

#include <algorithm>

namespace msa {
namespace {

// What is wrong with the retrieval steps, if anything.
std::string steps_problem(const SampleQuestion& question, size_t documents) {
  if (question.steps.empty())
    return "it has no relevant documents; name at least one by its position, counted from 0";
  std::vector<uint32_t> named;
  for (size_t s = 0; s < question.steps.size(); ++s) {
    if (question.steps[s].empty())
      return fmt::format("step {} of its {} has no relevant document; name one or drop the step",
                         s + 1, question.steps.size());
    for (const uint32_t d : question.steps[s]) {
      if (d >= documents)
        return fmt::format(
            "document {} is relevant to it, but there are {}; positions are counted "
            "from 0",
            d, documents);
      named.push_back(d);
    }
  }
  std::sort(named.begin(), named.end());
  if (const auto twice = std::adjacent_find(named.begin(), named.end()); twice != named.end())
    return fmt::format("document {} is relevant to it twice; name it in one step, once", *twice);
  return {};
}

std::string question_problem(const SampleQuestion& question, size_t documents) {
  if (question.question.empty()) return "it has no text; write one";
  if (question.answer.empty()) return "its answer is empty; write one";
  const auto is_empty = [](const std::string& text) { return text.empty(); };
  if (std::any_of(question.accepted.begin(), question.accepted.end(), is_empty))
    return "one of its answers is empty; write it or leave it out";
  if (std::any_of(question.values.begin(), question.values.end(), is_empty))
    return "one of its values is empty; write it or leave it out";
  if (std::string problem = steps_problem(question, documents); !problem.empty()) return problem;
  if (question.values_in_reading_order &&
      (question.steps.size() != 1 || question.steps[0].size() != question.values.size()))
    return "its values are to be given in reading order, but not one document for each is relevant "
           "in one step; name as many documents as values, in their order";
  return {};
}

}  // namespace

std::string sample_problem(const Sample& sample) {
  for (size_t d = 0; d < sample.documents.size(); ++d)
    if (sample.documents[d].text.empty())
      return fmt::format("document {} of {} has no text; write one or leave the document out", d,
                         sample.documents.size());
  if (sample.questions.empty()) return "it has no question; add one";
  for (size_t q = 0; q < sample.questions.size(); ++q)
    if (const std::string what = question_problem(sample.questions[q], sample.documents.size());
        !what.empty())
      return fmt::format("question {}: {}", q + 1, what);
  return {};
}

}  // namespace msa
