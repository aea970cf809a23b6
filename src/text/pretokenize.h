// Cuts text into the pieces within which byte-pair encoding merges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa {

// One step of cutting. A step without pattern only adds the space.
struct SplitStep {
  std::string pattern = {};  // a regular expression of the Oniguruma dialect, or literal text
  bool literal = false;      // `pattern` is text to be found
  bool invert = false;       // what the pattern does not match counts as matches
  bool discard = false;    // matches are left out; else each is a piece, as is what stands between
  bool add_space = false;  // first put a space before pieces that begin with none
};

// Receives pieces. The view is valid during the call only.
class PieceSink {
 public:
  virtual ~PieceSink() = default;
  virtual void piece(std::string_view text) = 0;
};

// Immutable after creation; split() may be called from many threads, each with its own scratch.
class PreTokenizer {
 public:
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

   private:
    friend class PreTokenizer;
    struct State;
    std::unique_ptr<State> state_;
  };

  PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  // Steps are applied in order, each to every piece of the one before. A pattern that does not
  // compile, or that means something else to PCRE2 than to Oniguruma, is an error that quotes it
  // and says why.
  static Result<PreTokenizer> create(const std::vector<SplitStep>& steps);

  // Hands the pieces of `text`, which is valid UTF-8, to `sink`, in order, none of them empty.
  // Where a pattern exceeds the limits on its work (1e7 steps and 8 for each byte; 64 MiB), the
  // next kilobyte counts as unmatched and matching goes on behind it.
  void split(std::string_view text, Scratch& scratch, PieceSink& sink) const;

 private:
  struct Step;
  void run(size_t index, std::string_view text, Scratch::State& scratch, PieceSink& sink) const;

  std::vector<Step> steps_;
};

// `pattern`, written for Oniguruma, for PCRE2 with Unicode properties and multi-line anchors; an
// error names the construct of which the two disagree. For tests.
Result<std::string> to_pcre2_dialect(std::string_view pattern);

}  // namespace msa
