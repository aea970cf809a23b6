#include "engine/interleave.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>
#include <stdexcept>

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Tokens = std::vector<TokenId>;

constexpr std::string_view kQuestion = "When was Erik Watts' father born?";

const Tokenizer& tokenizer() {
  static const auto loaded = Tokenizer::load(MSA_TESTDATA "/qwen3-tokenizer/tokenizer.json");
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return **loaded;
}
Tokens encode(std::string_view text) {
  return tokenizer().encode(text);
}
TokenId only_token(std::string_view text) {
  const Tokens tokens = encode(text);
  if (tokens.size() != 1) throw std::runtime_error("not one token: " + std::string(text));
  return tokens[0];
}
Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// One call of prefill() or append().
struct Call {
  bool prefill = false;
  Tokens tokens;
  std::vector<uint8_t> routes;
  std::vector<uint32_t> handed_over;
};

// Writes a script and remembers everything it was given. Holds the machine to the contract: the
// model is always told all tokens before the next one is sampled.
class ScriptedModel : public InterleaveModel {
 public:
  std::deque<TokenId> script;
  std::deque<std::vector<uint32_t>> routed;  // documents per prefill, best first; the last stays
  std::map<uint32_t, std::string> documents = {
      {2, "Two."}, {3, "Bill Watts was born on May 5, 1939."}, {4, "Erik is the son of Bill."}};
  std::vector<Call> calls;
  Tokens sequence;     // all tokens, as the model has read them
  size_t refused = 0;  // scripted tokens that the mask did not allow
  size_t masked = 0;   // samples with a mask
  bool broken = false;

  void write(std::string_view text) {
    for (const TokenId token : encode(text)) script.push_back(token);
  }

  Result<void> prefill(std::span<const TokenId> tokens, std::span<const uint8_t> routes,
                       std::span<const uint32_t> handed_over) override {
    calls.push_back({true,
                     {tokens.begin(), tokens.end()},
                     {routes.begin(), routes.end()},
                     {handed_over.begin(), handed_over.end()}});
    EXPECT_EQ(tokens.size(), routes.size());
    Tokens expected = sequence;
    if (unread_) expected.push_back(*unread_);
    EXPECT_GE(tokens.size(), expected.size());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), tokens.begin()));
    sequence = calls.back().tokens;
    unread_.reset();
    return {};
  }
  Result<Routing> routing() override {
    Routing out;
    if (!routed.empty()) {
      LayerRouting upper{.layer = 1, .documents = {}}, lower{.layer = 0, .documents = {}};
      for (const uint32_t number : routed.front()) {
        // Layers differ: the first document is routed to in one of them only.
        if (number != routed.front().front()) upper.documents.push_back({number, "", 1.0f});
        lower.documents.push_back({number, "", 1.0f});
        out.ranking.push_back({number, "", 1.0f});
      }
      out.layers = {lower, upper};
      if (routed.size() > 1) routed.pop_front();
    }
    return out;
  }
  Result<void> append(std::span<const TokenId> tokens) override {
    calls.push_back({false, {tokens.begin(), tokens.end()}, {}, {}});
    EXPECT_FALSE(tokens.empty());
    EXPECT_EQ(tokens[0], unread_.value_or(tokens[0]));
    unread_.reset();
    sequence = sequence + calls.back().tokens;
    return {};
  }
  TokenId sample(std::span<const uint8_t> allowed) override {
    if (broken) return -1;
    EXPECT_FALSE(unread_) << "sampled before the last token was read";
    TokenId token = script.empty() ? only_token("<|im_end|>") : script.front();
    if (!script.empty()) script.pop_front();
    if (!allowed.empty()) {
      ++masked;
      EXPECT_EQ(allowed.size(), tokenizer().vocabulary_size());
      if (allowed[static_cast<size_t>(token)] == 0) {
        ++refused;
        for (token = 0; allowed[static_cast<size_t>(token)] == 0;) ++token;
      }
    }
    unread_ = token;
    return token;
  }
  Result<std::optional<Citation>> document(uint32_t number) override {
    const auto found = documents.find(number);
    if (found == documents.end()) return std::optional<Citation>();
    Citation citation;
    citation.number = number;
    citation.id = "id" + std::to_string(number);
    citation.title = number == 4 ? "Erik Watts" : "";
    citation.text = found->second;
    return std::optional(citation);
  }
  const Tokenizer& tokenizer() const override { return msa::tokenizer(); }
  bool is_end(TokenId token) const override {
    return token == only_token("<|im_end|>") || token == only_token("<|endoftext|>");
  }

  std::vector<Call> prefills() const {
    std::vector<Call> out;
    for (const Call& call : calls)
      if (call.prefill) out.push_back(call);
    return out;
  }

 private:
  std::optional<TokenId> unread_;  // sampled, not read yet
};

