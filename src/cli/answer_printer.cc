#include "cli/answer_printer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "cli/format.h"
#include "cli/text_layout.h"

namespace msa::cli {
namespace {

constexpr std::string_view kPassageMark = "    > ";

std::string title_line(const Terminal& terminal, uint32_t number, const std::string& title,
                       const std::string& id) {
  const std::string name = printable_line(title.empty() ? id : title);
  return styled(terminal, Style::cyan, fmt::format("[{}]", number)) + " " +
         styled(terminal, Style::bold, name);
}

}  // namespace

bool AnswerPrinter::on_token(const TokenEvent& event) {
  switch (event.kind) {
    case TokenEvent::Kind::retrieval:
      looking_up_ += event.text;
      session_.console.status("looking up " + looking_up_);
      break;
    case TokenEvent::Kind::documents:
      looking_up_.clear();
      session_.console.status(fmt::format("reading [{}]", fmt::join(event.numbers, "] [")));
      break;
    case TokenEvent::Kind::answer: {
      std::string_view text = event.text;
      if (!printed_) text.remove_prefix(std::min(text.find_first_not_of(" \n\t"), text.size()));
      if (text.empty()) break;
      if (!printed_) session_.console.status("");
      printed_ = true;
      session_.out.write(printable(text));
      session_.out.flush();
      break;
    }
  }
  return session_.out.ok();
}

void AnswerPrinter::finish(const Answer& answer) {
  session_.console.status("");
  if (!printed_) session_.out.write(printable(answer.text));
  if (printed_ || !answer.text.empty()) session_.out.write("\n");
  session_.out.flush();
}

std::string describe_source(const std::string& source, uint64_t char_begin, uint64_t char_end) {
  std::string text = printable_line(source);
  if (char_end > char_begin)
    text += fmt::format("{}characters {} to {}", text.empty() ? "" : ", ", char_begin, char_end);
  return text;
}

void print_citations(Session& session, const std::vector<Citation>& citations) {
  const Terminal& terminal = session.terminal;
  // On a terminal the quoted text is wrapped; elsewhere its lines stay as they are.
  const size_t width = terminal.interactive ? terminal.width() - kPassageMark.size() - 1 : 0;
  for (const Citation& c : citations) {
    session.out.write("\n" + title_line(terminal, c.number, c.title, c.id) + "\n");
    if (const std::string source = describe_source(c.source, c.char_begin, c.char_end);
        !source.empty())
      session.out.write("    " + source + "\n");
    for (const std::string& line : wrap(printable(c.text), width))
      session.out.write(styled(terminal, Style::dim, std::string(kPassageMark) + line) + "\n");
  }
}

void print_routing(Session& session, const Routing& routing, const Bank& bank) {
  std::map<uint32_t, std::string> titles;
  const auto title = [&](const RoutedDocument& d) -> const std::string& {
    auto [at, added] = titles.try_emplace(d.number);
    if (added) {
      // A title that cannot be read is no reason to withhold the scores.
      const Result<StoredDocument> document = bank.document(d.number);
      at->second = printable_line(document && !document->title.empty() ? document->title : d.id);
    }
    return at->second;
  };
  const Terminal& terminal = session.terminal;
  const auto print = [&](const std::string& heading, const std::vector<RoutedDocument>& documents) {
    session.out.write(styled(terminal, Style::bold, heading) + "\n");
    for (const RoutedDocument& d : documents) {
      const std::string line =
          fmt::format("  {:>8.4f}  {:<8} {}", d.score, fmt::format("[{}]", d.number), title(d));
      session.out.write((terminal.interactive ? fit(line, terminal.width()) : line) + "\n");
    }
    if (documents.empty()) session.out.write("  no document\n");
  };
  for (const LayerRouting& layer : routing.layers)
    print(fmt::format("layer {}", layer.layer), layer.documents);
  print("all layers", routing.ranking);
}

void note_finish(Session& session, const Answer& answer, const AskOptions& options) {
  if (answer.finish == "length")
    session.console.note(fmt::format(
        "the answer was cut off after {}; --max-tokens allows more (now {})",
        counted(answer.usage.completion_tokens, "token", "tokens"), options.max_tokens));
}

}  // namespace msa::cli
