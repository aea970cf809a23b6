#include "eval/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <string_view>

namespace msa::eval {
namespace {

constexpr double kWidth = 760, kLeft = 62, kRight = 24, kTop = 48, kPlotHeight = 300;
constexpr double kBottomAxis = 52, kLegendRow = 20, kLegendMargin = 14;
constexpr double kLegendColumn = (kWidth - kLeft - kRight) / 2;
constexpr double kCharacterWidth = 6.6;  // of the labels' font, on average
constexpr double kMarker = 4;

// Told apart also by people who see few colours (after Okabe and Ito), and dark enough for white
// and bright enough for black pages.
constexpr std::array<std::string_view, 8> kPalette = {"#0a7bc2", "#d9601a", "#0a9b72", "#c85f9b",
                                                      "#b58900", "#3fa0d8", "#8a63d2", "#c0392b"};
constexpr std::string_view kGreyColour = "#808890";

bool is_drawable(const Point& p) {
  return std::isfinite(p.x) && p.x > 0 && std::isfinite(p.y) && p.y >= 0 && p.y <= 1;
}

std::string_view colour_of(const Curve& curve) {
  return curve.colour == Curve::kGrey ? kGreyColour : kPalette[curve.colour % kPalette.size()];
}

// `text` as XML text; control characters, which XML cannot hold, are left out.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) out += c;
    }
  }
  return out;
}

