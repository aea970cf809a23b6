#include "cli/progress.h"

#include <gtest/gtest.h>

#include <clocale>
#include <cmath>

#include "cli/text_layout.h"

namespace msa::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

ProgressState example() {
  ProgressState state;
  state.doing = "encoding";
  state.fraction = 0.435;
  state.facts = {"1,234 documents", "812 tokens/s", "98,765 tokens"};
  state.seconds_left = 75;
  return state;
}

TEST(Progress, BarFitsEveryWidth) {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  for (size_t width = 1; width < 200; ++width)
    for (bool unicode : {false, true})
      EXPECT_LE(display_width(render_bar(example(), width, unicode)), width);
}

TEST(Progress, BarShowsShareFactsAndTimeLeft) {
  const std::string wide = render_bar(example(), 120, false);
  EXPECT_EQ(wide.find("encoding ####"), 0u) << wide;
  EXPECT_NE(wide.find(" 43%"), std::string::npos) << wide;
  EXPECT_NE(wide.find("1,234 documents"), std::string::npos);
  EXPECT_NE(wide.find("98,765 tokens"), std::string::npos);
  EXPECT_NE(wide.find("1:15 left"), std::string::npos);
  const std::string narrow = render_bar(example(), 40, false);
  EXPECT_NE(narrow.find(" 43%"), std::string::npos) << narrow;
  EXPECT_NE(narrow.find("1:15 left"), std::string::npos) << narrow;
  EXPECT_EQ(narrow.find("tokens/s"), std::string::npos) << narrow;
}

TEST(Progress, HundredPerCentOnlyAtTheEnd) {
  ProgressState state = example();
  state.fraction = 0.9999;
  EXPECT_NE(render_plain(state).find("99%"), std::string::npos);
  state.fraction = 1;
  EXPECT_NE(render_plain(state).find("100%"), std::string::npos);
}

TEST(Progress, NonsenseNumbersAreNotShown) {
  ProgressState state = example();
  state.fraction = std::nan("");
  state.seconds_left = std::nullopt;
  state.facts = {"1 document"};
  EXPECT_EQ(render_bar(state, 80, false), "encoding  1 document");
  EXPECT_EQ(render_plain(state), "encoding: 1 document");
  state.fraction = 7;
  EXPECT_NE(render_bar(state, 80, false).find("100%"), std::string::npos);
  EXPECT_EQ(render_plain({"waiting", {}, {}, {}}), "waiting");
}

TEST(Progress, EncodeProgressInWords) {
  EncodeProgress progress;
  progress.input.bytes_read = 50, progress.input.bytes_total = 200;
  progress.documents = 1, progress.tokens = 5000, progress.tokens_per_second = 812.4;
  progress.already_there = 3, progress.seconds_left = 9.5;
  EXPECT_EQ(render_plain(describe(progress)),
            "encoding: 25%, 1 document, 812 tokens/s, 5,000 tokens, 3 already there, 9.5 s left");
  progress.input.bytes_total = 0;
  EXPECT_EQ(render_plain(describe(progress)).find('%'), std::string::npos);
}

class ProgressOutput : public ::testing::Test {
 protected:
  std::string text_;
  Output out_{text_};
  steady_clock::time_point now_{};
  int rendered_ = 0;

  void run(Terminal terminal, milliseconds step, int steps) {
    Console console(out_, terminal);
    Progress progress(console, [this] { return now_; });
    for (int i = 0; i < steps; ++i, now_ += step)
      progress.update([&] {
        ++rendered_;
        ProgressState state = example();
        state.fraction = i / 1000.0;
        return state;
      });
  }
};

TEST_F(ProgressOutput, PlainLinesEveryFewSeconds) {
  run({}, milliseconds(100), 111);  // eleven seconds
  EXPECT_EQ(rendered_, 3);
  EXPECT_EQ(std::count(text_.begin(), text_.end(), '\n'), 3);
  EXPECT_EQ(text_.find('\r'), std::string::npos);
  EXPECT_EQ(text_.find('\x1b'), std::string::npos);
}

TEST_F(ProgressOutput, TheTerminalLineIsRedrawnAndTakenAway) {
  Terminal terminal;
  terminal.interactive = true;
  run(terminal, milliseconds(10), 100);  // one second
  EXPECT_EQ(rendered_, 10);
  EXPECT_EQ(text_.find('\n'), std::string::npos);
  EXPECT_TRUE(text_.ends_with("\r\x1b[K"));
}

}  // namespace
}  // namespace msa::cli
