// The three stages once more, in plain double-precision loops written straight from the method's
// definition: one document, one head, one number at a time. Shares nothing with src/ but the
// reading of checkpoints, so that it can stand as witness against the engine for every option.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace msa::oracle {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

struct Chunk {
  size_t document = 0;
  Row key, value, routing_key;  // [G*D]
};

struct Routed {
  int layer = 0;
  std::vector<size_t> documents;  // best first
  std::vector<double> scores;
};

class Oracle {
 public:
  Oracle(const Checkpoint& checkpoint, bool cosine);

  // Stage 1.
  void set_prefix(const std::vector<int32_t>& tokens);
  void add_document(const std::vector<int32_t>& tokens);
  const std::vector<Chunk>& chunks(int layer) const { return bank_.at(layer); }

  // Stage 2: logits of every token, and what was routed to.
  Rows ask(const std::vector<int32_t>& tokens, const std::vector<bool>& routes, size_t top_k,
           std::vector<Routed>& routed);
  // Stage 3: logits after one more token.
  Row append(int32_t token);

 private:
  struct Qkv {
    Rows normed, q, k, v;
  };
  const Row& tensor(const std::string& name) const { return tensors_.at(name); }
  Rows times(const Rows& x, const std::string& name, size_t outputs) const;
  Qkv qkv(size_t layer, const Rows& hidden, size_t first_position) const;
  Row attend(const Row& q, const Rows& k, const Rows& v, size_t visible) const;
  void finish(size_t layer, Rows& hidden, const Rows& attended) const;
  Row norm(const Row& x, const Row& weight) const;
  Rows embed(const std::vector<int32_t>& tokens) const;
  Row logits(const Row& hidden) const;
  Routed route(int layer, const Qkv& in, const std::vector<bool>& routes, size_t top_k) const;

  ModelConfig config_;
  bool cosine_;
  std::map<std::string, Row> tensors_;
  std::map<int, std::vector<Chunk>> bank_;
  size_t documents_ = 0;
  std::vector<Rows> prefix_k_, prefix_v_, k_, v_;  // per layer
  size_t position_ = 0;
};

}  // namespace msa::oracle
