#!/usr/bin/env python3
"""Measures the demo model on names, texts and phrasings that its training never saw.

    scripts/evaluate-demo.py [--model models/demo] [--only NAME…] [--questions N] [--work FOLDER]

Each exam below is one run of `msa eval`. What they report goes to MODEL/evaluation.json, and as tables
to MODEL/evaluation.md; exams that are left out with --only keep their former results, if they are
of the same weights. --work keeps the encoded memories, so that a second run need not make them again.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What the tables' columns are, docs/evaluation.md has it.
COLUMNS = [
    ("right", "accuracy"),
    ("±", "accuracy_error"),
    ("contains", "contains"),
    ("route@1", "route_first"),
    ("routed", "routed"),
    ("brought", "injected_first"),
    ("all brought", "injected_all"),
]

EXAMS = {
    "factbook-1": {
        "about": "World Factbook, all 32,687 records in memory, one hop, countries not trained on",
        "options": ["--task", "factbook", "--set", "hops=1", "--baseline", "bm25"],
        "questions": 400,
    },
    "factbook-2": {
        "about": "World Factbook, all records in memory, two hops",
        "options": ["--task", "factbook", "--set", "hops=2"],
        "questions": 200,
    },
    "prose": {
        "about": "Wikipedia, all 6,119 passages in memory, one hop, passages not trained on",
        "options": ["--task", "prose", "--set", "hops=1", "--baseline", "bm25"],
        "questions": 400,
    },
    "encyclopaedia-1": {
        "about": "generated encyclopaedia, one hop",
        "options": ["--task", "encyclopaedia", "--set", "hops=1", "--tokens", "16K,2048docs"],
        "questions": 256,
    },
    "encyclopaedia-2": {
        "about": "generated encyclopaedia, two hops, with interleaved retrieval and without",
        "options": ["--task", "encyclopaedia", "--set", "hops=2", "--tokens", "16K", "--interleave", "both"],
        "questions": 256,
    },
    "needle": {
        "about": "needle tasks in RULER's eight forms",
        "options": ["--task", "needle", "--tokens", "16K,64K,256K,1M,10M"],
        "questions": 96,
        "plot": "needle.svg",
    },
}


def run_exam(msa, model, name, exam, questions, work):
    """The JSON object of one `msa eval`."""
    command = [msa, "eval", "--model", model, "--data", ROOT / "data", "--work", work, "--json"]
    command += exam["options"] + ["--questions", questions or exam["questions"], "--max-tokens", 192]
    if "plot" in exam:
        command += ["--plot", model / exam["plot"]]
    command = [str(part) for part in command]
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"evaluate-demo: {name}: msa eval exited with {done.returncode}")
    return json.loads(done.stdout)


def percent(value):
    return "" if value is None else f"{100 * value:.1f}"


def table(result):
    """Markdown rows of one exam: every size and mode, all questions, and kinds where there are several."""
    lines = ["| memory | documents | tokens | mode | kind | n | " + " | ".join(c for c, _ in COLUMNS) + " | p50 s |"]
    lines.append("|---" * (7 + len(COLUMNS)) + "|")
    memories = {s["size"]: s for s in result["sizes"]}
    for row in result["results"]:
        memory = memories[row["size"]]
        cells = [row["size"], f"{memory['documents']:,}", f"{memory['tokens']:,}", row["mode"], row["kind"],
                 str(row["questions"])]
        cells += [percent(row.get(key)) for _, key in COLUMNS]
        seconds = row.get("total_ms_p50")
        cells.append("" if seconds is None else f"{seconds / 1000:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    for row in result.get("bm25", []):
        lines.append("")
        lines.append(f"Keyword search (BM25), {row['size']}, {row['kind']}: right document first {percent(row['first'])}, "
                     f"among 16 {percent(row['in_16'])}.")
    return lines


def rows_of(results, exam, **wanted):
    """The rows over all questions of an exam: of every size, or of those that are as `wanted`."""
    rows = results.get(exam, {}).get("results", [])
    kinds = {row["kind"] for row in rows}
    kind = "mean of kinds" if exam == "needle" and "mean of kinds" in kinds else "all"
    return [row for row in rows if row["kind"] == kind and all(row[k] == v for k, v in wanted.items())]


def summary(results):
    """The main figures of all exams, one line each."""
    lines = ["| on unseen names, texts and phrasings | right | handed over in the first round | all handed over |",
             "|---|---|---|---|"]

    def add(about, row, key="accuracy"):
        error = f" ± {100 * row['accuracy_error']:.1f}" if key == "accuracy" else ""
        lines.append(f"| {about} | {percent(row[key])}{error} | {percent(row.get('injected_first'))} "
                     f"| {percent(row.get('injected_all'))} |")

    for row in rows_of(results, "needle"):
        add(f"needle tasks, {row['size']} tokens, mean of eight", row)
    for row in rows_of(results, "encyclopaedia-1"):
        add(f"generated encyclopaedia, one hop, {row['size']}", row)
    for row in rows_of(results, "encyclopaedia-2"):
        add(f"generated encyclopaedia, two hops, {row['size']}, {row['mode']}", row)
    for row in rows_of(results, "factbook-1"):
        add("World Factbook, one hop (answer contains the value)", row, "contains")
    for row in rows_of(results, "factbook-2"):
        add("World Factbook, two hops (answer contains the value)", row, "contains")
    for row in rows_of(results, "prose"):
        add("Wikipedia, 6,119 passages", row)
    return lines


def page(results):
    lines = ["# Evaluation of the demo model", "",
             "Written by `scripts/evaluate-demo.py`; docs/evaluation.md says what is asked and what the columns are. "
             "Per cent, except times.", "", "## Summary", ""] + summary(results) + [""]
    for name, exam in EXAMS.items():
        if name not in results:
            continue
        lines += [f"## {name}", "", exam["about"][0].upper() + exam["about"][1:] + ".", ""]
        lines += table(results[name]) + [""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--msa", default=ROOT / "build/release/bin/msa", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/demo", type=pathlib.Path)
    parser.add_argument("--only", nargs="*", choices=list(EXAMS), help="exams to run (all)")
    parser.add_argument("--questions", type=int, help="ask so many in each exam, for a quick look")
    parser.add_argument("--work", type=pathlib.Path, help="keep encoded memories here")
    arguments = parser.parse_args()
    if not arguments.msa.is_file():
        sys.exit(f"evaluate-demo: {arguments.msa} is not there; run 'make build' first")

    out = arguments.model / "evaluation.json"
    results = json.loads(out.read_text()) if out.is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or pathlib.Path(temporary)
        for name in arguments.only or EXAMS:
            result = run_exam(arguments.msa, arguments.model, name, EXAMS[name], arguments.questions, work)
            result["model"]["path"] = arguments.model.name
            fingerprint = result["model"]["fingerprint"]
            results = {n: r for n, r in results.items() if r["model"]["fingerprint"] == fingerprint}
            results[name] = result
            out.write_text(json.dumps(results, indent=1) + "\n")
            (arguments.model / "evaluation.md").write_text(page(results))
    print(page(results))


if __name__ == "__main__":
    main()
