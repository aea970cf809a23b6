// Encodes documents into a memory bank.
//
//   1_encode MODEL BANK FILE_OR_FOLDER...
//
// Run it again after a stop, or with more files: what is in the bank already is passed over.
#include <cstdio>
#include <filesystem>
#include <vector>

#include "msa/msa.h"

static int fail(const msa::Error& error) {
  std::fprintf(stderr, "1_encode: %s\n", error.message.c_str());
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: 1_encode MODEL BANK FILE_OR_FOLDER...\n");
    return 2;
  }
  // A model is a Hugging Face folder: config.json, model.safetensors, tokenizer.json.
  const auto model = msa::Model::open(argv[1]);
  if (!model) return fail(model.error());

  // A bank is a folder, too. It remembers which model wrote it, and takes no other.
  auto bank = msa::Bank::open_or_create(argv[2], *model);
  if (!bank) return fail(bank.error());

  // Text, Markdown, JSON and JSON Lines, plain or compressed. Own formats: derive from
  // msa::DocumentSource.
  const auto source =
      msa::open_documents(std::vector<std::filesystem::path>(argv + 3, argv + argc));
  if (!source) return fail(source.error());

  // A bad document is reported and left out; the rest goes on.
  msa::EncodeOptions options;
  options.on_problem = [](const msa::DocumentProblem& problem) {
    std::fprintf(stderr, "%s: %s\n", problem.where.c_str(), problem.what.c_str());
  };
  const auto report = msa::encode(*model, *bank, **source, options);
  if (!report) return fail(report.error());

  std::printf("%llu passages, %llu tokens, %llu chunks in %.1f s; %llu were there already\n",
              static_cast<unsigned long long>(report->passages),
              static_cast<unsigned long long>(report->tokens),
              static_cast<unsigned long long>(report->chunks), report->seconds,
              static_cast<unsigned long long>(report->already_there));
  return 0;
}
