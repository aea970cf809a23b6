"""msa encode: every kind of input, progress, stopping and going on."""

import gzip
import json
import os
import pty
import signal
import subprocess
import time
import unittest

from msa_case import (BINARY, TIMEOUT_S, WithModel, default_signals, environment, run, start,
                      zstd_frame)

LONG_JOB_DOCUMENTS = 1200


class Inputs(WithModel):

    def test_text_and_markdown(self):
        self.write("notes/a.txt", "Plain text about bridges.")
        self.write("notes/sub/b.md", "# The Title\n\nText about rivers.\n")
        self.write("notes/picture.png", b"\x89PNG")
        report = self.encode_json(self.folder / "notes")
        self.assertEqual(report["documents"], 2)
        self.assertEqual(report["problems"], [])
        titles = {d["title"] for d in self.documents()}
        self.assertIn("The Title", titles)
        self.assertTrue(any(d["source"].endswith("a.txt") for d in self.documents()))
        self.check_verifies()

    def test_json_kinds_and_compression(self):
        record = {"id": "j1", "title": "T", "text": "One record."}
        lines = "".join(json.dumps({"id": "%s" % i, "text": "Text %s." % i}) + "\n"
                        for i in ("l1", "l2")).encode()
        paths = [
            self.write("one.json", json.dumps(record)),
            self.write("many.json", json.dumps([{"id": "a1", "text": "x y"},
                                                {"id": "a2", "text": "z"}])),
            self.write("lines.jsonl", lines),
            self.write("packed.jsonl.gz", gzip.compress(lines.replace(b'"l', b'"g'))),
            self.write("packed.jsonl.zst", zstd_frame(lines.replace(b'"l', b'"z'))),
            self.write("text.txt.gz", gzip.compress(b"Compressed plain text.")),
        ]
        report = self.encode_json(*paths)
        self.assertEqual(report["documents"], 10, report)
        self.assertEqual(report["input"]["files"], 6)
        # The packed files hold the same texts under other ids.
        self.assertEqual((report["passages"], report["duplicates"]), (6, 4))
        ids = {i for d in self.documents() for i in [d["id"], *d["aliases"]]}
        self.assertLessEqual({"j1", "a1", "a2", "l1", "l2", "g1", "g2", "z1", "z2"}, ids)
        self.check_verifies()

    def test_content_as_int8(self):
        files = self.write_jsonl("a.jsonl", [
            {"id": "a%d" % i, "text": "The bridge number %d. " % i * 40} for i in range(8)])
        more = self.write_jsonl("b.jsonl", [{"id": "b", "text": "Another bridge. " * 40}])
        report = self.encode_json(files, options=["--content", "int8"])
        bank = report["bank"]
        self.assertEqual((bank["dtype"], bank["content"]), ("BF16", "int8"))
        # A scale of 4 bytes for each head, and a byte for each of its values.
        dim = bank["head_dim"]
        self.assertEqual(bank["content_bytes"] * dim, bank["key_bytes"] * (4 + dim))
        # It stays so, whatever is done, and another wish is refused before anything is encoded.
        self.encode_json(more)
        error = self.check_error(self.encode(more, options=["--content", "bf16"]), 4, self.bank)
        self.assertIn("as int8, not as BF16", error)
        self.check_ok(run("memory", "remove", "--id", "a3", "--bank", self.bank))
        self.check_ok(run("memory", "compact", "--bank", self.bank))
        self.check_verifies()
        info = json.loads(self.check_ok(run("memory", "info", "--bank", self.bank, "--json")).stdout)
        self.assertEqual((info["content"], info["documents"]), ("int8", 8))
        answer = json.loads(self.check_ok(
            self.with_bank("ask", "Which bridge?", "--max-tokens", "4", "--json")).stdout)
        self.assertEqual(len(answer["routing"]["layers"]), len(info["router_layers"]))

    def test_content_of_another_precision_is_refused(self):
        self.write("a.txt", "Text.")
        done = self.encode(self.folder / "a.txt", options=["--content", "f32"])
        self.check_error(done, 4, "F32", "computes in BF16", "int8")
        self.assertFalse(self.bank.exists())

    def test_standard_input(self):
        report = self.encode_json("-", stdin=b"Text from a pipe.")
        self.assertEqual(report["documents"], 1)
        report = self.encode_json("-", stdin=b'{"id":"p1","text":"a"}\n{"id":"p2","text":"b"}\n')
        self.assertEqual(report["documents"], 2)
        self.assertLessEqual({"p1", "p2"}, {d["id"] for d in self.documents()})

    def test_encoding_again_changes_nothing(self):
        state = self.small_bank()
        report = self.encode_json(self.folder / "small.jsonl")
        self.assertEqual(report["passages"], 0)
        self.assertEqual(report["already_there"], 5)
        self.assertEqual(self.bank_state(), state)

    def test_long_texts_become_passages(self):
        text = "\n\n".join("Paragraph %d speaks of bridge number %d." % (i, i) for i in range(200))
        report = self.encode_json(self.write("long.txt", text), options=["--passage-tokens", 64])
        self.assertEqual(report["documents"], 1)
        self.assertGreater(report["passages"], 10)
        documents = self.documents()
        self.assertEqual(len(documents), report["passages"])
        for d in documents:
            self.assertLessEqual(d["char_end"], len(text))
            shown = json.loads(run("memory", "show", d["number"], "--bank", self.bank,
                                   "--json").stdout)
            self.assertEqual(shown["text"].strip(),
                             text[d["char_begin"]:d["char_end"]].strip())

    def test_report_in_words(self):
        path = self.write_jsonl("d.jsonl", [{"id": "1", "text": "word"}, {"id": "2", "text": ""}])
        done = self.check_ok(self.encode(path))
        self.assertRegex(done.stdout, r"^encoded 1 passage \(\d+ tokens, 1 chunk\) of \d documents? in ")
        self.assertIn("left out: 1 empty, 0 unreadable, 0 rejected\n", done.stdout)
        self.assertRegex(done.stdout, r"bank .*: 1 document, 1 chunk, .* on disk\n$")
        self.assertIn("note: ", done.stderr)
        self.assertIn("random", done.stderr)


