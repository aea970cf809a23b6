#!/usr/bin/env python3
"""What the size of a memory costs, and what it does to answers: needle tasks at 1M, 10M, 100M tokens.

    bench/memory_scale.py [--model models/demo] [--tokens 16K,1M,10M,100M] [--questions 96] [--work FOLDER]

Each size is one memory of its own, filled by the task's maker from a seed. For each: encode time,
size on disk against the formula (3 values per layer, head channel and chunk), peak memory, accuracy,
percentiles of every stage of a question, opening, adding and removing one document. Results go to
bench/results/DATE-memory-scale.{json,md} after each size. 100M tokens of the demo model take some
25 GB of disk under --work, which keeps the memories for the next time.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAGES = ["encode_question_ms", "route_ms", "first_token_ms", "generate_ms", "total_ms"]
REPEATS = 5  # of opening, adding, removing; medians are reported


def run(command):
    """Runs a command; its standard output, seconds and peak resident bytes."""
    command = [str(part) for part in command]
    print("$", " ".join(command), flush=True)
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        sys.exit(f"memory_scale: {command[0]} {command[1]} exited with {code}")
    return output, seconds, usage.ru_maxrss * 1024


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def median(values):
    return percentile(values, 0.5)


def largest_bank(work):
    """The folder under work whose catalogue's bank is largest."""
    banks = [path.parent for path in work.rglob("catalogue.sqlite")]
    if not banks:
        sys.exit(f"memory_scale: no memory was kept in {work}")
    return max(banks, key=lambda bank: sum(f.stat().st_size for f in bank.rglob("*") if f.is_file()))


def changes(msa, model, bank, scratch):
    """Opening the bank, adding a document and removing it: medians of whole commands, and of the same in
    one process that goes on asking (msa_bank_bench, which is built beside msa)."""
    opened, added, encoding, removed = [], [], [], []
    for i in range(REPEATS):
        opened.append(run([msa, "memory", "info", "-b", bank, "--json"])[1])
        document = {"id": f"scale-{i}", "title": f"Entry {i}", "text": f"The magic number of document {i} is {i * 7919}."}
        (scratch / "one.jsonl").write_text(json.dumps(document) + "\n")
        output, seconds, _ = run([msa, "memory", "add", scratch / "one.jsonl", "-b", bank, "-m", model, "--json"])
        added.append(seconds)
        encoding.append(json.loads(output)["seconds"])
        run([msa, "memory", "show", "--id", f"scale-{i}", "-b", bank, "--json"])
        removed.append(run([msa, "memory", "remove", "--id", f"scale-{i}", "-b", bank])[1])
    program = msa.with_name("msa_bank_bench")
    if not program.exists():
        sys.exit(f"memory_scale: there is no {program}; build it (-DMSA_BENCHMARKS=ON), or give --msa of such a build")
    inside = json.loads(run([program, model, bank, "--repeats", 2 * REPEATS - 1, "--json"])[0])
    return {"open_seconds": median(opened), "add_seconds": median(added), "add_inside_seconds": median(encoding),
            "remove_seconds": median(removed), "one_process": inside}