struct Events {
  std::string retrieval, answer;
  std::vector<std::vector<uint32_t>> documents;
  size_t calls = 0, stop_after = SIZE_MAX;
  TokenCallback callback() {
    return [this](const TokenEvent& event) {
      switch (event.kind) {
        case TokenEvent::Kind::retrieval: retrieval += event.text; break;
        case TokenEvent::Kind::answer: answer += event.text; break;
        case TokenEvent::Kind::documents:
          documents.emplace_back(event.numbers.begin(), event.numbers.end());
          break;
      }
      return ++calls < stop_after;
    };
  }
};

AskOptions free_numbers() {
  AskOptions options;
  options.constrain_numbers = false;
  return options;
}

InterleaveResult run(ScriptedModel& model, const AskOptions& options, Events* events = nullptr,
                     std::stop_token stop = {}) {
  auto result = run_interleave(model, kQuestion, options,
                               events != nullptr ? events->callback() : TokenCallback(), stop);
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

Tokens question() {
  return question_tokens(tokenizer(), kQuestion).tokens;
}
Tokens request() {
  return answer_request_tokens(tokenizer(), kQuestion);
}
Tokens injected(const std::vector<InjectedDocument>& documents) {
  return injected_tokens(tokenizer(), documents).tokens;
}
const InjectedDocument kErik{4, "Erik Watts\nErik is the son of Bill."};
const InjectedDocument kBill{3, "Bill Watts was born on May 5, 1939."};
const InjectedDocument kTwo{2, "Two."};

// `ones` entries of 1, `zeros` of 0, and so on in turn.
std::vector<uint8_t> mask(std::initializer_list<size_t> runs) {
  std::vector<uint8_t> out;
  uint8_t value = 1;
  for (const size_t run : runs) {
    out.insert(out.end(), run, value);
    value = !value;
  }
  return out;
}

TEST(Interleave, TwoHopsAsInThePaper) {
  ScriptedModel model;
  model.write("[4]<|object_ref_end|>");
  model.write("[3]<|object_ref_end|>");
  model.write("<End-of-Retrieve>");
  model.write("The answer to the question is: May 5, 1939<|im_end|>");
  const size_t script = model.script.size();
  Events events;
  const InterleaveResult result = run(model, free_numbers(), &events);

  EXPECT_EQ(result.answer, "May 5, 1939");
  EXPECT_EQ(result.finish, "stop");
  ASSERT_EQ(result.rounds.size(), 3u);
  EXPECT_EQ(result.rounds[0].generated, "[4]");
  EXPECT_EQ(result.rounds[1].generated, "[3]");
  EXPECT_EQ(result.rounds[2].generated, "<End-of-Retrieve>");
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(4));
  EXPECT_THAT(result.rounds[1].numbers, ElementsAre(3));
  EXPECT_THAT(result.rounds[2].numbers, IsEmpty());
  ASSERT_EQ(result.citations.size(), 2u);
  EXPECT_EQ(result.citations[0].id, "id4");
  EXPECT_EQ(result.citations[1].id, "id3");

  // What the model read, to the token.
  const QuestionTokens q = question_tokens(tokenizer(), kQuestion);
  const Tokens round2 = q.tokens + encode("[4]<|object_ref_end|>") + injected({kErik});
  const Tokens round3 = round2 + encode("[3]<|object_ref_end|>") + injected({kBill});
  const Tokens before_answer = round3 + encode("<End-of-Retrieve>") + request();
  const auto prefills = model.prefills();
  ASSERT_EQ(prefills.size(), 3u);
  EXPECT_EQ(prefills[0].tokens, q.tokens);
  EXPECT_EQ(prefills[0].routes, mask({q.routing, q.tokens.size() - q.routing}));
  EXPECT_EQ(prefills[1].tokens, round2);
  EXPECT_THAT(prefills[0].handed_over, IsEmpty());
  EXPECT_THAT(prefills[1].handed_over, ElementsAre(4));
  EXPECT_THAT(prefills[2].handed_over, ElementsAre(3, 4));
  const size_t erik = injected({kErik}).size(), bill = injected({kBill}).size();
  EXPECT_EQ(prefills[1].routes,
            mask({q.routing_later, round2.size() - erik - q.routing_later, erik - 1, 1}));
  EXPECT_EQ(prefills[2].tokens, round3);
  EXPECT_EQ(prefills[2].routes,
            mask({q.routing_later, round3.size() - bill - q.routing_later, bill - 1, 1}));
  const Tokens answer = encode("The answer to the question is: May 5, 1939");
  EXPECT_EQ(model.sequence, before_answer + answer);
  // The last tokens of the marker and the request are read in one go.
  const Tokens last = {encode("<End-of-Retrieve>").back()};
  EXPECT_EQ(model.calls[model.calls.size() - 1 - answer.size()].tokens, last + request());

  EXPECT_EQ(result.completion_tokens, script);
  EXPECT_EQ(result.prompt_tokens, q.tokens.size() + erik + bill + request().size());
  EXPECT_EQ(events.retrieval, "[4][3]<End-of-Retrieve>");
  EXPECT_EQ(events.answer, "May 5, 1939");
  EXPECT_THAT(events.documents, ElementsAre(ElementsAre(4), ElementsAre(3)));
}

