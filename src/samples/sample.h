// One training or evaluation sample: documents, and questions about them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace msa {

struct SampleDocument {
  std::string title;  // may be empty
  std::string text;
  std::string id;  // may be empty; two documents of the same title and text are one document
};

struct SampleQuestion {
  std::string question;
  // Documents (indices into Sample::documents) that each retrieval step should bring, in order:
  // one step for one hop, two for a question whose first document leads to the second. Never empty,
  // no step is empty, and no document is in two steps.
  std::vector<std::vector<uint32_t>> steps;
  std::string answer;                 // what the model is trained to say
  std::vector<std::string> accepted;  // other answers that count as right
  // All of these must occur in the answer (needle tasks with several values); empty: `answer`.
  std::vector<std::string> values;
  std::string kind;  // "needle-mk2", "capital/two-hop": results are reported per kind
  // values[i] stands in document i of the only step, and any order of them is a right answer: the
  // model is trained to give them in the order in which it reads the documents.
  bool values_in_reading_order = false;
};

struct Sample {
  std::vector<SampleDocument> documents;
  std::vector<SampleQuestion> questions;
  std::string where;  // "train.jsonl:17" or "encyclopaedia:93", for messages
  // Overrides BatchOptions::reading_share for this sample, if its source says so.
  std::optional<double> reading_share;
};

// What keeps the sample from being used ("question 2: its step 1 names document 7 of 5; …"), worded
// to stand behind `where`; empty if it is as described above, with at least one question and no
// empty text, question, answer, accepted answer or value.
std::string sample_problem(const Sample& sample);

}  // namespace msa
