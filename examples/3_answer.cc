// Answers a question from a memory bank, and says which documents the answer rests on.
//
//   3_answer MODEL BANK QUESTION
#include <cstdio>

#include "msa/msa.h"

static int fail(const msa::Error& error) {
  std::fprintf(stderr, "3_answer: %s\n", error.message.c_str());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: 3_answer MODEL BANK QUESTION\n");
    return 2;
  }
  const auto model = msa::Model::open(argv[1]);
  if (!model) return fail(model.error());
  const auto bank = msa::Bank::open(argv[2]);
  if (!bank) return fail(bank.error());
  const auto engine = msa::Engine::create(*model, *bank);
  if (!engine) return fail(engine.error());

  // Interleave, the default, lets the model write the numbers of the documents it wants to read.
  // Handing over the best-routed ones works with models that were not trained to do so.
  msa::AskOptions options;
  options.retrieval = msa::Retrieval::router;
  options.max_tokens = 32;

  // Called for each piece of text as it is written; false would stop it.
  const auto print = [](const msa::TokenEvent& event) {
    if (event.kind == msa::TokenEvent::Kind::answer)
      std::fwrite(event.text.data(), 1, event.text.size(), stdout);
    return true;
  };
  const auto answer = engine->ask(argv[3], options, print);
  if (!answer) return fail(answer.error());

  std::printf("\n\nfrom:\n");
  for (const msa::Citation& citation : answer->citations)
    std::printf("  [%u] %s (%s)\n", citation.number, citation.title.c_str(), citation.id.c_str());
  std::printf("%.0f ms, of which routing %.1f ms\n", answer->timing.total_ms,
              answer->timing.route_ms);
  return 0;
}
