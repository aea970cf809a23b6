// The questions of an evaluation and the documents that answer them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "msa/result.h"
#include "samples/sample.h"
#include "tasks/task.h"

namespace msa::eval {

struct ExamQuestion {
  std::string question;
  std::vector<std::vector<uint32_t>> steps;  // indices into Exam::documents
  std::vector<std::string> expected;         // the answer, then others that are right
  std::vector<std::string> values;
  std::string kind;   // may be empty
  std::string where;  // "encyclopaedia:93, question 2"
};

// Questions that share documents: a sample's.
struct ExamGroup {
  std::vector<uint32_t> documents;  // indices into Exam::documents, not those of the collection
  std::vector<uint32_t> questions;  // indices into Exam::questions
};

struct Exam {
  // All documents with known texts. Ids are unique, none is empty. The first `collection` of them
  // belong to every memory; a collection may hold a text several times, all others are there once.
  std::vector<SampleDocument> documents;
  size_t collection = 0;
  // For each document the first one of the same title and text (most often itself). Steps name
  // first ones: where the same text stands in two documents, either is right.
  std::vector<uint32_t> first_of_text;
  std::vector<ExamQuestion> questions;
  std::vector<ExamGroup> groups;
  // Makes what fills a memory up; may be null.
  std::shared_ptr<const Task> filler;
  std::string name;  // of the task or the files
};

struct ExamOptions {
  size_t questions = 100;
  // At most so many questions of one sample, drawn; 0: one where the task has a collection (samples
  // cost nothing then), else all.
  size_t per_sample = 0;
  uint64_t seed = 1;
};

// Takes questions from sample 0 on until there are enough.
Result<Exam> exam_from_task(std::shared_ptr<const Task> task, const ExamOptions& options);
// Takes the samples of JSON Lines files (samples/sample_source.h) in order. `filler` may be null;
// its collection is not used. A malformed line is an error that names file and line.
Result<Exam> exam_from_files(const std::vector<std::filesystem::path>& files,
                             std::shared_ptr<const Task> filler, const ExamOptions& options);

}  // namespace msa::eval
