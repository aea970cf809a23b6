// How --help looks.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace msa::cli {

// CLI11's layout with less noise: "--top-k N", then in brackets the default or the environment
// variable that gives it.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(28); }
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
  std::string make_footer(const CLI::App* app) const override;
};

}  // namespace msa::cli
