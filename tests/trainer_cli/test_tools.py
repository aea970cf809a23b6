"""The other commands: golden, plot, tasks, make, check, bench, export, tokenizer."""

import json
import shutil
import unittest
import xml.etree.ElementTree as ElementTree

from trainer_case import TESTDATA, TrainerCase, run, samples


class Tools(TrainerCase):

    def test_golden(self):
        for case in ("cosine", "max_head"):
            done = self.check_ok(run("golden", TESTDATA / "golden" / case))
            self.assertIn("passed", done.stdout)
        copy = self.folder / "golden"
        shutil.copytree(TESTDATA / "golden" / "cosine", copy)
        data = bytearray((copy / "model.safetensors").read_bytes())
        data[-1] ^= 0x01  # an exponent's lowest bit
        data[-2] ^= 0x80
        (copy / "model.safetensors").write_bytes(data)
        done = run("golden", copy)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("FAILED", done.stdout)
        self.check_error(run("golden", self.folder / "none"), 3, "none")

    def test_plot(self):
        self.check_ok(run("run", self.recipe(), "--out", self.out))
        self.check_ok(run("plot", self.out / "log.jsonl", "--title", "A <title>"))
        drawing = ElementTree.parse(self.out / "curves.svg").getroot()
        text = " ".join(drawing.itertext())
        for part in ("A <title>", "router", "main", "recall@1", "learning rate", "held out"):
            self.assertIn(part, text)
        done = self.check_ok(run("plot", self.out / "log.jsonl", "-o", "-"))
        ElementTree.fromstring(done.stdout)
        self.check_error(run("plot", self.write("bad.jsonl", "{}\n")), 2, "bad.jsonl:1", "step")
        self.check_error(run("plot", self.write("empty.jsonl", "")), 2, "empty.jsonl")

    def test_makers_write_what_check_and_run_read(self):
        tasks = json.loads(self.check_ok(run("tasks", "--json")).stdout)
        self.assertIn("needle", [task["name"] for task in tasks])
        self.check_ok(run("tasks"))
        first, again, second = (self.folder / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
        for path, options in ((first, ()), (again, ()), (second, ("--seed", 2))):
            self.check_ok(run("make", "needle", "--out", path, "--samples", 7, *options))
        self.assertEqual(first.read_bytes(), again.read_bytes())
        self.assertNotEqual(first.read_bytes(), second.read_bytes())
        rest = self.check_ok(run("make", "needle", "--out", "-", "--samples", 4, "--first", 3))
        self.assertEqual(rest.stdout.splitlines(), first.read_text().splitlines()[3:])
        done = self.check_ok(run("check", first, "--json", "--tokenizer",
                                 self.write("tokenizer.json", self.tokenizer())))
        counts = json.loads(done.stdout)
        self.assertEqual(counts["samples"], 7)
        self.assertGreater(counts["document_tokens"], counts["documents"])
        self.check_error(run("make", "needle", "--out", first, "--samples", 1, "--set", "x"), 2, "x")
        self.check_error(run("make", "nedle", "--out", first, "--samples", 1), 2, "nedle")

    @staticmethod
    def tokenizer():
        from trainer_case import byte_tokenizer
        return byte_tokenizer()

    def test_check_names_every_bad_line(self):
        lines = [json.dumps(s) for s in samples(4)]
        lines[1] = "{"
        lines[3] = lines[3].replace('"question"', '"qestion"')
        path = self.write("samples.jsonl", "\n".join(lines) + "\n")
        done = run("check", path)
        self.check_error(done, 4, "samples.jsonl", "2 of 4")
        warnings = [l for l in done.stderr.splitlines() if l.startswith("warning: ")]
        self.assertEqual(len(warnings), 2)
        self.assertIn("samples.jsonl:2", warnings[0])
        self.assertIn("samples.jsonl:4", warnings[1])
        self.assertIn("qestion", warnings[1])
        self.check_error(run("check", self.write("none.jsonl", "\n")), 4, "none.jsonl")

    def test_check_reads_lines_as_run_does(self):
        line = json.dumps(next(samples(1)))
        done = self.check_ok(run("check", self.write("marked.jsonl", "\ufeff" + line + "\n"),
                                 "--json"))
        self.assertEqual(json.loads(done.stdout)["samples"], 1)
        self.check_error(run("check", self.folder / "none.jsonl"), 3, "none.jsonl")
        packed = self.folder / "packed.jsonl"
        packed.write_bytes(b"\x1f\x8b" + line.encode())
        self.check_error(run("check", packed), 4, "packed.jsonl", "compressed")

    def test_bench(self):
        done = self.check_ok(run("bench", "--recipe", self.recipe(), "--tokens", 512, "--steps", 1,
                                 "--document-tokens", 32, "--json"))
        report = json.loads(done.stdout)
        self.assertGreater(report["tokens_per_second"], 0)
        self.assertGreater(report["share_of_product_rate"], 0)
        self.assertEqual(report["tokens_per_step"], 512)

    def test_export(self):
        self.check_ok(run("run", self.recipe(), "--out", self.out))
        checkpoint = self.out / "state" / self.checkpoints()[-1]
        exported = self.folder / "exported"
        self.check_ok(run("export", checkpoint, "--out", exported))
        self.assertEqual((exported / "model.safetensors").read_bytes(),
                         (self.out / "model" / "model.safetensors").read_bytes())
        full = self.folder / "full"
        self.check_ok(run("export", checkpoint, "--out", full, "--dtype", "f32"))
        self.assertIn("float32", (full / "config.json").read_text())
        self.check_error(run("export", self.folder / "none", "--out", full), 3, "none")

    def test_tokenizer(self):
        texts = self.write("texts.txt", "the cat sat on the mat. " * 50)
        tokenizer = self.folder / "learned.json"
        done = self.check_ok(run("tokenizer", texts, "--out", tokenizer, "--vocabulary", 280,
                                 "--json"))
        self.assertLessEqual(json.loads(done.stdout)["vocabulary"], 280)
        self.check_ok(run("check", self.write_samples(), "--tokenizer", tokenizer))
        self.check_error(run("tokenizer", self.folder / "none.txt", "--out", tokenizer), 3,
                         "none.txt")


if __name__ == "__main__":
    unittest.main()
