"""msa encode --shard, msa memory attach, export and import."""

import fcntl
import io
import json
import shutil
import signal
import tarfile
import time
import unittest

from msa_case import WithModel, run, start

TEXT = "The bridge number %d over the river %s was built in %d by people whose names are lost."


def records(first, count, text=TEXT):
    return [{"id": "doc-%d" % i, "title": "Title %d" % i,
             "text": text % (i, "abcdefgh"[i % 8] * 3, 1000 + i)} for i in range(first, first + count)]


class Transfer(WithModel):

    def setUp(self):
        super().setUp()
        self.corpus = self.write_jsonl("corpus.jsonl", records(0, 11))

    def memory(self, command, *arguments):
        return run("memory", command, *arguments)

    def memory_json(self, command, *arguments):
        return json.loads(self.check_ok(self.memory(command, *arguments, "--json")).stdout)

    def make(self, name, *options, corpus=None):
        """A bank of its own, with `options` of `msa encode`."""
        bank = self.folder / name
        self.check_ok(run("encode", corpus or self.corpus, "--bank", bank, "--model", self.model,
                          *options))
        return bank

    def numbers(self, bank):
        return {d["id"]: d["number"] for d in self.memory_json("list", "--bank", bank)["documents"]}

    def verifies(self, bank):
        self.assertTrue(self.memory_json("verify", "--bank", bank)["ok"])

    def everything(self, bank):
        """Documents, texts, and scores of every document, which depend on every vector."""
        listed = self.memory_json("list", "--bank", bank)["documents"]
        texts = [self.memory_json("show", d["number"], "--bank", bank)["text"] for d in listed]
        done = self.check_ok(run("route", "Which bridge?", "--json", "--top-k", 16, "--bank", bank,
                                 "--model", self.model))
        return listed, texts, json.loads(done.stdout)


