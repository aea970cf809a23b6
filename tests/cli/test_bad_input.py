"""Documents, questions and places to write to that are bad in every way we know."""

import json
import os
import resource
import subprocess
import unittest

from msa_case import WithModel, default_signals, run


class BadDocuments(WithModel):

    def setUp(self):
        super().setUp()
        self.state = self.small_bank()

    def test_paths(self):
        missing = self.folder / "missing.txt"
        self.check_error(self.encode(missing), 3, missing)
        picture = self.write("a.png", b"\x89PNG")
        done = self.encode(picture)
        self.assertIn(done.returncode, (2, 4))
        self.check_error(done, done.returncode, picture)
        self.check_error(self.encode(), 2, "PATH")
        self.assertEqual(self.bank_state(), self.state)

    def test_invalid_utf8_is_replaced_and_counted(self):
        path = self.write("bad.txt", b"caf\xe9 and \xff\xfe more")
        report = self.encode_json(path)
        self.assertEqual(report["documents"], 1)
        self.assertEqual(report["input"]["replaced_utf8"], 3)
        shown = json.loads(run("memory", "show", 5, "--bank", self.bank, "--json").stdout)
        self.assertEqual(shown["text"], "caf\ufffd and \ufffd\ufffd more")

    def test_empty_documents_are_left_out_and_counted(self):
        paths = [self.write("e.jsonl", '{"id":"a","text":""}\n{"id":"b","text":" \\n "}\n'
                                       '{"id":"c","text":"x"}\n'), self.write("empty.txt", "")]
        report = self.encode_json(*paths)
        self.assertEqual(report["documents"], 1)
        self.assertEqual(report["input"]["empty"], 3)
        report = self.encode_json(self.folder / "empty.txt")
        self.assertEqual((report["passages"], report["input"]["empty"]), (0, 1))

    def test_bad_records_are_reported_and_the_rest_goes_on(self):
        path = self.write("mixed.jsonl", '{"id":"good","text":"fine"}\n{broken\n[]\n{"id":"x"}\n'
                                         '{"id":"y","text":7}\n{"id":"last","text":"fine too"}\n')
        done = self.check_ok(self.encode(path, options=["--json"]))
        report = json.loads(done.stdout)
        self.assertEqual(report["documents"], 2)
        self.assertEqual(report["input"]["bad"], 4)
        warnings = [l for l in done.stderr.splitlines() if l.startswith("warning: ")]
        self.assertEqual(len(warnings), 4)
        for number, warning in zip((2, 3, 4, 5), warnings):
            self.assertIn("mixed.jsonl:%d" % number, warning)
        self.check_error(self.encode(path, options=["--strict"]), 7, "4 documents")
        self.check_verifies()

    def test_only_bad_records(self):
        path = self.write("bad.jsonl", "{broken\n")
        self.check_error(self.encode(path), 7, "1 document")
        self.assertEqual(self.bank_state(), self.state)

    def test_a_line_of_fifty_megabytes(self):
        path = self.folder / "huge.jsonl"
        with open(path, "wb") as file:
            file.write(b'{"id":"before","text":"x"}\n{"id":"huge","text":"')
            for _ in range(50):
                file.write(b"word " * 200_000)
            file.write(b'"}\n{"id":"after","text":"y"}\n')
        done = self.check_ok(self.encode(path, options=["--json"]))
        report = json.loads(done.stdout)
        self.assertEqual(report["documents"], 2)
        self.assertEqual(report["input"]["bad"], 1)
        self.assertIn("huge.jsonl:2", done.stderr)
        self.assertLessEqual({"before", "after"}, {d["id"] for d in self.documents()})

    def test_damaged_compressed_files(self):
        for name, content in (("a.txt.gz", b"\x1f\x8b\x08\x00garbage"),
                              ("b.txt.zst", b"\x28\xb5\x2f\xfdgarbage")):
            path = self.write(name, content)
            done = self.encode(path)
            self.assertIn(done.returncode, (4, 7))
            self.check_error(done, done.returncode)
            self.assertIn(name, done.stderr)
        self.assertEqual(self.bank_state(), self.state)

    def test_empty_questions(self):
        for command in ("ask", "route"):
            self.check_error(self.with_bank(command, ""), 2, "question")
            self.check_error(self.with_bank(command, "-q", " \n "), 2, "question")
            self.check_error(self.with_bank(command, "-", stdin=b"\n"), 2, "question")
            self.check_error(self.with_bank(command), 2, "no question given")

    def test_questions_that_are_no_text(self):
        done = self.check_ok(self.with_bank("route", "-", "--json", stdin=b"caf\xe9 \xff?"))
        json.loads(done.stdout)

    def test_unknown_options_leave_everything_alone(self):
        path = self.write("new.txt", "new")
        self.check_error(self.encode(path, options=["--passage-token", 64]), 2,
                         "'--passage-token'", "'--passage-tokens'")
        self.check_error(self.encode(path, options=["--passage-tokens", 0]), 2,
                         "--passage-tokens", "'0'")
        self.assertEqual(self.bank_state(), self.state)


class NowhereToWrite(WithModel):

    def documents_to_encode(self, count):
        return self.write_jsonl("many.jsonl", [{"id": "d%d" % i, "text": "word%d " % i * 20}
                                               for i in range(count)])

    def check_full(self, done):
        self.check_error(done, 5, self.bank)
        self.assertEqual(self.bank_state(), self.state)
        self.check_verifies()

    def test_a_bank_below_a_file(self):
        self.write("file", "x")
        self.bank = self.folder / "file" / "bank"
        done = self.encode(self.write("a.txt", "text"))
        self.assertIn(done.returncode, (3, 5))
        self.check_error(done, done.returncode, self.folder / "file")

    def test_a_limit_on_file_sizes(self):
        self.state = self.small_bank()
        path = self.documents_to_encode(400)

        def limit():
            default_signals()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        self.check_full(run("encode", path, "--bank", self.bank, "--model", self.model,
                            preexec_fn=limit))
        # With room again, the same command does the rest.
        self.assertEqual(self.encode_json(path)["documents"], 400)

    def mount(self, *options):
        place = self.folder / "mounted"
        place.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)],
                              capture_output=True) if os.geteuid() == 0 else None
        if done is None or done.returncode != 0:
            self.skipTest("file systems cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(place)], capture_output=True)
        return place

    def test_a_full_disk(self):
        place = self.mount("size=1m")
        self.bank = place / "bank"
        self.state = self.small_bank()
        (place / "filler").write_bytes(b"x" * 600_000)
        self.check_full(self.encode(self.documents_to_encode(400)))
        (place / "filler").unlink()
        self.assertGreater(self.encode_json(self.write("a.txt", "text"))["documents"], 0)

    def test_a_read_only_disk(self):
        place = self.mount("size=8m")
        self.bank = place / "bank"
        self.state = self.small_bank()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        self.check_error(self.encode(self.write("a.txt", "text")), 5, self.bank)


if __name__ == "__main__":
    unittest.main()
