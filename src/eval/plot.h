// Curves over a logarithmic axis as SVG, readable on light and dark pages.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace msa::eval {

struct Point {
  double x = 0, y = 0;  // x above 0; y from 0 to 1
};

struct Curve {
  static constexpr size_t kGrey = static_cast<size_t>(-1);

  std::string label;
  std::vector<Point> points;  // in any order
  size_t colour = 0;          // of a palette of eight that repeats; or kGrey
  size_t marker = 0;          // 0: disc, 1: ring, 2: square, 3: diamond, then again
  bool dashed = false;
};

struct Tick {
  double x = 0;
  std::string label;
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Tick> ticks;  // of the x axis; labels that would overlap are left out
  std::vector<Curve> curves;
};

// A whole SVG document. The y axis goes from 0 to 100%. Points outside of what Point allows, or not
// finite, are left out; a plot without points says so.
std::string draw_svg(const Plot& plot);

}  // namespace msa::eval