class Attach(Transfer):

    def test_shards_are_the_bank_that_one_machine_would_have_made(self):
        whole = self.make("whole")
        parts = [self.make("part-%d" % i, "--shard", "%d/3" % i) for i in range(3)]
        self.assertEqual(set(self.numbers(parts[1]).values()), {1, 4, 7, 10})
        self.assertEqual(self.numbers(parts[1])["doc-4"], 4)
        report = self.memory_json("attach", self.bank, *parts)
        self.assertEqual((report["documents"], report["segments"]), (11, 3))
        self.assertEqual(report["bank"]["documents"], 11)
        self.verifies(self.bank)
        self.assertEqual(self.everything(self.bank), self.everything(whole))
        # And it goes on as that one would.
        more = self.write_jsonl("more.jsonl", records(11, 2))
        for bank in (self.bank, whole):
            self.check_ok(run("memory", "add", more, "--bank", bank, "--model", self.model))
        self.assertEqual(self.everything(self.bank), self.everything(whole))

    def test_long_texts_stay_together(self):
        long = self.write_jsonl("long.jsonl", [
            {"id": "long-%d" % i, "text": " ".join(TEXT % (j, "x", i) for j in range(30))}
            for i in range(3)])
        options = ["--passage-tokens", "64"]
        parts = [self.make("part-%d" % i, "--shard", "%d/2" % i, *options, corpus=long)
                 for i in range(2)]
        ids = set(self.numbers(parts[1]))
        self.assertTrue(all(i.startswith("long-1#") for i in ids))
        self.check_ok(self.memory("attach", self.bank, *parts))
        self.verifies(self.bank)

    def test_a_stopped_shard_goes_on(self):
        part = self.make("part", "--shard", "1/2", corpus=self.write_jsonl("a.jsonl", records(0, 5)))
        self.make("part", "--shard", "1/2")
        self.assertEqual(self.numbers(part), {"doc-%d" % i: i for i in (1, 3, 5, 7, 9)})
        other = self.make("other", "--shard", "0/2")
        self.check_ok(self.memory("attach", part, other))
        self.assertEqual(self.numbers(part), {"doc-%d" % i: i for i in range(11)})
        self.verifies(part)

    def test_into_a_bank_that_has_documents(self):
        self.small_bank()
        more = self.write_jsonl("more.jsonl", records(20, 3))
        part = self.make("part", corpus=more)
        before = self.everything(self.bank)
        error = self.check_error(self.memory("attach", self.bank, part), 2, part, "--first-number 5")
        self.assertIn("0 ('doc-20')", error)
        self.assertEqual(self.everything(self.bank), before)
        part = self.make("numbered", "--first-number", 5, corpus=more)
        words = self.check_ok(self.memory("attach", self.bank, part)).stdout
        self.assertIn("attached 3 documents", words)
        self.assertEqual(self.numbers(self.bank)["doc-22"], 7)
        self.verifies(self.bank)

    def test_equal_texts_and_ids(self):
        self.small_bank()
        twin = self.write_jsonl("twin.jsonl", [
            {"id": "twin", "title": "Title 3", "text": "The bridge number 3 was built in 1903."},
            {"id": "doc-1", "title": "Title 1", "text": "The bridge number 1 was built in 1901."}])
        report = self.memory_json("attach", self.bank, self.make("twin", corpus=twin))
        self.assertEqual((report["documents"], report["duplicates"], report["already_there"]),
                         (0, 1, 1))
        self.assertEqual(self.memory_json("show", "--id", "twin", "--bank", self.bank)["number"], 3)

        other = self.make("other", "--first-number", 9, corpus=self.write_jsonl(
            "other.jsonl", [{"id": "doc-2", "title": "", "text": "Another text."}]))
        self.check_error(self.memory("attach", self.bank, other), 2, "'doc-2'", "--replace")
        self.assertEqual(self.memory_json("attach", self.bank, other, "--replace")["replaced"], 1)
        shown = self.memory_json("show", "--id", "doc-2", "--bank", self.bank)
        self.assertEqual((shown["number"], shown["text"]), (9, "Another text."))
        self.verifies(self.bank)

    def test_move(self):
        whole = self.make("whole")
        parts = [self.make("part-%d" % i, "--shard", "%d/2" % i) for i in range(2)]
        report = self.memory_json("attach", self.bank, *parts, "--move")
        self.assertEqual(report["copied_bytes"], 0)
        self.assertEqual(report["left"], [])
        self.assertFalse(any(part.exists() for part in parts))
        self.verifies(self.bank)
        self.assertEqual(self.everything(self.bank), self.everything(whole))
        self.check_ok(self.memory("compact", "--bank", self.bank))
        self.verifies(self.bank)
        self.assertEqual(self.everything(self.bank), self.everything(whole))

    def test_another_model_is_refused(self):
        self.small_bank()
        state = self.bank_state()
        self.model = self.make_model("other", "--seed", "7")
        other = self.make("other", "--first-number", 5)
        self.check_error(self.memory("attach", self.bank, other), 4, other, "another model")
        self.assertEqual(self.bank_state(), state)

    def test_damage_is_not_taken_over(self):
        part = self.make("part")
        target = next((part / "segments").iterdir())
        damaged = bytearray(target.read_bytes())
        damaged[-1] ^= 1
        target.write_bytes(damaged)
        self.check_error(self.memory("attach", self.bank, part), 4, target.name)
        self.assertFalse(self.bank.exists())

    def test_bad_calls(self):
        part = self.make("part")
        self.check_error(self.memory("attach", part, part), 2, "is the bank itself")
        self.check_error(self.memory("attach", self.bank, part, part), 2, "given twice")
        self.check_error(self.memory("attach", self.bank, self.folder / "no"), 3, "no")
        self.check_error(self.memory("attach", self.bank), 2, "OTHER")
        self.assertFalse(self.bank.exists())
        for shard in ("3/3", "x", "1", "1/", "/2", "-1/2", "0/0", "1/2/3"):
            self.check_error(run("encode", self.corpus, "--bank", self.bank, "--model", self.model,
                                 "--shard=" + shard), 2, "--shard")
        self.check_error(run("encode", self.corpus, "--bank", self.bank, "--model", self.model,
                             "--first-number", 2**32), 2, "--first-number")
        self.assertFalse(self.bank.exists())
        self.small_bank()
        state = self.bank_state()
        with open(self.bank / "lock", "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.check_error(self.memory("attach", self.bank, part), 6, self.bank)
        with open(part / "lock", "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.check_error(self.memory("attach", self.bank, part, "--move"), 6, part)
        self.assertEqual(self.bank_state(), state)

    def test_killed_while_attaching(self):
        parts = [self.make("part-%d" % i, "--shard", "%d/4" % i) for i in range(4)]
        for delay in (0, 0.005, 0.02):
            process = start("memory", "attach", self.bank, *parts, "--move")
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        left = [part for part in parts if (part / "catalogue.sqlite").exists()]
        if left:
            self.check_ok(self.memory("attach", self.bank, *left, "--move"))
        self.assertEqual(self.numbers(self.bank), {"doc-%d" % i: i for i in range(11)})
        self.verifies(self.bank)


class Export(Transfer):

    def setUp(self):
        super().setUp()
        self.make("bank")
        self.archive = self.folder / "bank.tar.zst"
        self.copy = self.folder / "copy"

    def left(self):
        return sorted(p.name for p in self.folder.iterdir())

    def test_there_and_back(self):
        for name in ("bank.tar.zst", "bank.tar"):
            out = self.memory_json("export", self.bank, self.folder / name)["archive"]
            self.assertEqual(out["documents"], 11)
            self.assertEqual(out["file_bytes"], (self.folder / name).stat().st_size)
            report = self.memory_json("import", self.folder / name, self.copy)
            self.assertEqual(report["bytes"], out["bytes"])
            self.verifies(self.copy)
            self.assertEqual(self.everything(self.copy), self.everything(self.bank))
            more = self.write_jsonl("more.jsonl", records(11, 1))
            self.check_ok(run("memory", "add", more, "--bank", self.copy, "--model", self.model))
            self.verifies(self.copy)
            self.check_ok(self.memory("remove", 0, "--bank", self.copy))
            shutil.rmtree(self.copy)

    def test_other_programs_can_read_the_archive(self):
        self.check_ok(self.memory("export", self.bank, self.folder / "bank.tar"))
        with tarfile.open(self.folder / "bank.tar") as tar:
            names = tar.getnames()
        self.assertEqual(names, ["catalogue.sqlite", "segments/00000001.seg"])

    def test_texts_can_be_encoded_again(self):
        path = self.folder / "texts.jsonl"
        self.check_ok(self.memory("remove", 3, "--bank", self.bank))
        out = self.memory_json("export", self.bank, "--text", path)["text"]
        self.assertEqual((out["documents"], out["records"]), (10, 10))
        again = self.make("again", corpus=path)
        texts = {d["id"]: self.memory_json("show", d["number"], "--bank", again)["text"]
                 for d in self.memory_json("list", "--bank", again)["documents"]}
        self.assertEqual(texts, {r["id"]: r["text"] for r in records(0, 11) if r["id"] != "doc-3"})

    def test_an_archive_that_was_made_to_harm(self):
        self.check_ok(self.memory("export", self.bank, self.folder / "bank.tar"))
        before = self.left()

        def refused(mention, change):
            bad = self.folder / "bad.tar"
            with tarfile.open(self.folder / "bank.tar") as old, tarfile.open(bad, "w") as new:
                entries = [(m, old.extractfile(m).read()) for m in old.getmembers()]
                for member, data in change(entries):
                    member.size = len(data)
                    new.addfile(member, io.BytesIO(data))
            self.check_error(self.memory("import", bad, self.copy), 4, bad, mention)
            bad.unlink()
            self.assertEqual(self.left(), before)

        def extra(name, kind=tarfile.REGTYPE, link=""):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            return lambda entries: entries + [(member, b"" if link else b"x")]

        def renamed(entries):
            entries[1][0].name = "../" + entries[1][0].name
            return entries

        refused("does not belong", extra("../../outside"))
        refused("does not belong", extra("/tmp/outside"))
        refused("not a plain file", extra("segments/00000001.seg", tarfile.SYMTYPE, "/etc/passwd"))
        refused("not a plain file", extra("segments/00000002.seg", tarfile.LNKTYPE, "/etc/passwd"))
        refused("not a plain file", lambda e: extra("d", tarfile.DIRTYPE)(e)[:2] +
                [(extra("d", tarfile.DIRTYPE)([])[0][0], b"")])
        refused("twice", lambda entries: entries + entries[1:])
        refused("does not belong", renamed)
        refused("lacks 1", lambda entries: entries[:1])
        refused("catalogue", lambda entries: entries[::-1])
        refused("checksum", lambda e: [e[0], (e[1][0], e[1][1][:-1] + bytes([e[1][1][-1] ^ 1]))])
        self.assertFalse((self.folder.parent / "outside").exists())

    def test_bad_calls(self):
        self.check_ok(self.memory("export", self.bank, self.archive))
        before = self.left()
        self.check_error(self.memory("export", self.bank, self.archive), 2, "is there already")
        self.check_error(self.memory("export", self.bank, self.folder / "x.zip"), 2, ".tar.zst")
        self.check_error(self.memory("export", self.bank), 2, "no file given")
        self.check_error(self.memory("export", self.bank, "--text", self.folder / "x.md"), 2,
                         ".jsonl")
        self.check_error(self.memory("export", self.folder / "no", self.folder / "x.tar"), 3, "no")
        self.check_error(self.memory("import", self.archive, self.bank), 2, "is there already")
        self.check_error(self.memory("import", self.folder / "no.tar", self.copy), 3, "no.tar")
        self.check_error(self.memory("import", self.corpus, self.copy), 4, self.corpus)
        short = self.write("short.tar.zst", self.archive.read_bytes()[:-100])
        self.check_error(self.memory("import", short, self.copy), 4, short)
        short.unlink()
        self.assertEqual(self.left(), before)

    def test_a_bank_that_cannot_be_written(self):
        for path in (self.bank, self.bank / "segments"):
            path.chmod(0o555)
            self.addCleanup(path.chmod, 0o755)
        self.check_ok(self.memory("export", self.bank, self.archive))
        self.check_ok(self.memory("import", self.archive, self.copy))
        self.verifies(self.copy)


if __name__ == "__main__":
    unittest.main()
