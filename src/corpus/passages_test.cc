#include "corpus/passages.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "corpus/white_space.h"
#include "text/utf8.h"

namespace msa {
namespace {

using Counter = std::function<size_t(std::string_view)>;

size_t count_words(std::string_view text) {
  size_t words = 0;
  for (size_t at = skip_space(text, 0); at < text.size(); at = skip_space(text, at)) {
    ++words;
    while (at < text.size() && space_length(text, at) == 0) ++at;
  }
  return words;
}

// A rough stand-in for a tokenizer: a unit per four bytes of a word, begun ones included.
size_t count_quads(std::string_view text) {
  size_t units = 0, run = 0;
  for (const char c : text) {
    if (c == ' ' || c == '\n') {
      run = 0;
      continue;
    }
    units += run++ % 4 == 0;
  }
  return units;
}

std::vector<std::string> split(std::string_view text, size_t limit, const Counter& count) {
  std::vector<std::string> out;
  for (const Passage& p : split_passages(text, limit, count))
    out.emplace_back(text.substr(p.begin, p.end - p.begin));
  return out;
}
using Texts = std::vector<std::string>;

// Everything the header promises for any text.
void check(std::string_view text, size_t limit, const Counter& count) {
  const auto passages = split_passages(text, limit, count);
  size_t at = 0;
  for (const Passage& p : passages) {
    ASSERT_LE(at, p.begin);
    ASSERT_LT(p.begin, p.end);
    ASSERT_LE(p.end, text.size());
    EXPECT_TRUE(is_blank(text.substr(at, p.begin - at))) << "only white space is left out";
    const std::string_view passage = text.substr(p.begin, p.end - p.begin);
    EXPECT_FALSE(is_blank(passage));
    EXPECT_EQ(clean_utf8(passage).replaced, 0u) << "no character is cut";
    EXPECT_EQ(p.char_begin, count_characters(text.substr(0, p.begin)));
    EXPECT_EQ(p.char_end, count_characters(text.substr(0, p.end)));
    if (p.char_end - p.char_begin > 1) {
      EXPECT_LE(count(passage), limit);
    }
    at = p.end;
  }
  EXPECT_TRUE(is_blank(text.substr(at)));
}

TEST(Passages, ShortTextsStayWhole) {
  EXPECT_EQ(split("", 3, count_words), Texts{});
  EXPECT_EQ(split(" \n\t\xE3\x80\x80 ", 3, count_words), Texts{});
  EXPECT_EQ(split("one two three", 3, count_words), Texts{"one two three"});
  EXPECT_EQ(split("  one\n\ntwo three \n", 3, count_words), Texts{"one\n\ntwo three"});
}

TEST(Passages, BlankLinesBeforeLineEndsBeforeSentencesBeforeWords) {
  EXPECT_EQ(split("a b c. d\ne f\n\ng h i", 7, count_words), (Texts{"a b c. d\ne f", "g h i"}));
  EXPECT_EQ(split("a b c. d\ne f g h i", 7, count_words), (Texts{"a b c. d", "e f g h i"}));
  EXPECT_EQ(split("a b cat. d e f g h i", 7, count_words), (Texts{"a b cat.", "d e f g h i"}));
  EXPECT_EQ(split("a b c d e f g h i", 7, count_words), (Texts{"a b c d e f g", "h i"}));
  EXPECT_EQ(split("a b\r\n\r\nc d\r\ne", 3, count_words), (Texts{"a b", "c d\r\ne"}));
  EXPECT_EQ(split("a b\n \t\nc d e", 3, count_words), (Texts{"a b", "c d e"}));
}

TEST(Passages, CharactersWhereThereIsNoBorder) {
  const Counter bytes = [](std::string_view t) { return t.size(); };
  EXPECT_EQ(split("abcdefgh", 3, bytes), (Texts{"abc", "def", "gh"}));
  EXPECT_EQ(split("äöüß", 5, bytes), (Texts{"äö", "üß"}));
  EXPECT_EQ(split("ab 🦙🦙 c", 5, bytes), (Texts{"ab", "🦙", "🦙", "c"}));
  // One character of more than the limit stands alone.
  EXPECT_EQ(split("🦙a🦙", 1, bytes), (Texts{"🦙", "a", "🦙"}));
}

TEST(Passages, JoinsNeighboursWhileTheyFit) {
  EXPECT_EQ(split("a\n\nb\n\nc\n\nd\n\ne", 2, count_words), (Texts{"a\n\nb", "c\n\nd", "e"}));
}

TEST(Passages, ASmallHeadingKeepsItsParagraph) {
  std::string text = "Title\n\n";
  for (int i = 0; i < 30; ++i) text += "word ";
  const Texts passages = split(text, 16, count_words);
  ASSERT_EQ(passages.size(), 2u);
  EXPECT_TRUE(passages[0].starts_with("Title\n\nword word"));
}

TEST(Passages, SentencesOnly) {
  const struct {
    const char* text;
    std::vector<std::string> passages;
  } cases[] = {
      {"We met Mr. Smith today. He was glad to see us",
       {"We met Mr. Smith today.", "He was glad to see us"}},
      {"It was e.g. this one. And J. Doe was there",
       {"It was e.g. this one.", "And J. Doe was there"}},
      {"He said \"stop it now!\" And then we left there",
       {"He said \"stop it now!\"", "And then we left there"}},
      {"Pi is 3.14 or so (yes.) It is no more", {"Pi is 3.14 or so (yes.)", "It is no more"}},
      {"Is the U.S. large? We do think so too", {"Is the U.S. large?", "We do think so too"}},
      {"We wait here … Then we go on from there", {"We wait here …", "Then we go on from there"}},
  };
  for (const auto& c : cases) EXPECT_EQ(split(c.text, 6, count_words), c.passages) << c.text;
}

TEST(Passages, ChineseSentencesNeedNoSpaces) {
  EXPECT_EQ(split("我们今天去学校。他说「好。」然后走了", 13, count_characters),
            (Texts{"我们今天去学校。", "他说「好。」然后走了"}));
  EXPECT_EQ(split("他说「好。」然后走了吧", 8, count_characters),
            (Texts{"他说「好。」", "然后走了吧"}));
}

TEST(Passages, CountsThatAreNotMonotone) {
  // Joining two characters can cost less than either: what is returned is always counted.
  const Counter odd = [](std::string_view t) { return t.size() + (t.size() % 3 == 0 ? 5 : 0); };
  std::string text;
  for (int i = 0; i < 200; ++i) text += i % 7 == 6 ? ' ' : static_cast<char>('a' + i % 26);
  check(text, 10, odd);
}

TEST(Passages, RandomTextsKeepThePromises) {
  const std::vector<std::string> parts = {"a",    "word",   " ",      "  ",
                                          "\n",   "\n\n",   "\r\n",   ". ",
                                          "! ",   "é",      "猫",     "。",
                                          "🦙", "\t",     "\"",     "Mr.",
                                          "3.14", "\u00A0", "\u3000", "longerwordthanthelimit"};
  std::mt19937_64 random(17);
  for (int round = 0; round < 400; ++round) {
    std::string text;
    const size_t pieces = random() % 120;
    for (size_t i = 0; i < pieces; ++i) text += parts[random() % parts.size()];
    const size_t limit = 1 + random() % 24;
    check(text, limit, count_quads);
    check(text, limit, count_words);
    check(text, limit, count_characters);
  }
}

// With words as units and as the only borders, every passage but the last is full.
TEST(Passages, PassagesAreFull) {
  std::mt19937_64 random(3);
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::string(1 + random() % 12, 'x') + ' ';
  for (const size_t limit : {1, 2, 7, 100, 512, 4999, 5000}) {
    const auto passages = split(text, limit, count_words);
    EXPECT_EQ(passages.size(), (5000 + limit - 1) / limit);
    for (size_t i = 0; i + 1 < passages.size(); ++i) EXPECT_EQ(count_words(passages[i]), limit);
  }
}

// The work is a few countings of the text, whatever it looks like.
TEST(Passages, CountingStaysLinear) {
  std::string words, mixed;
  std::mt19937_64 random(4);
  while (words.size() < (1u << 20)) words += std::string(1 + random() % 9, 'w') + ' ';
  while (mixed.size() < (1u << 20))
    mixed += std::string(random() % 3000, ' ') + std::string(random() % 5000, 'y') + "\n\n";
  const std::string one_line(1 << 20, 'z'), spaces = "a" + std::string(1 << 20, ' ') + "b";
  for (const std::string* text :
       std::initializer_list<const std::string*>{&words, &mixed, &one_line, &spaces}) {
    uint64_t counted = 0, longest = 0;
    const Counter count = [&](std::string_view t) {
      counted += t.size();
      longest = std::max<uint64_t>(longest, t.size());
      return count_quads(t);
    };
    const auto passages = split_passages(*text, 512, count);
    EXPECT_LT(counted, 16 * text->size());
    if (text != &spaces) {
      EXPECT_LT(longest, 32u << 10);
    }
    uint64_t begin = 0;
    for (const Passage& p : passages) {
      EXPECT_GE(p.begin, begin);
      begin = p.end;
    }
  }
}

}  // namespace
}  // namespace msa
