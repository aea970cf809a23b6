#include "cli/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/signals.h"

namespace msa::cli {
namespace {

TEST(Output, AClosedPipeIsNoticed) {
  ignore_write_signals();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  Output out(ends[1]);
  out.write("text");
  EXPECT_TRUE(out.ok()) << "still buffered";
  out.flush();
  EXPECT_FALSE(out.ok());
  EXPECT_TRUE(out.reader_gone());
  ::close(ends[1]);
}

TEST(Output, AFullDeviceIsAnError) {
  const int fd = ::open("/dev/full", O_WRONLY);
  if (fd < 0) GTEST_SKIP() << "no /dev/full here";
  Output out(fd);
  out.write(std::string(1 << 20, 'x'));
  out.flush();
  EXPECT_FALSE(out.reader_gone());
  ASSERT_FALSE(out.result());
  EXPECT_EQ(out.result().error().code, Code::no_space);
  EXPECT_NE(out.result().error().message.find("standard output"), std::string::npos);
  ::close(fd);
}

TEST(Output, ColoursOnlyWhereAsked) {
  Terminal terminal;
  EXPECT_EQ(styled(terminal, Style::bold, "x"), "x");
  terminal.colour = true;
  EXPECT_EQ(styled(terminal, Style::bold, "x"), "\x1b[1mx\x1b[0m");
  EXPECT_EQ(styled(terminal, Style::bold, ""), "");
}

TEST(Console, MessagesAreOneLineEach) {
  std::string text;
  Output out(text);
  Console console(out, {});
  console.error("a.txt: broken\nby a line feed");
  console.warning("w");
  console.note("n");
  console.status("not a terminal");
  EXPECT_EQ(text, "msa: a.txt: broken by a line feed\nwarning: w\nnote: n\n");
}

TEST(Console, LinesStandAboveTheStatus) {
  std::string text;
  Output out(text);
  Terminal terminal;
  terminal.interactive = true;
  terminal.fixed_width = 20;
  Console console(out, terminal);
  console.status("working");
  console.line("hello");
  EXPECT_EQ(text, "working\r\x1b[Khello\nworking");
  console.status("working");  // unchanged: nothing to draw
  console.status("");
  EXPECT_EQ(text, "working\r\x1b[Khello\nworking\r\x1b[K");
  console.status(std::string(50, 'x'));
  EXPECT_TRUE(text.ends_with("\r\x1b[K" + std::string(18, 'x') + "…"));
}

}  // namespace
}  // namespace msa::cli
