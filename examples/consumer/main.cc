// Counts a text's tokens with an installed libmsa.
#include <msa/msa.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: consumer TOKENIZER_JSON TEXT\n");
    return 2;
  }
  const auto tokenizer = msa::TextTokenizer::open(argv[1]);
  if (!tokenizer) {
    std::fprintf(stderr, "consumer: %s\n", tokenizer.error().message.c_str());
    return 1;
  }
  const auto version = msa::version();
  std::printf("msa %.*s: %zu tokens\n", static_cast<int>(version.size()), version.data(),
              tokenizer->tokenize(argv[2]).size());
  return 0;
}
