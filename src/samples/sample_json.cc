#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "samples/sample_source.h"

namespace msa {
namespace {

using nlohmann::json;

// A value or key from a file, fit for a one-line message.
std::string printable(std::string_view text) {
  constexpr size_t kMostBytes = 40;
  std::string out;
  for (const char c : text) {
    if (out.size() >= kMostBytes) return out + "…";
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return out;
}

// What is wrong is thrown within this file and becomes an Error at its edge.
struct Problem {
  std::string what;
};
[[noreturn]] void fail(std::string what) {
  throw Problem{std::move(what)};
}

// Where in a line something is, for messages: "question 2: \"answer\"".
std::string key_of(const std::string& owner, std::string_view key) {
  return fmt::format("{}\"{}\"", owner, key);
}

void expect_type(const json& value, json::value_t type, const std::string& what) {
  if (value.type() == type) return;
  const std::string_view wanted = type == json::value_t::string  ? "a string"
                                  : type == json::value_t::array ? "a list"
                                                                 : "an object";
  fail(fmt::format("{} is {}, not {}; see the format of samples", what,
                   value.is_null() ? "null" : value.type_name(), wanted));
}

const std::string& string_in(const json& value, const std::string& what) {
  expect_type(value, json::value_t::string, what);
  return value.get_ref<const std::string&>();
}

void expect_keys(const json& object, const std::string& owner,
                 std::span<const std::string_view> known) {
  for (const auto& [key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      fail(fmt::format("{}unknown key \"{}\"; known are {}", owner, printable(key),
                       fmt::join(known, ", ")));
}

const json& needed(const json& object, const char* key, const std::string& owner) {
  const auto found = object.find(key);
  if (found == object.end()) fail(fmt::format("{} is missing; add it", key_of(owner, key)));
  return *found;
}

std::string optional_string(const json& object, const char* key, const std::string& owner) {
  const auto found = object.find(key);
  return found == object.end() ? std::string() : string_in(*found, key_of(owner, key));
}

std::vector<std::string> strings_in(const json& value, const std::string& what) {
  expect_type(value, json::value_t::array, what);
  std::vector<std::string> out;
  for (const json& entry : value) out.push_back(string_in(entry, "an entry of " + what));
  return out;
}

SampleDocument document_in(const json& value, size_t index) {
  if (value.is_string()) return {.title = {}, .text = value.get<std::string>(), .id = {}};
  const std::string owner = fmt::format("document {}: ", index);
  expect_type(value, json::value_t::object, fmt::format("document {}", index));
  static constexpr std::string_view kKeys[] = {"title", "text", "id"};
  expect_keys(value, owner, kKeys);
  return {.title = optional_string(value, "title", owner),
          .text = string_in(needed(value, "text", owner), key_of(owner, "text")),
          .id = optional_string(value, "id", owner)};
}

uint32_t index_in(const json& value, const std::string& what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > std::numeric_limits<uint32_t>::max())
    fail(fmt::format("{} holds {}, which is no position of a document; use whole numbers from 0",
                     what, printable(value.dump(-1, ' ', false, json::error_handler_t::replace))));
  return value.get<uint32_t>();
}

// [3, 4] is one step, [[3], [4]] are two.
std::vector<std::vector<uint32_t>> steps_in(const json& value, const std::string& what) {
  expect_type(value, json::value_t::array, what);
  std::vector<std::vector<uint32_t>> steps;
  if (value.empty()) return steps;
  if (!value[0].is_array()) {
    std::vector<uint32_t>& step = steps.emplace_back();
    for (const json& entry : value) step.push_back(index_in(entry, what));
    return steps;
  }
  for (const json& list : value) {
    expect_type(list, json::value_t::array, "an entry of " + what);
    std::vector<uint32_t>& step = steps.emplace_back();
    for (const json& entry : list) step.push_back(index_in(entry, what));
  }
  return steps;
}

SampleQuestion question_in(const json& object, const std::string& owner) {
  SampleQuestion question;
  question.question = string_in(needed(object, "question", owner), key_of(owner, "question"));
  question.steps = steps_in(needed(object, "relevant", owner), key_of(owner, "relevant"));
  const json& answer = needed(object, "answer", owner);
  if (answer.is_array()) {
    question.accepted = strings_in(answer, key_of(owner, "answer"));
    if (question.accepted.empty())
      fail(fmt::format("{} is an empty list; write an answer", key_of(owner, "answer")));
    question.answer = std::move(question.accepted.front());
    question.accepted.erase(question.accepted.begin());
  } else {
    question.answer = string_in(answer, key_of(owner, "answer"));
  }
  if (const auto values = object.find("values"); values != object.end())
    question.values = strings_in(*values, key_of(owner, "values"));
  if (const auto as_read = object.find("values_in_reading_order"); as_read != object.end()) {
    expect_type(*as_read, json::value_t::boolean, key_of(owner, "values_in_reading_order"));
    question.values_in_reading_order = as_read->get<bool>();
  }
  question.kind = optional_string(object, "kind", owner);
  return question;
}

Sample sample_in(const json& line) {
  Sample sample;
  expect_type(line, json::value_t::object, "the line");
  const bool several = line.contains("questions");
  static constexpr std::string_view kOne[] = {
      "documents", "question", "relevant", "answer", "values", "values_in_reading_order", "kind"};
  static constexpr std::string_view kSeveral[] = {"documents", "questions"};
  expect_keys(line, "", several ? std::span<const std::string_view>(kSeveral) : kOne);
  const json& documents = needed(line, "documents", "");
  expect_type(documents, json::value_t::array, "\"documents\"");
  for (const json& document : documents)
    sample.documents.push_back(document_in(document, sample.documents.size()));
  if (!several) {
    sample.questions.push_back(question_in(line, ""));
    return sample;
  }
  const json& questions = line["questions"];
  expect_type(questions, json::value_t::array, "\"questions\"");
  static constexpr auto kQuestion = std::span(kOne).subspan(1);
  for (const json& question : questions) {
    const std::string name = fmt::format("question {}", sample.questions.size() + 1);
    expect_type(question, json::value_t::object, name);
    expect_keys(question, name + ": ", kQuestion);
    sample.questions.push_back(question_in(question, name + ": "));
  }
  return sample;
}

// No sample nests as deep.
constexpr int kMostDepth = 8;

// The parsed text. A key that is twice in an object is an error: the library would keep one value
// and say nothing.
json parse(std::string_view text) {
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kMostDepth)
      fail("its lists and objects nest deeper than a sample's; see the format of samples");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key &&
        !keys.back().insert(value.get_ref<const std::string&>()).second)
      fail(fmt::format("the key \"{}\" is twice in one object; keep one of them",
                       printable(value.get_ref<const std::string&>())));
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& problem) {
    const auto* at = dynamic_cast<const json::parse_error*>(&problem);
    // Bytes count from 1, and the end of the text is one behind its last.
    if (at != nullptr && at->byte > text.size())
      fail(fmt::format("it ends after {} bytes in the middle of a JSON value; complete it",
                       text.size()));
    fail(fmt::format("it is not JSON in UTF-8 from byte {} on; write one JSON object per line",
                     at != nullptr && at->byte > 0 ? at->byte - 1 : 0));
  }
}

json json_of(const SampleQuestion& question) {
  json out = {{"question", question.question}};
  if (question.steps.size() == 1)
    out["relevant"] = question.steps[0];
  else
    out["relevant"] = question.steps;
  if (question.accepted.empty()) {
    out["answer"] = question.answer;
  } else {
    out["answer"] = json::array({question.answer});
    for (const std::string& accepted : question.accepted) out["answer"].push_back(accepted);
  }
  if (!question.values.empty()) out["values"] = question.values;
  if (question.values_in_reading_order) out["values_in_reading_order"] = true;
  if (!question.kind.empty()) out["kind"] = question.kind;
  return out;
}

}  // namespace

Result<Sample> parse_sample(std::string_view line, std::string where) {
  Sample sample;
  std::string problem;
  try {
    sample = sample_in(parse(line));
    problem = sample_problem(sample);
  } catch (const Problem& found) {
    problem = found.what;
  }
  if (!problem.empty()) return Error{Code::corrupt, fmt::format("{}: {}", where, problem)};
  sample.where = std::move(where);
  return sample;
}

std::string write_sample(const Sample& sample) {
  json line = json::object();
  if (sample.questions.size() == 1) {
    line = json_of(sample.questions[0]);
  } else {
    line["questions"] = json::array();
    for (const SampleQuestion& question : sample.questions)
      line["questions"].push_back(json_of(question));
  }
  line["documents"] = json::array();
  for (const SampleDocument& document : sample.documents) {
    json entry = {{"text", document.text}};
    if (!document.title.empty()) entry["title"] = document.title;
    if (!document.id.empty()) entry["id"] = document.id;
    line["documents"].push_back(std::move(entry));
  }
  // What is not UTF-8 becomes U+FFFD, as everywhere.
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace msa