TEST(Interleave, SeveralNumbersAscendingOnceAndOnlyExistingOnes) {
  ScriptedModel model;
  model.write("[4][999][2][4] [99999999999][3<|object_ref_end|>");
  model.write("[2][4]<|object_ref_end|>");  // nothing new: retrieval ends
  model.write("The answer to the question is: x<|im_end|>");
  const InterleaveResult result = run(model, free_numbers());
  ASSERT_EQ(result.rounds.size(), 2u);
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(2, 4));
  EXPECT_THAT(result.rounds[1].numbers, IsEmpty());
  EXPECT_EQ(result.answer, "x");
  EXPECT_EQ(model.prefills()[1].tokens,
            question() + encode("[4][999][2][4] [99999999999][3<|object_ref_end|>") +
                injected({kTwo, kErik}));
  ASSERT_EQ(result.citations.size(), 2u);
  EXPECT_EQ(result.citations[0].number, 2u);
  EXPECT_EQ(result.citations[1].title, "Erik Watts");
}

TEST(Interleave, NoNumbersAtAll) {
  ScriptedModel model;
  model.write("I do not know.<|object_ref_end|>");
  model.write("Nothing.<|im_end|>");
  const InterleaveResult result = run(model, free_numbers());
  ASSERT_EQ(result.rounds.size(), 1u);
  EXPECT_EQ(result.rounds[0].generated, "I do not know.");
  EXPECT_EQ(result.answer, "Nothing.");
  EXPECT_THAT(result.citations, IsEmpty());
  EXPECT_EQ(model.sequence, question() + encode("I do not know.<|object_ref_end|>") + request() +
                                encode("Nothing."));
}

TEST(Interleave, MarkerInTheSameRoundAsNumbers) {
  ScriptedModel model;
  model.write("[4]<End-of-Retrieve>");
  model.write("[3]<|im_end|>");
  const InterleaveResult result = run(model, free_numbers());
  ASSERT_EQ(result.rounds.size(), 1u);
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(4));
  EXPECT_EQ(model.prefills().size(), 1u);
  // The text of document 4 is read before the answer is requested.
  const Tokens head = question() + encode("[4]<End-of-Retrieve>") + injected({kErik}) + request();
  ASSERT_GE(model.sequence.size(), head.size());
  EXPECT_TRUE(std::equal(head.begin(), head.end(), model.sequence.begin()));
  EXPECT_EQ(result.answer, "[3]");
}

