"""msa memory: add, update, remove, compact."""

import fcntl
import json
import signal
import unittest

from msa_case import WithModel, run, start

SENTENCE = "The bridge number %d was built in the year %d by people whose names are lost. "


class Change(WithModel):

    def setUp(self):
        super().setUp()
        self.state = self.small_bank()

    def memory(self, command, *arguments):
        return run("memory", command, *arguments, "--bank", self.bank)

    def memory_json(self, command, *arguments):
        return json.loads(self.check_ok(self.memory(command, *arguments, "--json")).stdout)

    def change(self, command, *paths, options=()):
        return run("memory", command, *paths, "--bank", self.bank, "--model", self.model, *options)

    def change_json(self, command, *paths):
        return json.loads(self.check_ok(self.change(command, *paths, options=["--json"])).stdout)

    def numbers(self):
        return {d["id"]: d["number"] for d in self.documents()}

    def text(self, document):
        return self.memory_json("show", "--id", document)["text"]

    def routed(self):
        done = self.check_ok(self.with_bank("route", "Which bridge?", "--json", "--top-k", 16))
        layers = json.loads(done.stdout)["layers"]
        return {d["number"] for layer in layers for d in layer["documents"]}

    def unchanged(self):
        self.check_verifies()
        self.assertEqual(self.bank_state(), self.state)

    def test_remove(self):
        self.assertEqual(self.routed(), {0, 1, 2, 3, 4})
        report = self.memory_json("remove", 1, "--id", "doc-3")
        self.assertEqual((report["documents"], report["ids"]), (2, 2))
        self.assertEqual(report["bank"]["documents"], 3)
        self.assertEqual(report["bank"]["dead_chunks"], 2)
        self.assertEqual(self.numbers(), {"doc-0": 0, "doc-2": 2, "doc-4": 4})
        self.assertEqual(self.routed(), {0, 2, 4})
        self.check_error(self.memory("show", 1), 3, "1")
        self.check_verifies()
        words = self.check_ok(self.memory("remove", 4)).stdout
        self.assertIn("removed 1 document (1 id)", words)
        self.assertIn("msa memory compact", words)
        # Their numbers are not given out again, not even the highest.
        self.change_json("add", self.write("new.md", "A new text."))
        self.assertEqual(self.numbers(), {"doc-0": 0, "doc-2": 2, str(self.folder / "new.md"): 5})

    def test_removing_what_is_not_there_changes_nothing(self):
        self.check_error(self.memory("remove", 1, 5), 3, self.bank, "no document 5")
        self.check_error(self.memory("remove", 1, "--id", "nobody"), 3, "'nobody'")
        self.check_error(self.memory("remove", "--id", ""), 3, "''")
        self.check_error(self.memory("remove"), 2, "no document given")
        self.check_error(self.memory("remove", "x"), 2, "'x' is not a whole number")
        self.unchanged()

    def test_one_document_named_twice_is_removed_once(self):
        report = self.memory_json("remove", 1, 1, "--id", "doc-1")
        self.assertEqual(report["documents"], 1)

    def test_update_in_place_of_the_old_text(self):
        path = self.write_jsonl("new.jsonl", [
            {"id": "doc-1", "title": "Title 1", "text": "It was built in 2001 after all."},
            {"id": "doc-2", "title": "Title 2", "text": "The bridge number 2 was built in 1902."},
            {"id": "doc-9", "title": "Title 9", "text": "The bridge number 9."}])
        refused = self.change("add", path, options=["--json"])
        self.assertIn("another text", refused.stderr)
        self.assertEqual(self.text("doc-1"), "The bridge number 1 was built in 1901.")
        self.assertEqual(self.numbers()["doc-9"], 5)
        report = self.change_json("update", path)
        self.assertEqual((report["replaced"], report["passages"], report["already_there"]),
                         (1, 1, 2))
        self.assertEqual(self.text("doc-1"), "It was built in 2001 after all.")
        self.assertEqual(self.numbers(), {"doc-0": 0, "doc-1": 6, "doc-2": 2, "doc-3": 3,
                                          "doc-4": 4, "doc-9": 5})
        self.assertEqual(self.routed(), {0, 2, 3, 4, 5, 6})
        self.check_verifies()
        self.assertEqual(self.change_json("update", path)["already_there"], 3)

    def test_update_of_a_long_text(self):
        text = "".join(SENTENCE % (i, 1000 + i) for i in range(40))
        path = self.write("long.txt", text)
        options = ["--passage-tokens", "64", "--json"]
        first = json.loads(self.check_ok(self.change("add", path, options=options)).stdout)
        self.assertGreater(first["passages"], 6)
        before = self.numbers()
        path.write_text(text[:len(text) // 2], encoding="utf-8")
        done = json.loads(self.check_ok(self.change("update", path, options=options)).stdout)
        self.assertGreater(done["replaced"], 2)
        after = self.numbers()
        passages = [i for i in after if i.startswith(str(path))]
        self.assertLess(len(passages), first["passages"])
        self.assertEqual(after["%s#1" % path], before["%s#1" % path])
        whole = " ".join(self.text("%s#%d" % (path, i + 1)) for i in range(len(passages)))
        self.assertEqual(whole.split(), text[:len(text) // 2].split())
        # All of it goes under the text's own id.
        self.assertEqual(self.memory_json("remove", "--id", path)["documents"], len(passages))
        self.assertEqual(len(self.documents()), 5)
        self.check_verifies()

    def test_equal_texts_are_encoded_once(self):
        twin = {"id": "twin", "title": "Title 3", "text": "The bridge number 3 was built in 1903."}
        report = self.change_json("add", self.write_jsonl("twin.jsonl", [twin]))
        self.assertEqual((report["passages"], report["duplicates"]), (0, 1))
        self.assertEqual(self.bank_state()[1], self.state[1])  # the segments
        shown = self.memory_json("show", 3)
        self.assertEqual((shown["id"], shown["aliases"]), ("doc-3", ["twin"]))
        self.assertEqual(self.memory_json("show", "--id", "twin")["number"], 3)
        self.assertEqual(self.memory_json("info")["aliases"], 1)
        self.assertIn("twin", self.memory("show", 3).stdout)

        report = self.memory_json("remove", "--id", "doc-3")
        self.assertEqual((report["documents"], report["ids"]), (0, 1))
        self.assertEqual(self.memory_json("show", 3)["id"], "twin")
        self.assertEqual(self.routed(), {0, 1, 2, 3, 4})
        self.check_verifies()
        self.assertEqual(self.memory_json("remove", 3)["documents"], 1)
        self.assertEqual(self.routed(), {0, 1, 2, 4})

    def test_compact(self):
        for i in range(5, 8):
            self.change_json("add", self.write("%d.txt" % i, "The bridge number %d." % i))
        self.memory_json("remove", 0, 2, 6)
        kept, routed = self.numbers(), self.routed()
        texts = [self.text(i) for i in kept]
        report = self.memory_json("compact")
        self.assertEqual((report["segments_before"], report["segments_after"]), (4, 1))
        self.assertEqual(report["removed_chunks"], 3)
        self.assertLess(report["bytes_after"], report["bytes_before"])
        self.assertEqual(len(list((self.bank / "segments").iterdir())), 1)
        self.check_verifies()
        self.assertEqual(self.numbers(), kept)
        self.assertEqual(self.routed(), routed)
        self.assertEqual([self.text(i) for i in kept], texts)
        self.assertEqual(self.memory_json("info")["dead_chunks"], 0)
        self.assertIn("0 chunks of removed documents", self.check_ok(self.memory("compact")).stdout)

    def test_scores_of_what_stays_stay(self):
        def scores():
            done = self.check_ok(self.with_bank("route", "Which bridge?", "--json"))
            layers = json.loads(done.stdout)["layers"]
            return {(l["layer"], d["number"]): d["score"] for l in layers for d in l["documents"]}
        whole = scores()
        first = min(layer for layer, _ in whole)
        self.memory_json("remove", 1, 3)
        part = scores()
        self.assertEqual({number for _, number in part}, {0, 2, 4})
        # Later layers have read what the first one chose, and that is less now.
        for number in (0, 2, 4):
            self.assertEqual(part[first, number], whole[first, number])
        self.memory_json("compact")
        self.assertEqual(scores(), part)

    def test_a_damaged_segment_is_not_compacted(self):
        self.memory_json("remove", 0)
        target = next((self.bank / "segments").iterdir())
        damaged = bytearray(target.read_bytes())
        damaged[-1] ^= 1
        target.write_bytes(damaged)
        self.check_error(self.memory("compact"), 4, target.name)
        self.assertEqual(target.read_bytes(), bytes(damaged))

    def test_a_bank_in_use(self):
        with open(self.bank / "lock", "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.write("a.txt", "A text.")
            self.check_error(self.memory("remove", 1), 6, self.bank)
            self.check_error(self.memory("compact"), 6, self.bank)
            self.check_error(self.change("add", path), 6, self.bank)
            self.check_error(self.change("update", path), 6, self.bank)
        self.unchanged()

    def test_no_bank_is_made(self):
        path = self.write("a.txt", "A text.")
        self.bank = self.folder / "nothing"
        for done in (self.change("add", path), self.change("update", path),
                     self.memory("remove", 1), self.memory("compact")):
            self.check_error(done, 3, "nothing")
        self.assertFalse(self.bank.exists())

    def test_another_model_is_refused_but_may_remove(self):
        path = self.write("a.txt", "A text.")
        self.model = self.make_model("other", "--seed", "7")
        self.check_error(self.change("update", path), 4, "model")
        self.unchanged()
        self.assertEqual(self.memory_json("remove", 0)["documents"], 1)

    def test_killed_while_updating(self):
        records = [{"id": "doc-%d" % i, "title": "Title %d" % i, "text": "New text %d." % i}
                   for i in range(5)]
        path = self.write_jsonl("new.jsonl", records)
        process = start("memory", "update", path, "--bank", self.bank, "--model", self.model)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.check_verifies()
        self.change_json("update", path)
        self.assertEqual({i: self.text(i) for i in self.numbers()},
                         {r["id"]: r["text"] for r in records})


if __name__ == "__main__":
    unittest.main()
