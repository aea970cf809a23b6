#!/usr/bin/env bash
# Shows the whole path on a real corpus: a model, all 32,687 records of the World Factbook encoded
# into a memory bank, a question routed and answered with citations. Needs build/release/bin/msa
# (`make build`). Run it again at will: what is done is not done twice, and what was interrupted goes
# on where it stopped.
#
#   scripts/demo.sh [MODEL_FOLDER]      a trained checkpoint; without one, a tiny random model
#
# QUESTION="…" asks something else, MSA=… runs another build of the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

msa=${MSA:-build/release/bin/msa}
corpus=data/factbook.jsonl.zst
question=${QUESTION:-What is the capital of Iceland?}
model=${1:-}

if [[ ! -x $msa ]]; then
  echo "demo: $msa is not there; run 'make build' first" >&2
  exit 1
fi

say() { printf '\n%s\n' "$*"; }
run() {
  local word status=0
  printf '\n  $'
  for word in "$@"; do
    if [[ $word == *' '* ]]; then printf ' "%s"' "$word"; else printf ' %s' "$word"; fi
  done
  printf '\n\n'
  "$@" || status=$?
  if ((status == 130)); then
    echo "demo: stopped; what was done is kept, run it again to go on" >&2
  elif ((status != 0)); then
    echo "demo: the command above failed (exit $status)" >&2
  fi
  return "$status"
}

if [[ -n $model ]]; then
  bank=build/demo/bank-$(basename "$(realpath "$model")")
  say "1. The model is yours: $model"
else
  model=build/demo/model
  bank=build/demo/bank
  if [[ -f $model/config.json ]]; then
    say "1. The tiny model of an earlier run is there: $model"
  else
    say "1. There is no checkpoint yet, so we make a tiny one. Its weights are random: every stage
   runs as it would with a trained one, but the answers will be nonsense."
    run "$msa" model init "$model" --shape tiny \
      --tokenizer testdata/qwen3-tokenizer/tokenizer.json --seed 1
  fi
fi
run "$msa" model info "$model"

say "2. Encode the corpus into a memory bank, once. Each record runs through the model alone; what is
   kept is the mean of every 64 tokens' keys and values. Stop it with Ctrl-C whenever you like."
mkdir -p build/demo
run "$msa" encode "$corpus" --model "$model" --bank "$bank"

say "3. Route a question: which of the 32,687 records does the model turn to?"
run "$msa" route "$question" --model "$model" --bank "$bank"

say "4. Ask it. The best-routed records are handed to the model; the citations say which."
sampling=()
if [[ $model == build/demo/model ]]; then
  # The likeliest token of random weights is the last one once more, a special one that prints nothing.
  sampling=(--temperature 1)
fi
run "$msa" ask "$question" --model "$model" --bank "$bank" --retrieval router --max-tokens 48 \
  "${sampling[@]}"

if [[ $model == build/demo/model ]]; then
  say "The weights of this model are random: which records were chosen and what it wrote mean nothing.
With a trained checkpoint, the same path answers: scripts/demo.sh path/to/checkpoint"
fi