TEST(Interleave, MarkerInsideLargerTokens) {
  ScriptedModel model;
  // The closing bracket comes with a line break, as one token of the vocabulary.
  Tokens marker = encode("<End-of-Retrieve");
  marker.push_back(*tokenizer().find(">\n"));
  model.script.assign(marker.begin(), marker.end());
  model.write("Fine.<|im_end|>");
  const InterleaveResult result = run(model, free_numbers());
  EXPECT_EQ(result.rounds.at(0).generated, "<End-of-Retrieve>\n");
  EXPECT_EQ(result.answer, "Fine.");
  EXPECT_EQ(model.sequence, question() + marker + request() + encode("Fine."));
}

TEST(Interleave, EndTokenClosesARound) {
  ScriptedModel model;
  model.write("[4]<|im_end|>");
  model.write("<|endoftext|>");
  model.write("Yes<|endoftext|>");
  const InterleaveResult result = run(model, free_numbers());
  ASSERT_EQ(result.rounds.size(), 2u);
  EXPECT_EQ(result.rounds[0].generated, "[4]");
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(4));
  EXPECT_EQ(result.rounds[1].generated, "");
  EXPECT_EQ(result.answer, "Yes");
  EXPECT_EQ(result.finish, "stop");
}

TEST(Interleave, LastRoundsTextsAreReadBeforeTheAnswer) {
  ScriptedModel model;
  model.write("[4]<|object_ref_end|>");
  model.write("Yes<|im_end|>");
  AskOptions options = free_numbers();
  options.max_rounds = 1;
  const InterleaveResult result = run(model, options);
  EXPECT_EQ(result.rounds.size(), 1u);
  EXPECT_EQ(result.answer, "Yes");
  EXPECT_EQ(result.citations.size(), 1u);
  EXPECT_EQ(model.prefills().size(), 1u);
  EXPECT_EQ(model.sequence, question() + encode("[4]<|object_ref_end|>") + injected({kErik}) +
                                request() + encode("Yes"));
}

TEST(Interleave, RoundLimit) {
  ScriptedModel model;
  for (const char* round : {"[2]", "[3]", "[4]"})
    model.write(std::string(round) + "<|object_ref_end|>");
  AskOptions options = free_numbers();
  options.max_rounds = 2;
  const InterleaveResult result = run(model, options);
  EXPECT_EQ(result.rounds.size(), 2u);
  EXPECT_EQ(result.citations.size(), 2u);
  EXPECT_EQ(model.prefills().size(), 2u);
}

TEST(Interleave, CharacterLimitEndsRetrieval) {
  ScriptedModel model;
  model.write("é[4][2][3]<|object_ref_end|>");
  AskOptions options = free_numbers();
  options.max_retrieval_characters = 4;  // characters, not bytes: "é[4]" or "é[4]["
  const InterleaveResult result = run(model, options);
  ASSERT_EQ(result.rounds.size(), 1u);
  EXPECT_EQ(result.rounds[0].generated, "é[4][");
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(4));
  EXPECT_EQ(model.prefills().size(), 1u) << "no further round";
}

TEST(Interleave, CharacterLimitIsPerRound) {
  ScriptedModel model;
  model.write("[4]<|object_ref_end|>[3]<|object_ref_end|>[2]<|object_ref_end|><|im_end|>");
  AskOptions options = free_numbers();
  options.max_retrieval_characters = 4;
  EXPECT_EQ(run(model, options).citations.size(), 3u);
}

TEST(Interleave, TokenLimitInARound) {
  ScriptedModel model;
  model.write("[4]<|object_ref_end|>[3][2]<|object_ref_end|>");
  AskOptions options = free_numbers();
  options.max_tokens = 6;
  const InterleaveResult result = run(model, options);
  EXPECT_EQ(result.finish, "length");
  EXPECT_EQ(result.completion_tokens, 6u);
  EXPECT_EQ(result.answer, "");
  ASSERT_EQ(result.rounds.size(), 2u);
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(4));
  EXPECT_THAT(result.rounds[1].numbers, IsEmpty());
}

