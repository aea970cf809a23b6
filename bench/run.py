#!/usr/bin/env python3
"""End-to-end measurements of the program as users run it, written to bench/results/.

    bench/run.py [--build build/release] [--model FOLDER] [--shape 0.6b] [--records 400]

Without --model a random checkpoint of the shape is made in build/bench. Each result is a pair of
files: NAME.json for programs, NAME.md for people. Speeds inside the program come from `msa bench`,
with the limits it measured in the same run; memory and times of whole commands from the operating
system's account of each finished process.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "testdata/qwen3-tokenizer/tokenizer.json"
CORPUS = ROOT / "data/factbook.jsonl.zst"
QUESTION = "What is the capital of Iceland?"


def run(command, **options):
    """Runs a command; its standard output, seconds and peak resident bytes."""
    print("$", " ".join(map(str, command)), flush=True)
    start = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        sys.exit(f"bench: {command[0]} exited with {code}")
    return output, seconds, usage.ru_maxrss * 1024


def first_records(count):
    """The first records of the corpus as JSON Lines."""
    packed = subprocess.Popen(["zstd", "-dc", str(CORPUS)], stdout=subprocess.PIPE)
    lines = [packed.stdout.readline() for _ in range(count)]
    packed.stdout.close()
    packed.wait()
    return b"".join(lines)


def mib(count):
    return f"{count / 2**20:,.0f} MiB"


def whole_commands(msa, model, records, work):
    """Encodes a part of the corpus, routes and asks; memory against weights and bank."""
    shutil.rmtree(work / "bank", ignore_errors=True)
    (work / "records.jsonl").write_bytes(first_records(records))
    info = json.loads(run([msa, "model", "info", model, "--json"])[0])
    weights = info["weight_bytes"]
    rows = []

    def row(name, seconds, peak, bank_bytes, note=""):
        allowed = weights + bank_bytes + 500_000_000
        rows.append({"command": name, "seconds": seconds, "peak_resident_bytes": peak,
                     "weights_and_bank_bytes": weights + bank_bytes,
                     "beyond_weights_and_bank_bytes": peak - weights - bank_bytes,
                     "within_500_mb": peak <= allowed, "note": note})

    bank = work / "bank"
    out, seconds, peak = run([msa, "encode", work / "records.jsonl", "--model", model,
                              "--bank", bank, "--json"])
    report = json.loads(out)
    stored = json.loads(run([msa, "memory", "info", "--bank", bank, "--json"])[0])
    bank_bytes = stored["disk_bytes"]
    row("encode", seconds, peak, bank_bytes,
        f"{report['passages']} records, {report['tokens']} tokens, "
        f"{report['tokens_per_second']:.0f} tokens/s by its own account")
    _, seconds, peak = run([msa, "route", QUESTION, "--model", model, "--bank", bank, "--json"])
    row("route", seconds, peak, bank_bytes, "start of the program included")
    out, seconds, peak = run([msa, "ask", QUESTION, "--model", model, "--bank", bank, "--json",
                              "--retrieval", "router", "--max-tokens", "64"])
    timing = json.loads(out)["timing"]
    row("ask", seconds, peak, bank_bytes,
        f"first token after {timing['first_token_ms']:.0f} ms, "
        f"{timing['tokens_per_second']:.1f} tokens/s")
    formula = info["chunk_bytes"] * stored["chunks"]
    arrays = stored["key_bytes"] + stored["content_bytes"]
    return rows, {"chunks": stored["chunks"], "formula_bytes": formula, "array_bytes": arrays,
                  "disk_bytes": bank_bytes, "text_bytes": stored["text_bytes"]}


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows])


def as_text(result):
    parts = [f"# {result['date']}: {result['machine']}", "", result["model"], "",
             f"Built from {result['commit']}.", "", "## Speed (`msa bench`)", ""]
    rows = []
    for f in result["bench"]["figures"]:
        limit = f"{f['limit']:,.4g} {f['unit']}: {f['limit_name']}" if f["limit"] else ""
        share = f"{100 * f['share']:.0f}%" if f["limit"] else ""
        rows.append((f["name"], f"{f['value']:,.4g} {f['unit']}", limit, share, f["note"]))
    parts.append(table(("what", "measured", "limit, in the same run", "share", "how"), rows))
    parts += ["", f"Peak memory of this run: {mib(result['bench']['peak_resident_bytes'])}.", "",
              "## Whole commands", ""]
    rows = [(r["command"], f"{r['seconds']:.1f} s", mib(r["peak_resident_bytes"]),
             mib(r["weights_and_bank_bytes"]), mib(r["beyond_weights_and_bank_bytes"]),
             "yes" if r["within_500_mb"] else "no", r["note"]) for r in result["commands"]]
    parts.append(table(("command", "time", "peak memory", "weights + bank", "beyond them",
                        "at most 500 MB beyond", "note"), rows))
    bank = result["bank"]
    parts += ["", f"The bank: {bank['chunks']:,} chunks; arrays {bank['array_bytes']:,} bytes, the "
              f"formula gives {bank['formula_bytes']:,}; on disk {bank['disk_bytes']:,} with "
              f"{bank['text_bytes']:,} bytes of text.", ""]
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--shape", default="0.6b")
    parser.add_argument("--records", default=400, type=int)
    parser.add_argument("--name", help="of the result files; default: date and shape")
    arguments = parser.parse_args()
    msa = arguments.build / "bin/msa"
    if not msa.exists():
        sys.exit(f"bench: {msa} is not there; run 'make build'")
    work = ROOT / "build/bench"
    work.mkdir(parents=True, exist_ok=True)
    model = arguments.model or work / f"model-{arguments.shape}"
    if not (model / "config.json").exists():
        run([msa, "model", "init", model, "--shape", arguments.shape, "--tokenizer", TOKENIZER])

    bench = json.loads(run([msa, "bench", "--model", model, "--json"])[0])
    commands, bank = whole_commands(msa, model, arguments.records, work)
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip() or "unknown"
    date = datetime.date.today().isoformat()
    result = {"date": date, "commit": commit, "machine": bench["machine"],
              "model": bench["model"], "bench": bench, "commands": commands, "bank": bank}
    name = arguments.name or f"{date}-{re.sub('[^a-z0-9.]+', '-', arguments.shape.lower())}"
    folder = ROOT / "bench/results"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(as_text(result))
    print(as_text(result))
    print(f"written: bench/results/{name}.json, {name}.md")


if __name__ == "__main__":
    main()
