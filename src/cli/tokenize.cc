// msa tokenize: text to token ids and back to pieces.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "cli/json_output.h"
#include "cli/options.h"

namespace msa::cli {
namespace {

constexpr size_t kMaxTextBytes = 256u << 20;

struct TokenizeArguments {
  std::string model, tokenizer;
  std::vector<std::string> words;
  bool ids = false, pieces = false, json = false;
};

Result<std::filesystem::path> tokenizer_file(const TokenizeArguments& arguments) {
  std::filesystem::path path = arguments.tokenizer.empty() ? arguments.model : arguments.tokenizer;
  if (path.empty())
    return Error{Code::invalid_argument,
                 "no tokenizer given; pass --tokenizer FILE, --model FOLDER or set MSA_MODEL"};
  std::error_code error;
  // Of a model only its tokenizer is opened.
  if (arguments.tokenizer.empty() || std::filesystem::is_directory(path, error))
    path /= "tokenizer.json";
  return path;
}

Result<ExitCode> run_tokenize(Session& session, const TokenizeArguments& arguments) {
  MSA_ASSIGN(const std::filesystem::path file, tokenizer_file(arguments));
  MSA_ASSIGN(const TextTokenizer tokenizer, TextTokenizer::open(file));
  std::string text;
  if (arguments.words.empty() || (arguments.words.size() == 1 && arguments.words[0] == "-")) {
    MSA_ASSIGN(text, read_standard_input(kMaxTextBytes));
  } else {
    for (size_t i = 0; i < arguments.words.size(); ++i)
      text += (i == 0 ? "" : " ") + arguments.words[i];
  }
  const std::vector<int32_t> ids = tokenizer.tokenize(text);
  const auto piece = [&](size_t i) {
    return tokenizer.detokenize(std::span<const int32_t>(ids).subspan(i, 1));
  };
  Output& out = session.out;
  if (arguments.json) {
    Json pieces = Json::array();
    for (size_t i = 0; i < ids.size(); ++i) pieces.push_back(piece(i));
    out.write(dump({{"count", ids.size()}, {"ids", ids}, {"pieces", std::move(pieces)}}) + "\n");
  } else if (arguments.ids) {
    for (size_t i = 0; i < ids.size() && out.ok(); ++i)
      out.write((i == 0 ? "" : " ") + std::to_string(ids[i]));
    out.write("\n");
  } else {
    // Pieces as JSON strings: spaces and line feeds stay visible, and one line is one token.
    for (size_t i = 0; i < ids.size() && out.ok(); ++i)
      out.write(arguments.pieces ? dump(piece(i)) + "\n"
                                 : fmt::format("{:>8}  {}\n", ids[i], dump(piece(i))));
  }
  return ExitCode::ok;
}

}  // namespace

void add_tokenize(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<TokenizeArguments>();
  CLI::App& command = *app.add_subcommand("tokenize", "Show the tokens of a text");
  command.add_option("TEXT", arguments->words, "The text; without it, or with -, standard input");
  command.add_option("--tokenizer", arguments->tokenizer, "A tokenizer.json, or a folder with one")
      ->type_name("FILE");
  command.add_option("-m,--model", arguments->model, "Model folder whose tokenizer.json to use")
      ->type_name("FOLDER")
      ->envname("MSA_MODEL");
  CLI::Option* ids = command.add_flag("--ids", arguments->ids, "Only the ids, on one line");
  CLI::Option* pieces =
      command.add_flag("--pieces", arguments->pieces, "Only the pieces, one per line")
          ->excludes(ids);
  command.add_flag("--json", arguments->json, "Print the result as JSON (docs/cli.md)")
      ->excludes(ids)
      ->excludes(pieces);
  command.footer(
      "Examples:\n"
      "  msa tokenize \"Hello, world\" --model models/MSA-4B\n"
      "  msa tokenize --ids --tokenizer tokenizer.json < text.txt\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_tokenize(session, *arguments); };
  });
}

}  // namespace msa::cli
