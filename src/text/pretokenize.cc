#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretokenize.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <utility>

#include "text/one_line.h"

namespace msa {
namespace {

constexpr size_t kLongestPattern = size_t{64} << 10;
constexpr size_t kSkipAfterFailure = 1024;  // bytes
constexpr uint32_t kHeapLimit = 64u << 10;  // KiB, per match

// Unicode's White_Space. PCRE2's \s also holds U+180E, which lost that property in Unicode 6.3.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNoSpaces = R"(\S\x{180e})";

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using CodePtr = std::unique_ptr<pcre2_code, FreeCode>;

Error bad_pattern(std::string_view pattern, Code code, std::string_view why) {
  return {code, fmt::format("pattern \"{}\": {}", one_line(pattern, 200), why)};
}

Result<CodePtr> compile(std::string_view pattern, bool literal) {
  if (pattern.empty())
    return bad_pattern(pattern, Code::corrupt, "is empty; use a tokenizer.json that is whole");
  std::string translated;
  if (!literal) {
    MSA_ASSIGN(translated, to_pcre2_dialect(pattern));
  }
  const std::string_view source = literal ? pattern : translated;

  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(
      pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), 4 * kLongestPattern);
  const uint32_t options =
      PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
  int error_number = 0;
  PCRE2_SIZE error_offset = 0;
  CodePtr code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(), options,
                             &error_number, &error_offset, context.get()));
  if (!code) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(error_number, message.data(), message.size());
    return bad_pattern(pattern, Code::corrupt,
                       fmt::format("is not a regular expression PCRE2 takes: {}; use the "
                                   "tokenizer.json that came with the model",
                                   reinterpret_cast<const char*>(message.data())));
  }
  // Where machine code may not be made (a hardened system), PCRE2 interprets the pattern.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

// Reads a pattern left to right and writes it in PCRE2's dialect.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> run() {
    bool in_class = false;
    for (size_t at = 0; at < pattern_.size();) {
      const char c = pattern_[at];
      if (c == '\\') {
        MSA_TRY(escape(at, in_class));
        at += 2;
        continue;
      }
      if (in_class) {
        // `]` right behind the opening bracket is a character of the class, to both dialects.
        const bool literal_bracket = at == class_begin_;
        if (c == '[') {
          MSA_ASSIGN(const size_t end, posix_class_end(at));
          out_ += pattern_.substr(at, end - at);
          at = end;
          continue;
        }
        if (pattern_.substr(at, 2) == "&&") return differs("&&");
        if (c == ']' && !literal_bracket) in_class = false;
      } else if (c == '[') {
        in_class = true;
        class_begin_ = at + (pattern_.substr(at, 2) == "[^" ? 2 : 1);
        out_ += pattern_.substr(at, class_begin_ - at);
        at = class_begin_;
        continue;
      } else if (pattern_.substr(at, 2) == "(?") {
        // The option m lets a dot match a line break in one dialect, changes anchors in the other.
        const size_t end = pattern_.find_first_not_of("abcdefghijklmnopqrstuvwxyzADSUWP-", at + 2);
        const std::string_view letters = pattern_.substr(at + 2, end - (at + 2));
        const bool options = end != std::string_view::npos && end > at + 2 &&
                             (pattern_[end] == ':' || pattern_[end] == ')');
        if (options && letters.find_first_not_of("ix-") != std::string_view::npos)
          return differs(pattern_.substr(at, end - at));
      } else if (pattern_.substr(at, 2) == "(*") {
        return differs("(*");
      }
      out_ += c;
      ++at;
    }
    return std::move(out_);
  }

 private:
  Error differs(std::string_view construct) const {
    return bad_pattern(pattern_, Code::unsupported,
                       fmt::format("{} is not supported, since regular expression libraries "
                                   "differ on it; use another tokenizer",
                                   construct));
  }

  Result<void> escape(size_t at, bool in_class) {
    const std::string_view sequence = pattern_.substr(at, 2);
    if (sequence == "\\s" || sequence == "\\S") {
      const std::string_view members = sequence == "\\s" ? kSpaces : kNoSpaces;
      if (in_class)
        out_ += members;
      else
        out_ += fmt::format("[{}]", members);
    } else if (sequence.size() == 2 &&
               std::string_view("wWbBhHXRyYKGQEgkNO").find(sequence[1]) != std::string_view::npos) {
      return differs(sequence);
    } else {
      out_ += sequence;
    }
    return {};
  }

  // Where "[:name:]", which begins at `at` inside a class, ends. Other brackets there nest classes
  // in one dialect and are characters in the other.
  Result<size_t> posix_class_end(size_t at) const {
    const size_t end = pattern_.find(":]", at);
    if (pattern_.substr(at, 2) != "[:" || end == std::string_view::npos)
      return differs("[ inside a class");
    return end + 2;
  }

  std::string_view pattern_;
  std::string out_;
  size_t class_begin_ = 0;  // where the members of the class begin
};

}  // namespace

