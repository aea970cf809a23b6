#include "train/loop/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace msa::train {
namespace {

constexpr double kWidth = 990, kLeft = 64, kRight = 220, kTop = 52, kBottom = 44, kGap = 30;
constexpr double kPlotWidth = kWidth - kLeft - kRight;
constexpr size_t kMostPoints = 320;  // of one curve; more are averaged
// Grey that stands out from white and from black.
constexpr std::string_view kInk = "#808080";
constexpr double kLegendLine = 18;

struct Point {
  double x = 0, y = 0;
};

struct Curve {
  std::string name, colour;
  std::vector<Point> points;
  bool dashed = false;
};

struct Panel {
  std::string name;
  double height = 0;
  bool logarithmic = false, percent = false;
  std::vector<Curve> curves;
};

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  // 0 at `low`, 1 at `high`; values beyond stay at the edge.
  double place(double value) const {
    const auto scaled = [&](double v) { return logarithmic ? std::log10(v) : v; };
    const double share = (scaled(std::max(value, logarithmic ? low : value)) - scaled(low)) /
                         (scaled(high) - scaled(low));
    return std::clamp(share, 0.0, 1.0);
  }
};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  return out;
}

// 1, 2 or 5 times a power of ten: about `count` steps in `range`.
double nice_step(double range, double count) {
  const double raw = range / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power * (1 + 1e-9)) return factor * power;
  return 10 * power;
}

std::vector<double> ticks_of(const Axis& axis, double count) {
  std::vector<double> ticks;
  if (axis.logarithmic) {
    const double decades = std::log10(axis.high / axis.low);
    for (double power = std::pow(10.0, std::floor(std::log10(axis.low)));
         power <= axis.high * 1.001; power *= 10)
      for (const double factor : {1.0, 2.0, 3.0, 5.0}) {
        if ((decades > 2.5 && factor != 1) || (decades > 1.2 && factor == 3)) continue;
        const double tick = power * factor;
        if (tick >= axis.low * 0.999 && tick <= axis.high * 1.001) ticks.push_back(tick);
      }
    return ticks;
  }
  const double step = nice_step(axis.high - axis.low, count);
  // + 0.0: minus zero would be shown as such.
  for (double k = std::ceil(axis.low / step - 1e-9) + 0.0; k * step <= axis.high + step * 1e-9; ++k)
    ticks.push_back(k * step + 0.0);
  return ticks;
}

// `value` in tokens: "500k", "1.5M".
std::string tokens_text(double value) {
  if (value >= 1e9) return fmt::format("{:.4g}G", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.4g}M", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.4g}k", value / 1e3);
  return fmt::format("{:.4g}", value);
}

// Neighbouring points are averaged where there are more than can be told apart.
std::vector<Point> thinned(const std::vector<Point>& points) {
  if (points.size() <= kMostPoints) return points;
  std::vector<Point> out;
  for (size_t i = 0; i < kMostPoints; ++i) {
    const size_t first = i * points.size() / kMostPoints;
    const size_t last = (i + 1) * points.size() / kMostPoints;
    Point mean;
    for (size_t k = first; k < last; ++k) {
      mean.x += points[k].x;
      mean.y += points[k].y;
    }
    const auto count = static_cast<double>(last - first);
    out.push_back({mean.x / count, mean.y / count});
  }
  return out;
}

