// Shows which documents a question is routed to, without writing an answer.
//
//   2_route MODEL BANK QUESTION
#include <algorithm>
#include <cstdio>

#include "msa/msa.h"

static int fail(const msa::Error& error) {
  std::fprintf(stderr, "2_route: %s\n", error.message.c_str());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: 2_route MODEL BANK QUESTION\n");
    return 2;
  }
  const auto model = msa::Model::open(argv[1]);
  if (!model) return fail(model.error());
  const auto bank = msa::Bank::open(argv[2]);
  if (!bank) return fail(bank.error());
  const auto engine = msa::Engine::create(*model, *bank);
  if (!engine) return fail(engine.error());

  const auto routing = engine->route(argv[3]);
  if (!routing) return fail(routing.error());

  // Every router layer chooses by itself; the ranking sums them up: documents that more layers
  // chose come first.
  std::printf("%zu router layers\n", routing->layers.size());
  const size_t shown = std::min<size_t>(routing->ranking.size(), 5);
  for (size_t i = 0; i < shown; ++i) {
    const msa::RoutedDocument& hit = routing->ranking[i];
    const auto document = bank->document(hit.number);
    if (!document) return fail(document.error());
    std::printf("%7.4f  [%u] %s\n", hit.score, hit.number,
                document->title.empty() ? document->id.c_str() : document->title.c_str());
  }
  return 0;
}
