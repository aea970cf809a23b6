#include "cli/help_formatter.h"

#include <fmt/format.h>

namespace msa::cli {

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_positional()) return option->get_expected_max() > 1 ? " ..." : "";
  return option->get_type_size() == 0 ? "" : fmt::format(" {}", option->get_type_name());
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  std::string text = option->get_description();
  if (!option->get_default_str().empty()) text += fmt::format(" [{}]", option->get_default_str());
  if (!option->get_envname().empty()) text += fmt::format(" [${}]", option->get_envname());
  if (option->get_required()) text += " (required)";
  return text;
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  std::string text = CLI::Formatter::make_footer(app);
  if (app->get_parent() != nullptr)
    text += "Every command also takes --threads, --seed and -v; see 'msa --help'\n";
  return text;
}

}  // namespace msa::cli