def measure(msa, model, size, questions, work):
    """One size: its accuracy, stages, bytes, memory and changes."""
    work.mkdir(parents=True, exist_ok=True)
    answers = work / "answers.json"
    _, eval_seconds, eval_peak = run(
        [msa, "eval", "--task", "needle", "--tokens", size, "--questions", questions, "--model", model,
         "--data", ROOT / "data", "--work", work, "--out", answers, "--max-tokens", 96, "--json"])
    result = json.loads(answers.read_text())
    bank = largest_bank(work)
    info = json.loads(run([msa, "memory", "info", "-b", bank, "--json"])[0])

    asked = work / "questions.jsonl"
    with asked.open("w") as file:
        for i, answer in enumerate(result["answers"]):
            file.write(json.dumps({"id": i, "question": answer["question"]}) + "\n")
    output, _, ask_peak = run([msa, "ask", "--questions", asked, "-b", bank, "-m", model, "--max-tokens", 96, "--json"])
    timings = [json.loads(line)["timing"] for line in output.splitlines()]
    warm = timings[len(timings) // 4:]  # what is read for the first time then comes from the cache

    formula = info["chunks"] * len(info["router_layers"]) * 3 * info["kv_heads"] * info["head_dim"]
    formula *= {"BF16": 2, "F32": 4}[info["dtype"]]
    rows = {row["kind"]: row for row in result["results"]}
    total = rows.get("mean of kinds", rows.get("all"))
    return {
        "size": size,
        "documents": info["documents"], "tokens": info["tokens"], "chunks": info["chunks"],
        "encode": {key: sum(s[key] for s in result["sizes"]) for key in ("encoded_tokens", "encode_seconds")},
        "disk_bytes": info["disk_bytes"], "text_bytes": info["text_bytes"], "formula_bytes": formula,
        "peak_bytes": {"encode and ask": eval_peak, "ask": ask_peak},
        "eval_seconds": eval_seconds,
        "accuracy": total["accuracy"], "accuracy_error": total.get("accuracy_error"), "exact": total["exact"],
        "routed": total["routed"], "brought": total["injected_first"],
        "stages": {stage: {"p50": percentile([t[stage] for t in warm], 0.5), "p95": percentile([t[stage] for t in warm], 0.95)}
                   for stage in STAGES},
        "changes": changes(msa, model, bank, work),
    }


def page(report):
    lines = [f"# {report['date']}: memories of growing size", "", report["about"], ""]
    rows = report["sizes"]
    def table(title, cells):
        lines.extend([f"## {title}", "", "| tokens | " + " | ".join(name for name, _ in cells) + " |",
                      "|---" * (len(cells) + 1) + "|"])
        for row in rows:
            lines.append(f"| {row['tokens']:,} | " + " | ".join(text(row) for _, text in cells) + " |")
        lines.append("")
    table("Answers (needle tasks, mean of eight)", [
        ("documents", lambda r: f"{r['documents']:,}"),
        ("right", lambda r: f"{100 * r['accuracy']:.1f}%"),
        ("right documents routed to", lambda r: f"{100 * r['routed']:.1f}%"),
        ("handed over", lambda r: f"{100 * r['brought']:.1f}%")])
    table("Time of a question, p50 / p95 ms", [
        (stage.removesuffix("_ms").replace("_", " "),
         lambda r, s=stage: f"{r['stages'][s]['p50']:.1f} / {r['stages'][s]['p95']:.1f}") for stage in STAGES])
    table("Encoding and bytes", [
        ("encoded at", lambda r: f"{r['encode']['encoded_tokens'] / max(r['encode']['encode_seconds'], 1e-9):,.0f} tokens/s"),
        ("in", lambda r: f"{r['encode']['encode_seconds']:,.0f} s"),
        ("on disk", lambda r: f"{r['disk_bytes'] / 2**20:,.0f} MiB"),
        ("of it text", lambda r: f"{r['text_bytes'] / 2**20:,.0f} MiB"),
        ("vectors by formula", lambda r: f"{r['formula_bytes'] / 2**20:,.0f} MiB"),
        ("peak memory, asking", lambda r: f"{r['peak_bytes']['ask'] / 2**20:,.0f} MiB")])
    table("Whole commands, seconds", [
        ("memory info", lambda r: f"{r['changes']['open_seconds']:.3f}"),
        ("memory add, one document", lambda r: f"{r['changes']['add_seconds']:.3f}"),
        ("memory remove", lambda r: f"{r['changes']['remove_seconds']:.3f}")])
    table("In one process that goes on asking, ms, median (worst)", [
        (name, lambda r, k=key: "{median_ms:.1f} ({worst_ms:.1f})".format(**r["changes"]["one_process"][k]))
        for name, key in [
            ("open bank and engine", "open"), ("first question then", "first_question"),
            ("a further question", "warm_question"), ("add one document", "add"), ("until it is encoded", "add_encoding"),
            ("the next question takes longer by", "question_after_add"), ("remove it", "remove"),
            ("the next question takes longer by", "question_after_remove")]])
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--msa", default=ROOT / "build/release/bin/msa", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/demo", type=pathlib.Path)
    parser.add_argument("--tokens", default="16K,1M,10M,100M")
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="without its extension (bench/results/DATE-memory-scale)")
    arguments = parser.parse_args()
    date = datetime.date.today().isoformat()
    out = arguments.out or ROOT / f"bench/results/{date}-memory-scale"
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or pathlib.Path(temporary)
        report = {"date": date, "sizes": [],
                  "about": f"{arguments.model.name}, {os.cpu_count()} cores, `{pathlib.Path(__file__).name}`, "
                           f"{arguments.questions} questions per size; the first quarter of each size's timings is left out as warm-up."}
        for size in arguments.tokens.split(","):
            report["sizes"].append(measure(arguments.msa, arguments.model, size, arguments.questions, work / size))
            out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
            out.with_suffix(".md").write_text(page(report))
    print(page(report))


if __name__ == "__main__":
    main()