// `text` (UTF-8) cut to what `width` pixels hold.
std::string fitted(std::string_view text, double width) {
  const auto most = static_cast<size_t>(std::max(4.0, width / kCharacterWidth));
  size_t characters = 0, cut = text.size();
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (characters == most - 1) cut = i;
    ++characters;
  }
  return characters <= most ? std::string(text) : std::string(text.substr(0, cut)) + "…";
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot) : plot_(plot) {
    double least = std::numeric_limits<double>::infinity(), most = 0;
    for (const Curve& curve : plot.curves)
      for (const Point& p : curve.points)
        if (is_drawable(p)) least = std::min(least, p.x), most = std::max(most, p.x);
    empty_ = most == 0;
    if (empty_) least = most = 1;
    // A little room on both sides, and a width where there is but one size.
    const double room = least == most ? std::log(2.0) : 0.04 * std::log(most / least);
    low_ = std::log(least) - room;
    high_ = std::log(most) + room;
  }

  std::string draw() {
    const size_t rows = (plot_.curves.size() + 1) / 2;
    const double height =
        kTop + kPlotHeight + kBottomAxis + kLegendMargin + kLegendRow * static_cast<double>(rows);
    add(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" )"
        R"(height="{1}" role="img" font-family="system-ui, sans-serif" font-size="12">)",
        kWidth, height);
    add("<title>{}</title>", escaped(plot_.title));
    // Viewers without style sheets see the light colours, which are in the attributes.
    add("<style>@media (prefers-color-scheme: dark) {{ .page {{ fill: #0d1117 }} "
        ".ink {{ fill: #e6edf3 }} .grid {{ stroke: #30363d }} .hole {{ fill: #0d1117 }} }}"
        "</style>");
    add(R"(<rect class="page" width="{}" height="{}" fill="#ffffff"/>)", kWidth, height);
    add(R"(<text class="ink" x="{}" y="26" font-size="15" font-weight="600" fill="#1f2328">{}</text>)",
        kLeft, escaped(fitted(plot_.title, (kWidth - kLeft) * 0.8)));
    axes();
    for (const Curve& curve : plot_.curves) line(curve);
    for (const Curve& curve : plot_.curves)
      for (const Point& p : curve.points)
        if (is_drawable(p)) marker(curve, x(p.x), y(p.y));
    legend();
    if (empty_)
      add(R"(<text class="ink" x="{}" y="{}" text-anchor="middle" fill="#1f2328">no results</text>)",
          (kLeft + kWidth - kRight) / 2, kTop + kPlotHeight / 2);
    out_ += "</svg>\n";
    return std::move(out_);
  }

 private:
  template <class... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Arguments>(arguments)...);
    out_ += '\n';
  }

  double x(double value) const {
    return kLeft + (std::log(value) - low_) / (high_ - low_) * (kWidth - kLeft - kRight);
  }
  static double y(double value) { return kTop + (1 - value) * kPlotHeight; }

  void axes() {
    for (int percent = 0; percent <= 100; percent += 20) {
      const double at = y(percent / 100.0);
      add(R"(<line class="grid" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}" stroke="#d8dee4"/>)", kLeft,
          at, kWidth - kRight, at);
      add(R"(<text class="ink" x="{}" y="{:.1f}" text-anchor="end" fill="#1f2328">{}%</text>)",
          kLeft - 8, at + 4, percent);
    }
    std::vector<Tick> ticks;
    for (const Tick& tick : plot_.ticks)
      if (std::isfinite(tick.x) && tick.x > 0 && std::log(tick.x) >= low_ &&
          std::log(tick.x) <= high_)
        ticks.push_back(tick);
    std::ranges::sort(ticks, {}, &Tick::x);
    double free_from = 0;
    for (const Tick& tick : ticks) {
      const double at = x(tick.x);
      add(R"(<line class="grid" x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}" stroke="#d8dee4"/>)",
          at, kTop, kTop + kPlotHeight + 5);
      const double half = static_cast<double>(tick.label.size()) * kCharacterWidth / 2 + 4;
      if (at - half < free_from) continue;
      free_from = at + half;
      add(R"(<text class="ink" x="{:.1f}" y="{}" text-anchor="middle" fill="#1f2328">{}</text>)",
          at, kTop + kPlotHeight + 20, escaped(tick.label));
    }
    add(R"(<text class="ink" x="{}" y="{}" text-anchor="middle" fill="#1f2328">{}</text>)",
        (kLeft + kWidth - kRight) / 2, kTop + kPlotHeight + 40, escaped(plot_.x_label));
    add(R"svg(<text class="ink" transform="translate(16 {}) rotate(-90)" text-anchor="middle" )svg"
        R"(fill="#1f2328">{}</text>)",
        kTop + kPlotHeight / 2, escaped(plot_.y_label));
  }

  void line(const Curve& curve) {
    std::vector<Point> points;
    std::ranges::copy_if(curve.points, std::back_inserter(points), is_drawable);
    std::ranges::stable_sort(points, {}, &Point::x);
    if (points.size() < 2) return;
    std::string path;
    for (const Point& p : points)
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", x(p.x), y(p.y));
    add(R"(<path d="{}" fill="none" stroke="{}" stroke-width="2"{}/>)", path, colour_of(curve),
        dashes(curve));
  }
  static std::string_view dashes(const Curve& curve) {
    return curve.dashed ? R"( stroke-dasharray="6 4")" : "";
  }

  void marker(const Curve& curve, double cx, double cy) {
    const std::string_view colour = colour_of(curve);
    switch (curve.marker % 4) {
      case 0:
        add(R"(<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"/>)", cx, cy, kMarker, colour);
        break;
      case 1:
        add(R"(<circle class="hole" cx="{:.1f}" cy="{:.1f}" r="{}" fill="#ffffff" stroke="{}" )"
            R"(stroke-width="2"/>)",
            cx, cy, kMarker, colour);
        break;
      case 2:
        add(R"(<rect x="{:.1f}" y="{:.1f}" width="{}" height="{}" fill="{}"/>)", cx - kMarker,
            cy - kMarker, 2 * kMarker, 2 * kMarker, colour);
        break;
      default:
        add(R"(<path d="M{:.1f} {:.1f}l{} {}l-{} {}l-{} -{}z" fill="{}"/>)", cx, cy - kMarker - 1,
            kMarker + 1, kMarker + 1, kMarker + 1, kMarker + 1, kMarker + 1, kMarker + 1, colour);
    }
  }

  // Two columns below the axes.
  void legend() {
    const double top = kTop + kPlotHeight + kBottomAxis + kLegendMargin / 2;
    for (size_t i = 0; i < plot_.curves.size(); ++i) {
      const Curve& curve = plot_.curves[i];
      const double left = kLeft + kLegendColumn * static_cast<double>(i % 2);
      const double at = top + kLegendRow * (static_cast<double>(i - i % 2) + 1) / 2;
      add(R"(<path d="M{0} {1:.1f}h32" stroke="{2}" stroke-width="2"{3}/>)", left, at,
          colour_of(curve), dashes(curve));
      marker(curve, left + 16, at);
      add(R"(<text class="ink" x="{}" y="{:.1f}" fill="#1f2328">{}</text>)", left + 40, at + 4,
          escaped(fitted(curve.label, kLegendColumn - 48)));
    }
  }

  const Plot& plot_;
  std::string out_;
  double low_ = 0, high_ = 1;  // natural logarithms at the ends of the x axis
  bool empty_ = false;
};

}  // namespace

std::string draw_svg(const Plot& plot) {
  return Drawing(plot).draw();
}

}  // namespace msa::eval
