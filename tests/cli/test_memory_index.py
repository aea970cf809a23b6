"""msa memory index, and questions that are routed with it."""

import json
import os
import unittest

from msa_case import WithModel, run

NO_FAISS = "this build has no FAISS"


class Index(WithModel):

    def setUp(self):
        super().setUp()
        self.encode_documents("first", 120)
        self.has_faiss = NO_FAISS not in run("memory", "index", "--bank", self.bank).stderr

    def encode_documents(self, name, count):
        path = self.write_jsonl(name + ".jsonl", [
            {"id": "%s-%d" % (name, i), "title": "Bridge %d" % i,
             "text": "The bridge %s %d was built in %d. " % (name, i, 1500 + i) * (1 + i % 4)}
            for i in range(count)])
        self.encode_json(path)

    def require_faiss(self):
        if not self.has_faiss:
            self.skipTest(NO_FAISS)

    def index(self, *options):
        return run("memory", "index", "--bank", self.bank, *options)

    def index_json(self, *options):
        return json.loads(self.check_ok(self.index("--json", *options)).stdout)

    def route(self, *options):
        return self.with_bank("route", "Which bridge was built in 1523?", "--json", *options)

    def found(self, *options):
        """The documents of each layer, best first, and what was said on standard error."""
        done = self.check_ok(self.route(*options))
        layers = json.loads(done.stdout)["layers"]
        return [[(d["number"], d["score"]) for d in layer["documents"]] for layer in layers], done

    def index_files(self):
        return sorted(p.name for p in (self.bank / "index").iterdir())

    def test_a_build_without_faiss_says_so(self):
        if self.has_faiss:
            self.skipTest("this build has FAISS")
        self.check_error(self.index(), 4, NO_FAISS)
        self.check_error(self.route("--routing", "approximate"), 4, NO_FAISS)
        self.check_ok(self.route("--routing", "exact"))

    def test_builds_measures_and_routes(self):
        self.require_faiss()
        model = json.loads(run("model", "info", self.model, "--json").stdout)
        self.check_error(self.index("--type", "ivfpq"), 2, "too few for product quantisation")
        for kind, documents in (("ivf", 120), ("ivfpq", 240)):
            if documents > 120:
                self.encode_documents("more", 120)
            exact, _ = self.found()
            # Every list and as many candidates as it takes: then it is as the exact scan.
            report = self.index_json("--type", kind, "--recall", "1", "--lists", "8")
            self.assertEqual(report["type"], kind)
            self.assertEqual(report["lists"], 8)
            self.assertEqual(report["documents"], documents)
            self.assertEqual([l["layer"] for l in report["layers"]], model["router_layers"])
            self.assertFalse(report["real_questions"])
            self.assertGreater(report["recall"], 0.95)
            self.assertEqual(report["bytes"], sum(
                os.path.getsize(self.bank / "index" / name)
                for name in self.index_files() if name.endswith(".idx")))
            approximate, done = self.found("--routing", "approximate", "-v")
            self.assertIn("index: ", done.stderr)
            self.assertNotIn("warning", done.stderr)
            # Documents found by both have the same scores. This question is none of those that
            # recall was measured with.
            for layer, expected in zip(approximate, exact):
                self.assertEqual(len(layer), len(expected))
                self.assertGreaterEqual(len(set(layer) & set(expected)), len(expected) // 2)
                self.assertEqual([s for _, s in layer], sorted((s for _, s in layer), reverse=True))
            answered = self.check_ok(self.with_bank(
                "ask", "Which bridge?", "--routing", "approximate", "--max-tokens", "4", "--json"))
            self.assertTrue(json.loads(answered.stdout)["routing"]["layers"])
        words = self.check_ok(self.index()).stdout
        self.assertRegex(words, r"recall@16 +read +exact scan +fewer\n")
        self.assertRegex(words, r"\nindexed 240 documents, ")
        self.check_verifies()

    def test_questions_through_the_model(self):
        self.require_faiss()
        path = self.write_jsonl("questions.jsonl", [
            {"id": i, "question": "When was the bridge %d built?" % i} for i in range(5)])
        report = self.index_json("--questions", path, "--model", self.model)
        self.assertTrue(report["real_questions"])
        self.assertEqual(report["questions"], 5)
        self.assertGreater(report["question_tokens"], 5)
        self.check_error(self.index("--questions", path), 2, "no model given")
        one = self.write_jsonl("one.jsonl", [{"id": 1, "question": "When?"}])
        self.check_error(self.index("--questions", one, "--model", self.model), 2, "at least two")
        other = self.make_model("other", "--seed", "7")
        self.check_error(self.index("--questions", path, "--model", other), 4, "another model")

    def test_documents_that_come_and_go(self):
        self.require_faiss()
        self.index_json("--recall", "1", "--lists", "4")
        self.encode_documents("second", 40)
        approximate, done = self.found("--routing", "approximate", "--top-k", "160", "-v")
        exact, _ = self.found("--top-k", "160")
        self.assertIn("the others are scanned", done.stderr)
        for layer in approximate:
            self.assertTrue({n for n, _ in layer} >= set(range(120, 160)))
        self.check_ok(run("memory", "remove", "3", "5", "130", "--bank", self.bank))
        approximate, _ = self.found("--routing", "approximate", "--top-k", "160")
        for layer in approximate:
            self.assertFalse({n for n, _ in layer} & {3, 5, 130})
        # Compaction leaves nothing that the index knows, and takes it away.
        self.check_ok(run("memory", "compact", "--bank", self.bank))
        self.assertFalse((self.bank / "index").exists())
        exact, _ = self.found()
        approximate, done = self.found("--routing", "approximate")
        self.assertEqual(approximate, exact)
        self.assertIn("there is no index", done.stderr)
        self.check_verifies()

    def test_a_damaged_index_is_a_warning_and_never_a_wrong_answer(self):
        self.require_faiss()
        self.index_json()
        exact, _ = self.found()
        for name in self.index_files():
            if name == "lock":
                continue
            path = self.bank / "index" / name
            whole = path.read_bytes()
            for damaged in (whole[:-1], b"", whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
                            os.urandom(len(whole))):
                path.write_bytes(damaged)
                found, done = self.found("--routing", "approximate")
                self.assertEqual(found, exact)
                warnings = [l for l in done.stderr.splitlines() if l.startswith("warning: ")]
                self.assertEqual(len(warnings), 1, done.stderr)
                self.assertIn(name, warnings[0])
                self.assertIn("routing is exact", warnings[0])
            path.write_bytes(whole)
        self.check_verifies()

    def test_bench(self):
        self.require_faiss()
        done = self.check_ok(run("bench", "--only", "index", "--index-chunks", "2000", "--json"))
        figures = {f["name"]: f for f in json.loads(done.stdout)["figures"]}
        for kind in ("ivf", "ivfpq"):
            self.assertGreater(figures["index %s, recall@16" % kind]["value"], 90)
            self.assertGreater(figures["index %s, fewer bytes read" % kind]["value"], 0)
            self.assertIn("clustered keys", figures["index %s, recall@16" % kind]["note"])

    def test_refusals(self):
        self.require_faiss()
        self.check_error(self.index("--lists", "100000"), 2, "100000 lists are more than")
        self.check_error(run("memory", "index", "--bank", self.folder / "none"), 3, "none")
        config = self.folder / "max"
        config.mkdir()
        for file in self.model.iterdir():
            if file.name != "config.json":
                os.symlink(file, config / file.name)
        settings = json.loads((self.model / "config.json").read_text())
        settings["msa_config"]["chunk_reduce_method"] = "mean"
        (config / "config.json").write_text(json.dumps(settings))
        bank = self.folder / "max-bank"
        self.check_ok(run("encode", self.folder / "first.jsonl", "--bank", bank, "--model", config))
        done = run("route", "Which?", "--bank", bank, "--model", config, "--routing", "approximate")
        self.check_error(done, 4, "needs heads reduced by mean, tokens and chunks by max")


if __name__ == "__main__":
    unittest.main()