TEST(Interleave, TokenLimitCountsRoundsAndAnswer) {
  ScriptedModel model;
  model.write("[4]<|object_ref_end|><End-of-Retrieve>");
  const size_t retrieval = model.script.size();
  model.write("one two three four five six<|im_end|>");
  AskOptions options = free_numbers();
  options.max_tokens = retrieval + 3;
  Events events;
  const InterleaveResult result = run(model, options, &events);
  EXPECT_EQ(result.finish, "length");
  EXPECT_EQ(result.completion_tokens, options.max_tokens);
  EXPECT_EQ(result.answer, "one two three");
  EXPECT_EQ(events.answer, "one two three");
}

TEST(Interleave, EndTokenAtTheTokenLimitIsAStop) {
  ScriptedModel model;
  model.write("<|object_ref_end|>one<|im_end|>");
  AskOptions options = free_numbers();
  options.max_tokens = 3;
  EXPECT_EQ(run(model, options).finish, "stop");
}

TEST(Interleave, CallbackStops) {
  const std::string script =
      "[4]<|object_ref_end|><End-of-Retrieve>The answer to the question is: one two "
      "three<|im_end|>";
  size_t calls = 0;
  {
    ScriptedModel model;
    model.write(script);
    Events events;
    run(model, free_numbers(), &events);
    calls = events.calls;
    ASSERT_GT(calls, 8u);
  }
  for (size_t stop_after = 1; stop_after < calls; ++stop_after) {
    ScriptedModel model;
    model.write(script);
    Events events;
    events.stop_after = stop_after;
    const InterleaveResult result = run(model, free_numbers(), &events);
    EXPECT_EQ(result.finish, "cancelled");
    EXPECT_EQ(events.calls, stop_after) << "no event after the callback said stop";
    EXPECT_EQ(result.answer, events.answer);
  }
}

TEST(Interleave, StopTokenBeforeAndDuring) {
  std::stop_source before;
  before.request_stop();
  ScriptedModel unused;
  const InterleaveResult none = run(unused, free_numbers(), nullptr, before.get_token());
  EXPECT_EQ(none.finish, "cancelled");
  EXPECT_TRUE(unused.calls.empty());
  EXPECT_TRUE(none.rounds.empty());

  for (size_t tokens = 1; tokens < 18; ++tokens) {
    ScriptedModel model;
    model.write(
        "[4]<|object_ref_end|><End-of-Retrieve>The answer to the question is: one two<|im_end|>");
    ASSERT_GT(model.script.size(), 18u);
    std::stop_source stop;
    size_t generated = 0;
    auto result = run_interleave(model, kQuestion, free_numbers(), {}, stop.get_token(), [&] {
      if (++generated == tokens) stop.request_stop();
    });
    ASSERT_TRUE(result);
    EXPECT_EQ(result->finish, "cancelled");
    EXPECT_EQ(result->completion_tokens, tokens) << "nothing is generated after the request";
  }
}

TEST(Interleave, ConstrainedToRoutedDocuments) {
  ScriptedModel model;
  model.routed = {{3, 4}, {2, 4}, {}};
  model.write("[9]<|object_ref_end|>");  // 9 is not routed to: 3, the lower id, is taken
  model.write("[4][3]<|object_ref_end|>");
  model.write("Yes<|im_end|>");
  const InterleaveResult result = run(model, AskOptions());
  ASSERT_EQ(result.rounds.size(), 3u);
  EXPECT_EQ(result.rounds[0].generated, "[3]");
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(3));
  EXPECT_EQ(result.rounds[1].generated, "[4][2]") << "3 was handed over already";
  EXPECT_THAT(result.rounds[1].numbers, ElementsAre(2, 4));
  EXPECT_EQ(result.rounds[2].generated, "") << "nothing to name: the round ends at once";
  EXPECT_EQ(model.refused, 2u);
  EXPECT_EQ(result.answer, "Yes");
  EXPECT_EQ(result.rounds[0].routing.layers.size(), 2u);
}

TEST(Interleave, ConstrainedWithAnEmptyMemory) {
  ScriptedModel model;
  model.write("Nothing is known.<|im_end|>");
  const InterleaveResult result = run(model, AskOptions());
  ASSERT_EQ(result.rounds.size(), 1u);
  EXPECT_EQ(result.rounds[0].generated, "");
  EXPECT_EQ(result.answer, "Nothing is known.");
  EXPECT_EQ(model.sequence, question() + request() + encode("Nothing is known."));
  EXPECT_EQ(model.masked, 0u);
}

