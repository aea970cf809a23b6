"""msa memory: info, list, show, verify."""

import json
import shutil
import unittest

from msa_case import WithModel, run


class Memory(WithModel):

    def setUp(self):
        super().setUp()
        self.state = self.small_bank()

    def memory(self, *arguments):
        return run("memory", *arguments, "--bank", self.bank)

    def test_info(self):
        info = json.loads(self.check_ok(self.memory("info", "--json")).stdout)
        model = json.loads(run("model", "info", self.model, "--json").stdout)
        self.assertEqual(info["documents"], 5)
        self.assertEqual(info["chunks"], 5)
        self.assertGreater(info["tokens"], 5)
        self.assertEqual(info["router_layers"], model["router_layers"])
        self.assertEqual(info["chunk_size"], model["chunk_size"])
        self.assertEqual(info["key_bytes"] + info["content_bytes"],
                         info["chunks"] * model["chunk_bytes"])
        self.assertGreater(info["disk_bytes"], info["key_bytes"] + info["content_bytes"])
        words = self.check_ok(self.memory("info")).stdout
        self.assertRegex(words, r"(?m)^documents +5$")

    def test_list(self):
        documents = self.documents()
        self.assertEqual([d["number"] for d in documents], [0, 1, 2, 3, 4])
        self.assertEqual([d["id"] for d in documents], ["doc-%d" % i for i in range(5)])
        part = json.loads(self.memory("list", "--json", "--first", 2, "--limit", 2).stdout)
        self.assertEqual([d["number"] for d in part["documents"]], [2, 3])
        self.assertEqual(json.loads(self.memory("list", "--json", "--first", 99).stdout),
                         {"documents": []})
        self.assertEqual(len(self.memory("list").stdout.splitlines()), 6)

    def test_show(self):
        by_number = json.loads(self.check_ok(self.memory("show", 3, "--json")).stdout)
        by_id = json.loads(self.check_ok(self.memory("show", "--id", "doc-3", "--json")).stdout)
        self.assertEqual(by_number, by_id)
        self.assertEqual(by_number["text"], "The bridge number 3 was built in 1903.")
        self.assertEqual(by_number["title"], "Title 3")
        words = self.check_ok(self.memory("show", 3)).stdout
        self.assertTrue(words.endswith("\n\nThe bridge number 3 was built in 1903.\n"), words)
        self.check_error(self.memory("show", 5), 3, "5")
        self.check_error(self.memory("show", "--id", "nobody"), 3, "nobody")
        self.check_error(self.memory("show", "x"), 2, "'x' is not a whole number")

    def test_verify(self):
        done = self.check_ok(self.memory("verify"))
        self.assertRegex(done.stdout, r"^1 segment, 5 documents, .* read: no problem\n$")
        report = json.loads(self.check_ok(self.memory("verify", "--json")).stdout)
        self.assertEqual(report["problems"], [])
        self.assertTrue(report["ok"])

    def segment_files(self):
        return sorted(p for p in (self.bank / "segments").rglob("*") if p.is_file())

    def check_verify_finds(self, name):
        done = self.memory("verify", "--json")
        self.check_error(done, 4, self.bank)
        report = json.loads(done.stdout)
        self.assertFalse(report["ok"])
        self.assertTrue(any(name in p for p in report["problems"]), report)

    def test_a_flipped_byte_is_found(self):
        target = self.segment_files()[0]
        original = target.read_bytes()
        for position in (len(original) // 3, len(original) // 2, len(original) - 70):
            with self.subTest(position=position):
                damaged = bytearray(original)
                damaged[position] ^= 0x10
                target.write_bytes(damaged)
                self.check_verify_finds(target.name)
        target.write_bytes(original)
        self.check_verifies()
        self.assertEqual(self.bank_state(), self.state)

    def test_a_shortened_or_missing_segment_is_found(self):
        target = self.segment_files()[0]
        original = target.read_bytes()
        target.write_bytes(original[:len(original) // 2])
        # Too short is seen on opening already.
        self.assertEqual(self.memory("verify").returncode, 4)
        target.unlink()
        self.assertIn(self.memory("verify").returncode, (3, 4))

    def test_what_is_no_bank(self):
        self.bank = self.folder / "nothing"
        for command in (["info"], ["list"], ["show", 1], ["verify"]):
            self.check_error(self.memory(*command), 3, "nothing")
        self.bank.mkdir()
        self.check_error(self.memory("info"), 3, "nothing")
        self.assertEqual(list(self.bank.iterdir()), [], "looking at it must not make one")

    def test_a_catalogue_that_is_none(self):
        catalogue = self.bank / "catalogue.sqlite"
        shutil.copy(catalogue, self.folder / "kept")
        for extra in self.bank.glob("catalogue.sqlite-*"):
            extra.unlink()
        catalogue.write_bytes(b"this is no database" * 1000)
        self.check_error(self.memory("info"), 4, "catalogue")


if __name__ == "__main__":
    unittest.main()
