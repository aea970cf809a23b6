#!/usr/bin/env bash
# Shows the whole path on a real corpus: all 32,687 records of the World Factbook encoded into a
# memory bank, a question routed, and questions answered with citations, by the demo model of this
# repository. Needs build/release/bin/msa (`make build`). Run it again at will: what is done is not
# done twice, and what was interrupted goes on where it stopped.
#
#   scripts/demo.sh [MODEL_FOLDER]      another checkpoint
#
# QUESTION="…" asks something else, MSA=… runs another build of the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

msa=${MSA:-build/release/bin/msa}
corpus=data/factbook.jsonl.zst
model=${1:-models/demo}
# About countries that the demo model was not trained on. The first three are chosen because it gets
# them right, the third by way of two documents; the last one because it does not.
questions=("How many nuclear reactors does Sweden run?"
  "How many people live in Brazil?"
  "Could you tell me the number of World Heritage Sites in the country that has Emi Koussi as its highest point?"
  "How many people live in Chad?")
[[ -z ${QUESTION:-} ]] || questions=("$QUESTION")

if [[ ! -x $msa ]]; then
  echo "demo: $msa is not there; run 'make build' first" >&2
  exit 1
fi
if [[ ! -f $model/config.json ]]; then
  echo "demo: $model is not a model folder: it has no config.json" >&2
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

say "1. The model"
run "$msa" model info "$model"

say "2. Encode the corpus into a memory bank, once. Each record runs through the model alone; what is
   kept is the mean of every 32 tokens' keys and values. Stop it with Ctrl-C whenever you like."
# A bank belongs to one checkpoint: another one gets another bank.
bank=build/demo/bank-$(cat "$model"/config.json "$model"/model.safetensors* | cksum | cut -d ' ' -f 1)
mkdir -p build/demo
run "$msa" encode "$corpus" --model "$model" --bank "$bank"

say "3. Route a question: which of the 32,687 records does the model turn to?"
run "$msa" route "${questions[0]}" --model "$model" --bank "$bank" --top-k 4

say "4. Ask. The model writes the numbers of documents it wants to read, is handed their text, and
   answers; the citations say what it read."
for question in "${questions[@]}"; do
  run "$msa" ask "$question" --model "$model" --bank "$bank"
done

say "These questions are chosen. Of questions that were not, about countries it was not trained on, this
small model finds the right record for 78 of 100 and answers 69 rightly (models/demo/README.md). Ask
your own:

  QUESTION=\"…\" scripts/demo.sh
  $msa chat --model $model --bank $bank"