TEST(Interleave, UnconstrainedHasNoMask) {
  ScriptedModel model;
  model.routed = {{3}};
  model.write("[4]<|object_ref_end|><End-of-Retrieve><|im_end|>");
  EXPECT_EQ(run(model, free_numbers()).citations.size(), 1u);
  EXPECT_EQ(model.masked, 0u);
}

TEST(Interleave, RouterHandsOverTheBest) {
  ScriptedModel model;
  model.routed = {{4, 999, 2, 3}, {2}};
  model.write("The answer to the question is: Bill<|im_end|>");
  AskOptions options;
  options.retrieval = Retrieval::router;
  options.router_documents = 3;  // 999 is not in the memory any more
  Events events;
  const InterleaveResult result = run(model, options, &events);
  EXPECT_EQ(result.answer, "Bill");
  ASSERT_EQ(result.citations.size(), 2u);
  EXPECT_EQ(result.citations[0].number, 2u);
  EXPECT_EQ(result.citations[1].number, 4u);
  ASSERT_EQ(result.rounds.size(), 2u);
  EXPECT_EQ(result.rounds[0].generated, "");
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(2, 4));
  EXPECT_EQ(result.rounds[1].routing.ranking.size(), 1u);
  EXPECT_THAT(events.documents, ElementsAre(ElementsAre(2, 4)));
  EXPECT_EQ(events.retrieval, "");

  const QuestionTokens q = question_tokens(tokenizer(), kQuestion);
  const Tokens block = injected({kTwo, kErik});
  const auto prefills = model.prefills();
  ASSERT_EQ(prefills.size(), 2u);
  EXPECT_EQ(prefills[1].tokens, q.tokens + block + request());
  EXPECT_EQ(prefills[1].routes, mask({q.routing_later, q.tokens.size() - q.routing_later,
                                      block.size() - 1, 1 + request().size()}));
  EXPECT_FALSE(model.calls[2].prefill);
  EXPECT_EQ(model.calls[2].tokens.size(), 1u) << "the request was read with the second prefill";
}

TEST(Interleave, RouterWithOneRoundDoesNotRouteAgain) {
  ScriptedModel model;
  model.routed = {{4}};
  model.write("Bill<|im_end|>");
  AskOptions options;
  options.retrieval = Retrieval::router;
  options.max_rounds = 1;
  const InterleaveResult result = run(model, options);
  EXPECT_EQ(result.rounds.size(), 1u);
  ASSERT_EQ(model.prefills().size(), 1u);
  EXPECT_EQ(model.sequence, question() + injected({kErik}) + request() + encode("Bill"));
}

TEST(Interleave, RouterWithAnEmptyMemory) {
  ScriptedModel model;
  model.write("Bill<|im_end|>");
  AskOptions options;
  options.retrieval = Retrieval::router;
  const InterleaveResult result = run(model, options);
  EXPECT_THAT(result.citations, IsEmpty());
  EXPECT_EQ(model.sequence, question() + request() + encode("Bill"));
}

TEST(Interleave, WithoutOriginalText) {
  AskOptions options = free_numbers();
  options.original_text = false;
  ScriptedModel model;
  model.write("[4][999]<|object_ref_end|>");
  model.write("Bill<|im_end|>");
  Events events;
  const InterleaveResult result = run(model, options, &events);
  ASSERT_EQ(result.rounds.size(), 1u);
  EXPECT_THAT(result.rounds[0].numbers, ElementsAre(4));
  ASSERT_EQ(result.citations.size(), 1u);
  EXPECT_EQ(result.citations[0].text, "Erik is the son of Bill.");
  EXPECT_THAT(events.documents, IsEmpty());
  EXPECT_EQ(model.sequence,
            question() + encode("[4][999]<|object_ref_end|>") + request() + encode("Bill"));

  ScriptedModel routed;
  routed.routed = {{4, 2, 3}};
  routed.write("Bill<|im_end|>");
  options.retrieval = Retrieval::router;
  options.router_documents = 2;
  EXPECT_EQ(run(routed, options).citations.size(), 2u);
  EXPECT_EQ(routed.sequence, question() + request() + encode("Bill"));
}

