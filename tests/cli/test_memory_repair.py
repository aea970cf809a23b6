"""msa memory repair."""

import fcntl
import json
import unittest

from msa_case import WithModel, run


class Repair(WithModel):

    def setUp(self):
        super().setUp()
        self.state = self.small_bank()
        path = self.write_jsonl("more.jsonl", [
            {"id": "more-%d" % i, "title": "", "text": "Another text, number %d. " % i * (i + 1)}
            for i in range(6)])
        self.encode_json(path)
        self.before = self.everything()

    def repair(self, *options, model=None):
        return run("memory", "repair", "--bank", self.bank, "--model", model or self.model, *options)

    def repair_json(self, *options):
        return json.loads(self.check_ok(self.repair(*options, "--json")).stdout)

    def segments(self):
        return sorted((self.bank / "segments").iterdir())

    def everything(self):
        """Documents, texts, and scores of every document, which depend on every vector."""
        documents = self.documents()
        texts = [run("memory", "show", d["number"], "--bank", self.bank, "--json").stdout
                 for d in documents]
        done = self.check_ok(self.with_bank("route", "Which bridge?", "--json", "--top-k", 11))
        return documents, texts, json.loads(done.stdout)

    def damage(self, path, position=-1):
        damaged = bytearray(path.read_bytes())
        damaged[position] ^= 1
        path.write_bytes(damaged)

    def test_a_damaged_segment(self):
        first, second = self.segments()
        self.damage(second)
        self.assertEqual(run("memory", "verify", "--bank", self.bank).returncode, 4)
        state = second.read_bytes()
        plan = self.repair_json("--dry-run")
        self.assertEqual([d["id"] for d in plan["damage"]["lost"]],
                         ["more-%d" % i for i in range(6)])
        self.assertEqual(plan["damage"]["segments"], [second.name])
        self.assertEqual(second.read_bytes(), state)

        report = self.repair_json()
        self.assertEqual((report["documents"], report["dropped"], report["left"]), (6, 0, []))
        self.check_verifies()
        self.assertEqual(self.everything(), self.before)
        self.assertTrue(first.exists())
        self.assertFalse(second.exists())

    def test_a_missing_segment(self):
        for path in self.segments():
            path.unlink()
        words = self.check_ok(self.repair()).stdout
        self.assertIn("lost with them: 11 documents", words)
        self.assertIn("encoded 11 documents again", words)
        self.check_verifies()
        self.assertEqual(self.everything(), self.before)

    def test_nothing_damaged(self):
        self.assertEqual(self.check_ok(self.repair()).stdout, "nothing is damaged\n")
        self.assertEqual(self.repair_json()["documents"], 0)
        self.assertEqual(self.everything(), self.before)

    def test_another_model_is_refused(self):
        self.damage(self.segments()[0])
        other = self.make_model("other", "--seed", "7")
        self.check_error(self.repair(model=other), 4, "another model")
        self.assertEqual(self.repair_json()["documents"], 5)
        self.assertEqual(self.everything(), self.before)

    def test_bad_calls(self):
        self.check_error(run("memory", "repair", "--bank", self.bank), 2, "--model")
        self.check_error(self.repair("--batch-tokens", 0), 2, "--batch-tokens")
        with open(self.bank / "lock", "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.check_error(self.repair(), 6, self.bank)
            self.check_ok(self.repair("--dry-run"))
        self.bank = self.folder / "nothing"
        self.check_error(self.repair(), 3, "nothing")
        self.assertFalse(self.bank.exists())


if __name__ == "__main__":
    unittest.main()
