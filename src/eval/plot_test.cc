#include "eval/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <regex>

namespace msa::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// Every element is closed, and attributes are quoted: what a browser needs to show the picture.
void check_xml(const std::string& svg) {
  std::vector<std::string> open;
  const std::regex tag(R"(<(/?)([a-z]+)((?:\s+[a-zA-Z0-9:-]+="[^"<]*")*)\s*(/?)>)");
  size_t seen = 0;
  for (std::sregex_iterator at(svg.begin(), svg.end(), tag), end; at != end; ++at, ++seen) {
    if ((*at)[1].length() > 0) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), (*at)[2]);
      open.pop_back();
    } else if ((*at)[4].length() == 0) {
      open.push_back((*at)[2]);
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(seen, count(svg, "<"));
}

Plot plot_of(std::vector<Point> points) {
  return {"title", "x", "y", {{1000, "1K"}, {1e6, "1M"}}, {{"a curve", std::move(points)}}};
}

TEST(Plot, DrawsCurvesMarkersAndLegend) {
  Plot plot = plot_of({{1e6, 0.5}, {1000, 1}, {31622.8, 0.75}});
  plot.curves.push_back({"dashed", {{1000, 0}, {1e6, 0}}, Curve::kGrey, 1, true});
  const std::string svg = draw_svg(plot);
  check_xml(svg);
  EXPECT_EQ(count(svg, "<circle"), 5u + 2);
  EXPECT_EQ(count(svg, "stroke-dasharray"), 2u);
  EXPECT_THAT(svg, HasSubstr(">a curve</text>"));
  EXPECT_THAT(svg, HasSubstr(">1M</text>"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
  // From left to right whatever the order of points, the middle one in the middle.
  const std::regex path(R"(<path d="M([\d.]+) ([\d.]+) L([\d.]+) ([\d.]+) L([\d.]+) ([\d.]+)\")");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(svg, match, path)) << svg;
  const auto number = [&](int group) { return std::stod(match[group]); };
  EXPECT_NEAR(number(3), (number(1) + number(5)) / 2, 0.2);
  EXPECT_LT(number(1), number(3));
  EXPECT_LT(number(2), number(4));  // 100% is above 75%
  EXPECT_NEAR(number(4), (number(2) + number(6)) / 2, 0.2);
}

TEST(Plot, OnePointIsAMarkerAndNoLine) {
  const std::string svg = draw_svg(plot_of({{1000, 0.5}}));
  check_xml(svg);
  EXPECT_EQ(count(svg, "<circle"), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(Plot, LeavesOutWhatCannotBeDrawn) {
  const double inf = std::numeric_limits<double>::infinity(), nan = inf - inf;
  const std::string svg = draw_svg(plot_of(
      {{0, 0.5}, {-1, 0.5}, {nan, 0.5}, {inf, 0.5}, {10, nan}, {10, 1.5}, {10, -0.1}, {10, 1}}));
  check_xml(svg);
  EXPECT_EQ(count(svg, "<circle"), 2u);
  const std::string nothing = draw_svg(plot_of({{0, 0.5}}));
  check_xml(nothing);
  EXPECT_THAT(nothing, HasSubstr("no results"));
  check_xml(draw_svg({}));
}

TEST(Plot, LabelsCannotBreakTheDocument) {
  Plot plot = plot_of({{1000, 0.5}});
  plot.title = "a < b & \"c\"\x1b[31m";
  plot.curves[0].label = std::string(500, 'x') + "</text><script>";
  plot.ticks[0].label = "<&>";
  const std::string svg = draw_svg(plot);
  check_xml(svg);
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; &quot;c&quot;[31m"));
  EXPECT_THAT(svg, Not(HasSubstr("script")));
  EXPECT_THAT(svg, HasSubstr("x…</text>"));
}

TEST(Plot, TickLabelsDoNotOverlap) {
  Plot plot = plot_of({{1000, 0.5}, {1e6, 0.5}});
  plot.ticks = {{1000, "first"}, {1010, "second"}, {1e6, "last"}, {1e7, "outside"}, {-1, "none"}};
  const std::string svg = draw_svg(plot);
  EXPECT_THAT(svg, HasSubstr("first"));
  EXPECT_THAT(svg, HasSubstr("last"));
  for (const char* hidden : {"second", "outside", "none<"})
    EXPECT_THAT(svg, Not(HasSubstr(hidden)));
}

}  // namespace
}  // namespace msa::eval