// Streamed answer events equal the final answer, wherever tokens end.
TEST(Interleave, AnswerStream) {
  const struct {
    const char* written;
    const char* answer;
  } cases[] = {
      {"The answer to the question is: May 5, 1939<|im_end|>", "May 5, 1939"},
      {"\n The answer to the question is:\n\n Paris \n<|im_end|>", "Paris"},
      {"The answer to the question is:<|im_end|>", ""},
      {"The answer to the question<|im_end|>", "The answer to the question"},
      {"Theatre<|im_end|>", "Theatre"},
      {"  plain text, two  spaces \n\nand a paragraph <|endoftext|>",
       "plain text, two  spaces \n\nand a paragraph"},
      {"The answer to the question is: 你好 🦙 a < b <|im |<|im_end|>",
       "你好 🦙 a < b <|im |"},
      {"<|im_end|>", ""},
      {"a<|object_ref_end|>b<|im_end|>", "ab"},  // special tokens are not text
  };
  for (const auto& c : cases) {
    ScriptedModel model;
    model.write("<|object_ref_end|>");
    model.write(c.written);
    Events events;
    const InterleaveResult result = run(model, free_numbers(), &events);
    EXPECT_EQ(result.answer, c.answer) << c.written;
    EXPECT_EQ(events.answer, c.answer) << c.written;
  }
}

// The end marker spelled out in ordinary tokens ends the answer, too.
TEST(Interleave, SpelledEndMarker) {
  ScriptedModel model;
  model.write("<|object_ref_end|>");
  for (const TokenId token : tokenizer().encode("Paris <|im_end|> and more", false))
    model.script.push_back(token);
  Events events;
  const InterleaveResult result = run(model, free_numbers(), &events);
  EXPECT_EQ(result.answer, "Paris");
  EXPECT_EQ(events.answer, "Paris");
  EXPECT_EQ(result.finish, "stop");
}

TEST(Interleave, PiecesAreWholeCharacters) {
  ScriptedModel model;
  const std::string text = "\xF0\x9F\xA6\x99\xE2\x98\x83";  // several tokens per character
  model.write("<|object_ref_end|>");
  model.write(text + "<|im_end|>");
  auto result = run_interleave(
      model, kQuestion, free_numbers(),
      [&](const TokenEvent& event) {
        EXPECT_TRUE(event.text == "🦙" || event.text == "☃" || event.text == "🦙☃")
            << event.text;
        return true;
      },
      {});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->answer, text);
}

TEST(Interleave, BrokenLogitsAreAnError) {
  ScriptedModel model;
  model.broken = true;
  const auto result = run_interleave(model, kQuestion, free_numbers(), {}, {});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, testing::HasSubstr("not a number"));
}

TEST(Interleave, ModelErrorsEndTheCall) {
  class Failing : public ScriptedModel {
   public:
    size_t fail_at = 0;
    Result<void> prefill(std::span<const TokenId> tokens, std::span<const uint8_t> routes,
                         std::span<const uint32_t> handed_over) override {
      if (fail()) return Error{Code::io, "prefill"};
      return ScriptedModel::prefill(tokens, routes, handed_over);
    }
    Result<Routing> routing() override {
      if (fail()) return Error{Code::io, "routing"};
      return ScriptedModel::routing();
    }
    Result<void> append(std::span<const TokenId> tokens) override {
      if (fail()) return Error{Code::io, "append"};
      return ScriptedModel::append(tokens);
    }
    Result<std::optional<Citation>> document(uint32_t number) override {
      if (fail()) return Error{Code::io, "document"};
      return ScriptedModel::document(number);
    }
    bool fail() { return calls_made_++ == fail_at; }

   private:
    size_t calls_made_ = 0;
  };
  std::set<std::string> seen;
  for (size_t fail_at = 0;; ++fail_at) {
    Failing model;
    model.fail_at = fail_at;
    model.write("[4]<|object_ref_end|><End-of-Retrieve>x<|im_end|>");
    const auto result = run_interleave(model, kQuestion, free_numbers(), {}, {});
    if (result) break;
    seen.insert(result.error().message);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"prefill", "routing", "append", "document"}));
}

}  // namespace
}  // namespace msa