Axis axis_of(const Panel& panel) {
  Axis axis;
  axis.logarithmic = panel.logarithmic;
  if (panel.percent) return axis;
  double low = INFINITY, high = -INFINITY;
  for (const Curve& curve : panel.curves)
    for (const Point& point : curve.points) {
      if (panel.logarithmic && point.y <= 0) continue;
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  if (!panel.logarithmic) {
    axis.low = 0;
    axis.high = high > 0 ? high * 1.05 : 1;
    return axis;
  }
  if (!(low < INFINITY)) low = high = 1;
  axis.low = std::max(low, high * 1e-5) / 1.15;  // one tiny value does not flatten all others
  axis.high = high * 1.15;
  return axis;
}

class Drawing {
 public:
  Drawing(double height, std::string_view title) {
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
        "width=\"{0:.0f}\" height=\"{1:.0f}\" font-family=\"system-ui, sans-serif\" "
        "font-size=\"12\" fill=\"{2}\">\n<title>{3}</title>\n",
        kWidth, height, kInk, escaped(title));
    text(kLeft, 20, title, "font-size=\"15\" font-weight=\"bold\"");
  }

  void text(double x, double y, std::string_view content, std::string_view attributes = {}) {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}{}>{}</text>\n", x, y,
                        attributes.empty() ? "" : " ", attributes, escaped(content));
  }
  void band(double x0, double x1, double y0, double y1) {
    out_ += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "fill=\"{}\" fill-opacity=\"0.10\"/>\n",
        x0, y0, x1 - x0, y1 - y0, kInk);
  }
  void line(double x0, double y0, double x1, double y1, double opacity) {
    out_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" "
        "stroke=\"{}\" stroke-opacity=\"{:.2f}\"/>\n",
        x0, y0, x1, y1, kInk, opacity);
  }
  void curve(const std::vector<Point>& points, const Curve& curve) {
    std::string path;
    for (const Point& point : points) path += fmt::format("{:.1f},{:.1f} ", point.x, point.y);
    if (!path.empty()) path.pop_back();
    out_ += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" "
        "stroke-linejoin=\"round\"{}/>\n",
        path, curve.colour, curve.dashed ? " stroke-dasharray=\"5 3\"" : "");
    if (!curve.dashed && points.size() > 1) return;
    for (const Point& point : points)
      out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\" fill=\"{}\"/>\n", point.x,
                          point.y, curve.colour);
  }
  std::string finish() && { return std::move(out_) + "</svg>\n"; }

 private:
  std::string out_;
};

struct PhaseSpan {
  std::string name;
  double first = 0, last = 0;  // tokens
};

std::vector<PhaseSpan> phases_of(const std::vector<LogRecord>& records) {
  std::vector<PhaseSpan> spans;
  double previous = 0;
  for (const LogRecord& record : records) {
    if (record.evaluation) continue;
    if (spans.empty() || spans.back().name != record.phase)
      spans.push_back({record.phase, previous, previous});
    previous = static_cast<double>(record.tokens);
    spans.back().last = previous;
  }
  return spans;
}

// The curves of one metric: training, and held-out data if there is any.
void add_metric(Panel& panel, const std::vector<LogRecord>& records, const std::string& name,
                const std::string& colour, std::optional<double> Metrics::*value) {
  for (const bool evaluation : {false, true}) {
    Curve curve{evaluation ? name + ", held out" : name, colour, {}, evaluation};
    for (const LogRecord& record : records)
      if (record.evaluation == evaluation && record.metrics.*value &&
          std::isfinite(*(record.metrics.*value)))
        curve.points.push_back({static_cast<double>(record.tokens), *(record.metrics.*value)});
    if (!curve.points.empty()) panel.curves.push_back(std::move(curve));
  }
}

std::vector<Panel> panels_of(const std::vector<LogRecord>& records) {
  std::vector<Panel> panels;
  Panel losses{"loss (logarithmic)", 260, /*logarithmic=*/true, false, {}};
  add_metric(losses, records, "language model", "#4a7fd0", &Metrics::lm_loss);
  add_metric(losses, records, "routing", "#d9822b", &Metrics::aux_loss);
  add_metric(losses, records, "numbers", "#2f9e62", &Metrics::number_loss);
  add_metric(losses, records, "answers", "#c8494f", &Metrics::answer_loss);
  add_metric(losses, records, "text", "#9068c8", &Metrics::text_loss);
  if (!losses.curves.empty()) panels.push_back(std::move(losses));

  Panel shares{"share right", 260, false, /*percent=*/true, {}};
  add_metric(shares, records, "recall@1", "#d9822b", &Metrics::recall_at_1);
  add_metric(shares, records, "recall@5", "#a39032", &Metrics::recall_at_5);
  add_metric(shares, records, "number tokens", "#2f9e62", &Metrics::number_accuracy);
  add_metric(shares, records, "answer tokens", "#c8494f", &Metrics::answer_accuracy);
  add_metric(shares, records, "whole numbers", "#63c08c", &Metrics::numbers_right);
  add_metric(shares, records, "whole answers", "#e08a90", &Metrics::answers_right);
  if (!shares.curves.empty()) panels.push_back(std::move(shares));

  Panel rate{"learning rate", 90, false, false, {}};
  Curve curve{"learning rate", "#808890", {}, false};
  for (const LogRecord& record : records)
    if (!record.evaluation)
      curve.points.push_back({static_cast<double>(record.tokens), record.learning_rate});
  rate.curves.push_back(std::move(curve));
  panels.push_back(std::move(rate));
  return panels;
}

