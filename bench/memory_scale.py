#!/usr/bin/env python3
"""What the size of a memory costs, and what it does to answers: needle tasks at 16K to 100M tokens.

    bench/memory_scale.py [--model models/demo] [--tokens 16K,64K,256K,1M,10M,100M] [--questions 96]
                          [--timed 32] [--work FOLDER]

Each size is one memory of its own (16K: several, until all questions have theirs), filled by the task's
maker from a seed. For each: encode time, size on disk against the formula (3 values per layer, head
channel and chunk), peak memory, accuracy, percentiles of every stage of a question, opening, adding and
removing one document. Results go to bench/results/DATE-memory-scale.{json,md} after each size, with two
plots, if matplotlib is installed: accuracy and times over size.
100M tokens of the demo model take an hour of encoding on two cores and 10 GB of disk under --work, which
keeps the memories for the next time.
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
KEYS = ["bf16", "int8", "int4"]  # tiers of routing keys that are timed
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


def bank_of(work, size):
    """The largest memory of a size that `msa eval` kept under work."""
    banks = [path.parent for path in work.glob(f"needle-{size}-*/catalogue.sqlite")]
    if not banks:
        sys.exit(f"memory_scale: no memory of {size} was kept in {work}")
    return max(banks, key=lambda bank: sum(f.stat().st_size for f in bank.rglob("*") if f.is_file()))


def encoded(work, size, result):
    """Tokens and seconds of encoding, as they were when the memory was made."""
    record = work / f"encoded-{size}.json"
    now = {key: sum(s[key] for s in result["sizes"]) for key in ("encoded_tokens", "encode_seconds")}
    if now["encoded_tokens"] > 0:
        record.write_text(json.dumps(now) + "\n")
    return json.loads(record.read_text()) if record.exists() else now


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
    inside["bank"] = bank.name  # where it lay is nobody's business
    run([msa, "memory", "compact", "-b", bank])  # takes the removed documents' segments away
    return {"open_seconds": median(opened), "add_seconds": median(added), "add_inside_seconds": median(encoding),
            "remove_seconds": median(removed), "one_process": inside}


def measure(msa, model, size, questions, timed, work):
    """One size: its accuracy, stages, bytes, memory and changes."""
    answers = work / f"answers-{size}.json"
    _, eval_seconds, eval_peak = run(
        [msa, "eval", "--task", "needle", "--tokens", size, "--questions", questions, "--model", model,
         "--data", ROOT / "data", "--work", work, "--max-tokens", 192, "--out", answers, "--json"])
    result = json.loads(answers.read_text())
    bank = bank_of(work, size)
    info = json.loads(run([msa, "memory", "info", "-b", bank, "--json"])[0])

    asked = work / "questions.jsonl"
    with asked.open("w") as file:
        every = max(1, len(result["answers"]) // timed)  # so that all kinds are among them
        for i, answer in enumerate(result["answers"][::every][:timed]):
            file.write(json.dumps({"id": i, "question": answer["question"]}) + "\n")
    stages, ask_peak = {}, {}
    for keys in KEYS:
        output, _, ask_peak[keys] = run([msa, "ask", "--questions", asked, "-b", bank, "-m", model,
                                         "--keys", keys, "--max-tokens", 192, "--json"])
        timings = [json.loads(line)["timing"] for line in output.splitlines()]
        warm = timings[len(timings) // 4:]  # what is read for the first time then comes from the cache
        stages[keys] = {stage: {"p50": percentile([t[stage] for t in warm], 0.5),
                                "p95": percentile([t[stage] for t in warm], 0.95)} for stage in STAGES}

    formula = info["chunks"] * len(info["router_layers"]) * 3 * info["kv_heads"] * info["head_dim"]
    formula *= {"BF16": 2, "F32": 4}[info["dtype"]]
    rows = {row["kind"]: row for row in result["results"]}
    total = rows.get("mean of kinds", rows.get("all"))
    return {
        "size": size,
        "documents": info["documents"], "tokens": info["tokens"], "chunks": info["chunks"],
        "segments": info["segments"], "encode": encoded(work, size, result),
        "disk_bytes": info["disk_bytes"], "text_bytes": info["text_bytes"], "formula_bytes": formula,
        "peak_bytes": {"eval": eval_peak, "ask": ask_peak},
        "eval_seconds": eval_seconds,
        "accuracy": total["accuracy"], "accuracy_error": total.get("accuracy_error"), "exact": total["exact"],
        "kinds": {kind: row["accuracy"] for kind, row in rows.items() if kind.startswith("needle-")},
        "routed": total["routed"], "brought": total["injected_first"], "brought_in_all": total["injected_all"],
        "stages": stages,
        "changes": changes(msa, model, bank, work),
    }


def page(report, name):
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
        ("exact match", lambda r: f"{100 * r['exact']:.1f}%"),
        ("right documents handed over in the first round, which brings one", lambda r: f"{100 * r['brought']:.1f}%"),
        ("in all rounds", lambda r: f"{100 * r['brought_in_all']:.1f}%")])
    for keys in KEYS:
        table(f"Time of a question, p50 / p95 ms, routing keys in {keys}", [
            (stage.removesuffix("_ms").replace("_", " "),
             lambda r, k=keys, s=stage: f"{r['stages'][k][s]['p50']:.1f} / {r['stages'][k][s]['p95']:.1f}")
            for stage in STAGES])
    table("Encoding and bytes", [
        ("encoded at", lambda r: f"{r['encode']['encoded_tokens'] / max(r['encode']['encode_seconds'], 1e-9):,.0f} tokens/s"),
        ("in", lambda r: f"{r['encode']['encode_seconds']:,.0f} s"),
        ("on disk", lambda r: f"{r['disk_bytes'] / 2**20:,.0f} MiB"),
        ("of it text", lambda r: f"{r['text_bytes'] / 2**20:,.0f} MiB"),
        ("vectors by formula", lambda r: f"{r['formula_bytes'] / 2**20:,.0f} MiB"),
        ("disk beyond formula, without text",
         lambda r: f"{100 * ((r['disk_bytes'] - r['text_bytes']) / r['formula_bytes'] - 1):.2f}%"),
        ("peak memory, encoding and asking", lambda r: f"{r['peak_bytes']['eval'] / 2**20:,.0f} MiB")]
        + [(f"asking, keys in {keys}", lambda r, k=keys: f"{r['peak_bytes']['ask'][k] / 2**20:,.0f} MiB")
           for keys in KEYS])
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
    lines.extend([f"![accuracy]({name}-accuracy.svg)", f"![times]({name}-times.svg)"])
    return "\n".join(lines)


def draw(report, beside):
    """Accuracy, and stages of a question, over the size of the memory."""
    try:
        import matplotlib
    except ImportError:
        print("memory_scale: no plots; they need matplotlib (python3-matplotlib)")
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "memory-scale"  # equal data, equal file
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot
    rows = report["sizes"]
    tokens = [row["tokens"] for row in rows]

    figure, axes = pyplot.subplots(figsize=(7.2, 4.4), layout="constrained")
    below = 104  # names stand beside the ends of their lines, one below the other
    for kind in sorted(rows[0]["kinds"], key=lambda kind: -rows[-1]["kinds"][kind]):
        axes.plot(tokens, [100 * row["kinds"][kind] for row in rows], "-", color="#9aa3ad", linewidth=0.8)
        below = min(below - 3.2, 100 * rows[-1]["kinds"][kind])
        axes.annotate(kind.removeprefix("needle-"), (tokens[-1], below), fontsize="x-small",
                      color="#66707a", xytext=(6, -2), textcoords="offset points")
    axes.plot(tokens, [100 * row["brought_in_all"] for row in rows], "s--", color="#97bbf5",
              label="right documents handed over, mean of eight")
    axes.plot(tokens, [100 * row["accuracy"] for row in rows], "o-", color="#4269d0", label="answers right, mean of eight")
    axes.set(xscale="log", ylim=(0, 105), xlabel="tokens in memory", ylabel="%",
             title=f"{report['model']}: needle tasks, {report['questions']} questions a size")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(beside("-accuracy.svg"), metadata={"Date": None})

    figure, axes = pyplot.subplots(figsize=(7.2, 4.4), layout="constrained")
    def line(stage, keys, label, style, colour):
        axes.plot(tokens, [row["stages"][keys][stage]["p50"] for row in rows], style, color=colour, label=label)
    for keys, colour in zip(KEYS, ["#4269d0", "#3ca951", "#ff725c"]):
        line("route_ms", keys, f"routing, keys in {keys}", "o-", colour)
    line("total_ms", "bf16", "whole question, keys in bf16", "s--", "#4269d0")
    line("first_token_ms", "bf16", "until the first token, keys in bf16", "^:", "#4269d0")
    line("encode_question_ms", "bf16", "question and texts through the layers", "d-", "#97bbf5")
    line("generate_ms", "bf16", "generating", "d-", "#9c6b4e")
    axes.set(xscale="log", yscale="log", xlabel="tokens in memory", ylabel="ms per question, median",
             title=f"{report['model']}: what a question takes")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(beside("-times.svg"), metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--msa", default=ROOT / "build/release/bin/msa", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/demo", type=pathlib.Path)
    parser.add_argument("--tokens", default="16K,64K,256K,1M,10M,100M")
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--timed", type=int, default=32, help="of them, asked once more with keys in each tier")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="without its extension (bench/results/DATE-memory-scale)")
    arguments = parser.parse_args()
    date = datetime.date.today().isoformat()
    out = arguments.out or ROOT / f"bench/results/{date}-memory-scale"
    def beside(ending):
        return out.with_name(out.name + ending)
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or pathlib.Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        report = {"date": date, "model": arguments.model.name, "questions": arguments.questions, "sizes": [],
                  "about": f"{arguments.model.name}, {os.cpu_count()} cores, `{pathlib.Path(__file__).name}`, "
                           f"{arguments.questions} questions per size, {arguments.timed} of them for times, the first "
                           "quarter of which is left out as warm-up. The first token is the first that the model writes, of a "
                           "document's number; total is until the answer's end, all rounds of retrieval included."}
        for size in arguments.tokens.split(","):
            report["sizes"].append(measure(arguments.msa, arguments.model, size, arguments.questions,
                                           arguments.timed, work))
            beside(".json").write_text(json.dumps(report, indent=1) + "\n")
            beside(".md").write_text(page(report, out.name))
            draw(report, beside)
    print(page(report, out.name))


if __name__ == "__main__":
    main()
