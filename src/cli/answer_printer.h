// An answer as people read it: streamed while it is generated, then the documents it rests on.
#pragma once

#include <string>

#include "cli/session.h"
#include "msa/msa.h"

namespace msa::cli {

class AnswerPrinter {
 public:
  explicit AnswerPrinter(Session& session) : session_(session) {}

  // For Engine::ask: prints the answer piece by piece and, on the status line, what the model looks
  // up. False (stop) once nobody reads the output.
  bool on_token(const TokenEvent& event);

  // After the last piece: ends the line, and prints the whole answer if it was not streamed.
  void finish(const Answer& answer);

 private:
  Session& session_;
  std::string looking_up_;
  bool printed_ = false;
};

// Number, title, source and text of each document that was handed to the model.
void print_citations(Session& session, const std::vector<Citation>& citations);

// The documents of each router layer and the overall ranking, with titles from `bank`.
void print_routing(Session& session, const Routing& routing, const Bank& bank);

// Where a document comes from, on one line: "notes/a.md, characters 0 to 512".
std::string describe_source(const std::string& source, uint64_t char_begin, uint64_t char_end);

// Why an answer ended early, or nothing to say.
void note_finish(Session& session, const Answer& answer, const AskOptions& options);

}  // namespace msa::cli