std::string tick_text(const Panel& panel, double tick) {
  return panel.percent ? fmt::format("{:.0f}%", 100 * tick) : fmt::format("{:.4g}", tick);
}

void draw_panel(Drawing& drawing, const Panel& panel, double top, const Axis& x_axis,
                const std::vector<PhaseSpan>& phases) {
  const double bottom = top + panel.height;
  const auto x_of = [&](double tokens) { return kLeft + kPlotWidth * x_axis.place(tokens); };
  for (size_t i = 0; i < phases.size(); i += 2)
    drawing.band(x_of(phases[i].first), x_of(phases[i].last), top, bottom);
  const Axis y_axis = axis_of(panel);
  const auto y_of = [&](double value) { return bottom - panel.height * y_axis.place(value); };
  for (const double tick : ticks_of(y_axis, panel.height / 45)) {
    drawing.line(kLeft, y_of(tick), kLeft + kPlotWidth, y_of(tick), 0.25);
    drawing.text(kLeft - 6, y_of(tick) + 4, tick_text(panel, tick), "text-anchor=\"end\"");
  }
  drawing.line(kLeft, top, kLeft, bottom, 0.8);
  drawing.line(kLeft, bottom, kLeft + kPlotWidth, bottom, 0.8);
  double legend = top + 10;
  const double legend_x = kLeft + kPlotWidth + 14;
  drawing.text(legend_x, legend, panel.name, "font-weight=\"bold\"");
  for (const Curve& curve : panel.curves) {
    std::vector<Point> points = thinned(curve.points);
    for (Point& point : points) point = {x_of(point.x), y_of(point.y)};
    drawing.curve(points, curve);
    if (panel.curves.size() == 1) continue;
    legend += kLegendLine;
    drawing.curve({{legend_x, legend - 4}, {legend_x + 20, legend - 4}}, curve);
    drawing.text(legend_x + 26, legend, curve.name);
  }
}

}  // namespace

Result<std::string> plot_svg(const std::vector<LogRecord>& records, std::string_view title) {
  const auto steps =
      std::count_if(records.begin(), records.end(), [](const auto& r) { return !r.evaluation; });
  if (steps < 2)
    return Error{
        Code::invalid_argument,
        fmt::format("{}: holds {} training records; a curve needs at least 2", title, steps)};
  const std::vector<Panel> panels = panels_of(records);
  const std::vector<PhaseSpan> phases = phases_of(records);
  Axis x_axis{0, 1, false};
  for (const LogRecord& record : records)
    x_axis.high = std::max(x_axis.high, static_cast<double>(record.tokens));

  double height = kTop + kBottom - kGap;
  for (const Panel& panel : panels) height += panel.height + kGap;
  Drawing drawing(height, title);
  double end_of_last = -INFINITY;
  for (const PhaseSpan& phase : phases) {
    const double x = kLeft + kPlotWidth * x_axis.place(phase.first);
    if (x < end_of_last + 6) continue;  // no room for its name
    drawing.text(x + 2, kTop - 8, phase.name);
    end_of_last = x + 7.0 * static_cast<double>(phase.name.size());
  }
  double top = kTop;
  for (const Panel& panel : panels) {
    draw_panel(drawing, panel, top, x_axis, phases);
    top += panel.height + kGap;
  }
  const double bottom = top - kGap;
  for (const double tick : ticks_of(x_axis, 9)) {
    const double x = kLeft + kPlotWidth * x_axis.place(tick);
    drawing.line(x, bottom, x, bottom + 5, 0.8);
    drawing.text(x, bottom + 18, tokens_text(tick), "text-anchor=\"middle\"");
  }
  drawing.text(kLeft + kPlotWidth / 2, bottom + 36, "tokens trained on", "text-anchor=\"middle\"");
  return std::move(drawing).finish();
}

}  // namespace msa::train