class Progress(WithModel):

    def test_plain_lines_where_there_is_no_terminal(self):
        path = self.write("a.txt", "Some text.")
        done = self.check_ok(self.encode(path))
        self.assertRegex(done.stderr, r"(?m)^encoding: .*tokens/s")
        self.assertNotIn("\r", done.stderr)
        self.assertNotIn("\x1b", done.stderr + done.stdout)

    def encode_on_terminal(self, env):
        path = self.write_jsonl("d.jsonl", [{"id": str(i), "text": "word%d " % i * 50}
                                            for i in range(100)])
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [BINARY, "encode", str(path), "-b", str(self.bank), "-m", str(self.model)],
            stdin=slave, stdout=slave, stderr=slave, env=env, preexec_fn=default_signals)
        os.close(slave)
        output = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            output += piece
        os.close(master)
        self.assertEqual(process.wait(TIMEOUT_S), 0, output)
        return output.decode("utf-8")

    def test_bar_and_colours_on_a_terminal(self):
        output = self.encode_on_terminal(environment())
        self.assertIn("\r\x1b[K", output)
        self.assertRegex(output, r"encoding [█░]+ +\d+%")
        self.assertIn("\x1b[36mnote: ", output)

    def test_no_color_and_dumb_terminals(self):
        self.assertNotIn("\x1b[3", self.encode_on_terminal(environment(NO_COLOR="1")))
        self.bank = self.folder / "another"
        self.assertNotIn("\x1b", self.encode_on_terminal(environment(TERM="dumb")))


class Interrupted(WithModel):

    def start_long_job(self, *options):
        self.path = self.write_jsonl("long.jsonl", [
            {"id": "d%d" % i, "text": ("word%d " % i) * 30} for i in range(LONG_JOB_DOCUMENTS)])
        process = start("encode", self.path, "-b", self.bank, "-m", self.model, "--segment-mib", 1,
                        "--threads", 1, *options)
        self.addCleanup(process.kill)
        # The first progress line: documents are being encoded.
        for line in process.stderr:
            if line.startswith(b"encoding:"):
                break
        else:
            self.fail("ended before it began: %s" % process.communicate()[0])
        return process

    def check_complete(self):
        report = self.encode_json(self.path)
        self.assertGreater(report["passages"], 0)
        self.assertEqual(sorted(d["id"] for d in self.documents()),
                         sorted("d%d" % i for i in range(LONG_JOB_DOCUMENTS)))
        self.check_verifies()
        return report

    def test_stopped_and_resumed(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                self.bank = self.folder / ("bank%d" % number)
                process = self.start_long_job("--json")
                time.sleep(0.2)
                process.send_signal(number)
                stdout, stderr = process.communicate(timeout=TIMEOUT_S)
                self.assertEqual(process.returncode, 130, stderr)
                errors = [l for l in stderr.decode().splitlines() if l.startswith("msa: ")]
                self.assertEqual(len(errors), 1)
                self.assertIn("run the same command again", errors[0])
                report = json.loads(stdout)
                self.assertTrue(report["stopped"])
                self.assertLess(report["passages"], LONG_JOB_DOCUMENTS)
                # What was said to be committed is there, and intact.
                self.assertEqual(len(self.documents()), report["passages"])
                self.check_verifies()
                again = self.check_complete()
                self.assertEqual(again["already_there"], report["passages"])

    def test_killed_and_resumed(self):
        process = self.start_long_job()
        time.sleep(0.2)
        process.kill()
        process.communicate()
        self.check_verifies()
        self.check_complete()

    def test_one_writer_at_a_time(self):
        process = self.start_long_job()
        error = self.check_error(self.encode(self.write("a.txt", "text")), 6, self.bank)
        self.assertIn("bank", error)
        # Readers are welcome meanwhile.
        self.check_ok(run("memory", "info", "--bank", self.bank))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130)


if __name__ == "__main__":
    unittest.main()
