"""msa eval: a real model over real memories, results, reuse, and stops."""

import json
import resource
import signal
import time
import unittest

from msa_case import TIMEOUT_S, WithModel, default_signals, environment, run, start

# Answers of a model with random weights say nothing; short ones say it sooner.
SHORT = ("--max-tokens", "6")


def town(index):
    return {"id": "town-%d" % index, "title": "Town %d" % index,
            "text": "The code of town %d is %d." % (index, 1000 + index)}


class Evaluations(WithModel):

    def setUp(self):
        super().setUp()
        self.samples = self.write_jsonl("samples.jsonl", [
            {"documents": [town(2 * i), town(2 * i + 1)],
             "question": "What is the code of town %d?" % (2 * i), "relevant": [0],
             "answer": "%d" % (1000 + 2 * i), "kind": "one" if i % 2 else "other"}
            for i in range(6)])
        self.scratch = self.folder / "tmp"
        self.scratch.mkdir()

    def environment(self):
        return environment(TMPDIR=str(self.scratch))

    def eval(self, *arguments):
        done = run("eval", *arguments, "--model", self.model, *SHORT, env=self.environment())
        self.assertEqual(list(self.scratch.iterdir()), [], "temporary files are left")
        return done

    def eval_json(self, *arguments):
        return json.loads(self.check_ok(self.eval(*arguments, "--json")).stdout)

    def test_samples(self):
        results, plot = self.folder / "results.json", self.folder / "plot.svg"
        done = self.check_ok(self.eval(self.samples, "--interleave", "both", "--baseline", "bm25",
                                       "--out", results, "--plot", plot))
        self.assertIn("random", done.stderr)
        rows = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual(rows[0][:4], ["memory", "mode", "kind", "n"])
        self.assertTrue(any(row[:3] == ["own", "interleave", "one"] for row in rows))
        self.assertIn("1 memory of up to", done.stdout)
        whole = json.loads(results.read_text())
        self.assertEqual(len(whole["answers"]), 12)
        self.assertEqual({a["mode"] for a in whole["answers"]}, {"interleave", "one round"})
        self.assertEqual(whole["answers"][0]["steps"], [["town-0"]])
        self.assertEqual(whole["answers"][0]["where"], "%s:1" % self.samples)
        self.assertFalse(whole["stopped"])
        self.assertTrue(plot.read_text().startswith("<svg "))
        # Keyword search has no trouble with these.
        everything = [row for row in whole["bm25"] if row["kind"] == "all"]
        self.assertEqual([row["in_16"] for row in everything], [1.0])

    def test_sizes_filled_by_a_task(self):
        result = self.eval_json(self.samples, "--task", "needle", "--tokens", "1K,40docs",
                                "--questions", "3")
        first, second = result["sizes"]
        self.assertLessEqual(first["tokens"], 1024)
        self.assertGreater(first["tokens"], 600)
        self.assertEqual(second["documents"], 40)
        self.assertEqual([row["questions"] for row in result["results"] if row["kind"] == "all"],
                         [3, 3])

    def test_task(self):
        result = self.eval_json("--task", "needle", "--tokens", "8K", "--questions", "4",
                                "--set", "documents=12")
        self.assertEqual(result["name"], "needle")
        self.assertEqual(result["settings"]["documents"], "12")
        self.assertEqual(result["settings"]["split"], "test")
        again = self.eval_json("--task", "needle", "--tokens", "8K", "--questions", "4",
                               "--set", "documents=12")
        for key in ("sizes", "results"):
            for rows in (result[key], again[key]):
                for row in rows:
                    for name in list(row):
                        if "ms_" in name or "seconds" in name:
                            del row[name]
            self.assertEqual(result[key], again[key])

    def test_memories_are_kept_and_used_again(self):
        work = self.folder / "work"
        first = self.eval_json(self.samples, "--work", work)
        second = self.eval_json(self.samples, "--work", work)
        self.assertGreater(first["sizes"][0]["encoded_tokens"], 0)
        self.assertEqual(second["sizes"][0]["encoded_tokens"], 0)
        self.assertEqual(second["sizes"][0]["tokens"], first["sizes"][0]["tokens"])
        (bank,) = work.iterdir()
        listed = json.loads(run("memory", "list", "--bank", bank, "--json").stdout)["documents"]
        self.assertEqual({d["id"] for d in listed}, {"town-%d" % i for i in range(12)})

    def test_stopped(self):
        results = self.folder / "results.json"
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                process = start("eval", "--task", "needle", "--tokens", "16M", "--model",
                                self.model, "--out", results, "--json", env=self.environment())
                self.wait_for_work(process)
                process.send_signal(number)
                stdout, stderr = process.communicate(timeout=TIMEOUT_S)
                self.assertEqual(process.returncode, 130, stderr)
                self.assertTrue(json.loads(stdout)["stopped"])
                self.assertTrue(json.loads(results.read_text())["stopped"])
                self.assertEqual(list(self.scratch.iterdir()), [])

    def wait_for_work(self, process):
        """Until it has something to clean up."""
        until = time.monotonic() + TIMEOUT_S
        while not list(self.scratch.iterdir()):
            self.assertIsNone(process.poll(), "ended before it began")
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)

    def test_bad_input(self):
        check = lambda code, *arguments, mentions=(): self.check_error(
            self.eval(*arguments), code, *mentions)
        check(2, mentions=["--task"])
        check(2, "--task", "nothing", mentions=["nothing", "needle"])
        check(2, "--task", "needle", "--set", "nothing=1", mentions=["nothing"])
        check(2, self.samples, "--tokens", "16K,lots", mentions=["lots"])
        check(2, self.samples, "--tokens", "5", mentions=["--tokens own"])
        check(3, self.folder / "missing.jsonl", mentions=["missing.jsonl"])
        check(3, self.samples, "--out", self.folder / "none" / "r.json", mentions=["none"])
        bad = self.write("bad.jsonl", self.samples.read_text() + '{"question": 1}\n')
        check(4, bad, mentions=["bad.jsonl:7"])
        check(3, "--task", "factbook", "--data", self.folder / "none", mentions=["none"])

    def test_model_without_tokenizer(self):
        path = self.make_model("no-tokenizer") / "tokenizer.json"
        path.unlink()
        self.check_error(run("eval", self.samples, "--model", path.parent), 3, "tokenizer.json")

    def test_a_full_disk(self):
        def limit():
            default_signals()
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

        self.check_error(run("eval", self.samples, "--task", "needle", "--tokens", "20K", "--model",
                             self.model, *SHORT, env=self.environment(), preexec_fn=limit), 5)
        self.assertEqual(list(self.scratch.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
