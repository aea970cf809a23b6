// Samples as token sequences, packed for one training step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "msa/result.h"
#include "samples/sample.h"
#include "samples/sample_source.h"
#include "text/tokenizer.h"

namespace msa {

// What a labelled token is part of; losses are reported per kind.
enum class LabelKind : uint8_t { number, answer, text };

// One step's worth, concatenated. "Query" is one sequence that reads the memory: the question block
// and what follows it up to the end of its target (one retrieval step of one question).
struct Batch {
  std::vector<TokenId> prefix;  // the template prefix, T0 tokens

  // N documents. Those of one group form one memory; a query routes among its group's documents.
  std::vector<TokenId> doc_tokens;       // concatenated, each `<|im_start|>[n]. x[n]<|im_end|>`
  std::vector<int32_t> doc_starts;       // N+1, into doc_tokens
  std::vector<int32_t> doc_group;        // N
  std::vector<uint32_t> doc_number;      // N, the n each was numbered with
  std::vector<uint64_t> doc_subject;     // N, what each is about: a hash, below 2^48, of its title
                                         // or, where it has none, of its first words
  std::vector<float> doc_label_weights;  // per token: weight of predicting the one after it, as
                                         // language model; empty: no loss on documents

  // Q queries, without the prefix. Positions start at T0 + k.
  std::vector<TokenId> query_tokens;
  std::vector<int32_t> query_starts;  // Q+1
  std::vector<int32_t> query_group;   // Q; -1: sees no documents
  std::vector<uint8_t> routes;        // per token: whether it routes
  std::vector<TokenId> labels;        // per token: the token that should follow it; -1: no loss
  std::vector<float> label_weights;   // per token; 0 where there is no label
  std::vector<LabelKind> label_kinds;

  // The documents (0..N-1) that query q should route to:
  // relevant[relevant_starts[q] .. relevant_starts[q+1]), ascending.
  std::vector<int32_t> relevant_starts;  // Q+1
  std::vector<int32_t> relevant;
  // Documents whose texts stand in query q, by numbers as in `relevant`; may be empty altogether.
  std::vector<int32_t> handed_over_starts;  // Q+1
  std::vector<int32_t> handed_over;
  // Q, or empty: of a query whose number labels name one of several relevant documents, that one;
  // else -1. The labels are worth learning only where it is the one that the query attends to.
  std::vector<int32_t> named;

  // How many samples it holds, and how many were passed over while it was made, as too long.
  size_t samples = 0, samples_skipped = 0;

  size_t documents() const { return doc_starts.empty() ? 0 : doc_starts.size() - 1; }
  size_t queries() const { return query_starts.empty() ? 0 : query_starts.size() - 1; }
  size_t tokens() const { return doc_tokens.size() + query_tokens.size(); }
};

struct BatchOptions {
  size_t documents = 64;  // at least so many per step, if the samples bring them …
  size_t tokens = 8192;   // … and never more tokens, all together, than this
  // Longer documents are cut at a token, the number at the end kept. What is handed over of one
  // ends there too: the engine hands over passages, which are no longer than what it encoded.
  size_t max_document_tokens = 512;
  // The longest sequence that the model takes, the prefix in front of a query counted. Documents
  // are cut to it; a sample with a longer query is too long. 0: any that fits into a batch.
  size_t max_sequence_tokens = 0;
  // Whether all documents of a step form one memory (every question has all others' documents as
  // negatives), or each sample its own.
  bool share_documents = true;
  // Documents get random numbers below 10^digits, digits uniform in [1, max_number_digits], all
  // different within a step (more digits where these run out).
  size_t max_number_digits = 7;
  // Weights of the labels of each kind. The steps of a question become queries of their own, with
  // number labels; one more query, after the texts of all documents, has the answer labels:
  // `<End-of-Retrieve>` and, behind the answer request, the answer. Text labels are on all other
  // tokens.
  float number_weight = 1, answer_weight = 1, text_weight = 0;
  float document_weight = 0;  // language modelling of the documents themselves
  // Share of tokens given to sequences of random tokens that are repeated, labelled (kind text,
  // weight 1) from where in the second half that is sure: the exercise that starts copying.
  double repeat_share = 0;
  size_t repeat_tokens = 64;  // of one such half
  // A sequence's tokens are drawn from at most so many, from 2 on, so that the token before does
  // not tell which comes next, and more of what was read must. 0: from all.
  size_t repeat_vocabulary = 0;
  // Share of samples that become reading exercises: sequences without a memory in which the texts
  // of at most so many documents were handed over, and question after question about them is
  // answered (answer labels). Many more answers per token than with a sequence for each. Which
  // samples do depends on the seed and their position in the stream only.
  double reading_share = 0;
  size_t reading_documents = 4;
  // A retrieval step that wants several documents becomes as many steps, in random order: for
  // models that attend to one document at a time.
  bool one_document_per_step = false;
  // Share of questions among whose steps there is one more at which a document was handed over that
  // does not answer: one of the sample's that shares many words with a relevant one. The model
  // learns to go on from there, and not to answer from it.
  double detour_share = 0;
  // Of a question with more sequences, so many of them drawn at random are trained. 0: all.
  size_t sequences_per_question = 0;
};

// Makes batches from a stream of samples. Deterministic: batch n depends on construction and n
// only.
class Batcher {
 public:
  static Result<std::unique_ptr<Batcher>> create(std::shared_ptr<const Tokenizer> tokenizer,
                                                 std::unique_ptr<SampleSource> source,
                                                 const BatchOptions& options, uint64_t seed);
  virtual ~Batcher() = default;
  virtual Result<Batch> next() = 0;
  // What must be kept to go on after a restart, as JSON text, and going on from it.
  virtual std::string state() const = 0;
  virtual Result<void> restore(const std::string& state) = 0;
  // Too long for a batch even alone, or for the model; since the start, restarts included.
  virtual uint64_t samples_skipped() const = 0;
};

}  // namespace msa
