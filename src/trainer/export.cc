#include "train/loop/export.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "trainer/command.h"

namespace msa::trainer {
namespace {

struct ExportFlags {
  std::string checkpoint, out, dtype = "bf16", tokenizer;
};

Result<ExitCode> export_model(const ExportFlags& flags, Console& console) {
  const std::filesystem::path checkpoint(flags.checkpoint);
  const std::filesystem::path folder =
      checkpoint.has_filename() ? checkpoint : checkpoint.parent_path();
  // A run's folder holds state/step-… and model/tokenizer.json.
  const std::filesystem::path tokenizer = flags.tokenizer.empty()
                                              ? folder / ".." / ".." / "model" / "tokenizer.json"
                                              : std::filesystem::path(flags.tokenizer);
  MSA_TRY(train::export_checkpoint(folder, tokenizer.lexically_normal(), flags.out,
                                   flags.dtype == "f32" ? DType::f32 : DType::bf16));
  console.out(fmt::format("model: {}\n", flags.out));
  return ExitCode::ok;
}

}  // namespace

void add_export(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("export", "Write a checkpoint of a run as a model folder");
  auto flags = std::make_shared<ExportFlags>();
  command->add_option("checkpoint", flags->checkpoint, "Checkpoint of a run (OUT/state/step-…)")
      ->type_name("CHECKPOINT")
      ->required();
  command->add_option("-o,--out", flags->out, "Folder to write")->type_name("FOLDER")->required();
  command->add_option("--dtype", flags->dtype, "bf16 or f32")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->capture_default_str();
  command->add_option("--tokenizer", flags->tokenizer, "Its tokenizer.json [the run's]")
      ->type_name("FILE");
  command->callback([flags, &chosen] {
    chosen = [flags](Console& console) { return export_model(*flags, console); };
  });
}

}  // namespace msa::trainer