Result<std::string> to_pcre2_dialect(std::string_view pattern) {
  if (pattern.size() > kLongestPattern)
    return bad_pattern(pattern, Code::unsupported,
                       fmt::format("has {} bytes, at most {} are read; use another tokenizer",
                                   pattern.size(), kLongestPattern));
  return Translator(pattern).run();
}

// ---------------------------------------------------------------------------------------------

struct PreTokenizer::Step {
  CodePtr code;  // none: the step only adds the space
  bool invert = false, discard = false, add_space = false;
};

struct PreTokenizer::Scratch::State {
  std::unique_ptr<pcre2_match_data, FreeMatchData> match{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context{
      pcre2_match_context_create(nullptr)};
  std::string with_space;  // a piece with the space before it; at most one step adds one

  State() {
    if (!match || !context) throw std::bad_alloc();
    pcre2_set_heap_limit(context.get(), kHeapLimit);
  }

  struct Found {
    size_t begin, end;
  };
  // The first match in `text` at or behind `from`; nothing if there is none. Behind `give_up` the
  // work went beyond the limits, and [from, give_up) has to count as unmatched.
  std::optional<Found> find(const pcre2_code* code, std::string_view text, size_t from,
                            bool& failed) {
    const auto run = [&](uint32_t options) {
      return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK | options, match.get(), context.get());
    };
    int count = run(0);
    // The interpreter keeps on the heap what the machine code has no stack for.
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = run(PCRE2_NO_JIT);
    failed = count < 0 && count != PCRE2_ERROR_NOMATCH;
    if (count < 0) return std::nullopt;
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
    // \K and lookbehind can put a match's bounds where no other match's would be.
    const size_t end = std::clamp<size_t>(bounds[1], from, text.size());
    return Found{std::clamp<size_t>(bounds[0], from, end), end};
  }
};

PreTokenizer::Scratch::Scratch() : state_(std::make_unique<State>()) {}
PreTokenizer::Scratch::~Scratch() = default;

PreTokenizer::PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

Result<PreTokenizer> PreTokenizer::create(const std::vector<SplitStep>& steps) {
  PreTokenizer made;
  for (const SplitStep& step : steps) {
    Step compiled{nullptr, step.invert, step.discard, step.add_space};
    if (!step.pattern.empty()) {
      MSA_ASSIGN(compiled.code, compile(step.pattern, step.literal));
    }
    made.steps_.push_back(std::move(compiled));
  }
  return made;
}

void PreTokenizer::split(std::string_view text, Scratch& scratch, PieceSink& sink) const {
  constexpr uint64_t kLeastLimit = 10'000'000;
  pcre2_set_match_limit(
      scratch.state_->context.get(),
      static_cast<uint32_t>(std::min<uint64_t>(kLeastLimit + 8 * text.size(), UINT32_MAX)));
  run(0, text, *scratch.state_, sink);
}

void PreTokenizer::run(size_t index, std::string_view text, Scratch::State& scratch,
                       PieceSink& sink) const {
  if (text.empty()) return;
  if (index == steps_.size()) return sink.piece(text);
  const Step& step = steps_[index];
  if (step.add_space && text.front() != ' ') {
    scratch.with_space.assign(1, ' ').append(text);
    text = scratch.with_space;
  }
  if (!step.code) return run(index + 1, text, scratch, sink);

  const auto emit = [&](size_t begin, size_t end, bool matched) {
    if (step.discard && matched != step.invert) return;
    run(index + 1, text.substr(begin, end - begin), scratch, sink);
  };
  size_t done = 0;  // pieces before this have been handed on
  size_t from = 0;  // where to look for the next match
  const auto next_character = [&](size_t at) {
    do ++at;
    while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80);
    return at;
  };
  while (from < text.size()) {
    bool failed = false;
    const auto found = scratch.find(step.code.get(), text, from, failed);
    if (failed) {
      from = next_character(std::min(from + kSkipAfterFailure, text.size()) - 1);
      continue;
    }
    if (!found) break;
    emit(done, found->begin, false);
    emit(found->begin, found->end, true);
    done = found->end;
    from = found->end > found->begin ? found->end : next_character(found->end);
  }
  emit(done, text.size(), false);
}

}  // namespace msa
