"""msa plan, and that banks are as large as it says."""

import json
import unittest

from msa_case import Folder, WithModel, environment, run


class Plan(Folder):

    def plan(self, *arguments, model="msa-4b", tokens="100M"):
        return run("plan", "--model", model, "--tokens", tokens, *arguments)

    def plan_json(self, *arguments, **options):
        return json.loads(self.check_ok(self.plan("--json", *arguments, **options)).stdout)

    def test_the_published_model_at_its_published_size(self):
        plan = self.plan_json()
        self.assertEqual(plan["memory"]["chunks"], 1_562_500)
        self.assertEqual(plan["memory"]["chunk_bytes"], 108 * 1024)
        for part in ("keys", "pooled_k", "pooled_v"):
            self.assertEqual(plan["bytes"][part], 57_600_000_000, part)
        self.assertEqual(plan["bytes"]["vectors"], 172_800_000_000)
        words = self.check_ok(self.plan()).stdout
        self.assertRegex(words, r"routing keys, bf16 +57,600,000,000 +57\.6 GB +53\.6 GiB")
        self.assertRegex(words, r"vectors in all +172,800,000,000")

    def test_says_what_would_fit_a_small_machine(self):
        fits = {fit["part"]: fit for fit in self.plan_json()["fits"]}
        gpu = {o["format"]: o["fits"] for o in fits["keys_on_gpu"]["options"]}
        self.assertEqual(fits["keys_on_gpu"]["budget"], 24 << 30)
        self.assertEqual(gpu, {"bf16": False, "int8": False, "int4": True})
        ram = {o["format"]: o["fits"] for o in fits["keys_in_ram"]["options"]}
        self.assertEqual(fits["keys_in_ram"]["budget"], 64 << 30)
        self.assertEqual(ram, {"bf16": False, "int8": True, "int4": True})
        # And so it does.
        plan = self.plan_json("--keys", "int4", "--gpu", "24G", "--ram", "64G")
        self.assertEqual(plan["placement"]["keys"], "gpu")
        # Compressed keys are derived from what a bank holds; content is written as int8.
        self.assertTrue(plan["memory"]["writable"])
        self.assertTrue(self.plan_json("--content", "int8")["memory"]["writable"])
        self.assertFalse(self.plan_json("--keys", "f32", "--content", "bf16")["memory"]["writable"])

    def test_compressed_keys_are_never_on_disk(self):
        plan = self.plan_json("--keys", "int8", "--ram", "32G")
        self.assertIsNone(plan["placement"]["keys"])
        self.assertIsNone(plan["routing"]["seconds"])
        self.assertEqual(self.plan_json("--ram", "32G")["placement"]["keys"], "disk")

    def test_no_bank_and_no_weights_are_needed(self):
        before = sorted(self.folder.iterdir())
        env = environment(MSA_MODEL="MSA-4B")
        done = self.check_ok(run("plan", "--tokens", "1M", env=env))
        self.assertIn("MSA-4B", done.stdout)
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def test_bad_values(self):
        self.check_error(self.plan(tokens="1e8"), 2, "--tokens", "1e8")
        self.check_error(self.plan(tokens="0"), 2, "--tokens", "zero")
        self.check_error(self.plan(tokens="18446744073709551615T"), 2, "--tokens", "too large")
        self.check_error(self.plan("--ram", "64 GB"), 2, "--ram", "' GB'")
        self.check_error(self.plan("--documents", "101M"), 2, "101000000")
        self.check_error(self.plan(model=self.folder), 3, self.folder, "config.json")
        self.check_error(self.plan(model="msa-5b"), 3, "msa-5b", "msa-4b")
        self.write("model/config.json", "{")
        self.check_error(self.plan(model=self.folder / "model"), 4, "config.json")


class BanksAreAsPlanned(WithModel):

    def test_an_encoded_bank(self):
        self.check_bank_is_as_planned()

    def test_an_encoded_bank_of_int8(self):
        self.check_bank_is_as_planned("--content", "int8")

    def check_bank_is_as_planned(self, *content):
        documents = [{"id": "doc-%d" % i, "text": "The bridge number %d. " % i * (1 + 3 * i)}
                     for i in range(30)]
        self.encode_json(self.write_jsonl("documents.jsonl", documents), options=content)
        done = self.check_ok(run("memory", "info", "--bank", self.bank, "--json"))
        bank = json.loads(done.stdout)
        # Of a copy of the config alone.
        self.write("model/config.json", (self.model / "config.json").read_bytes())
        plan = json.loads(self.check_ok(run(
            "plan", "--model", self.folder / "model", "--tokens", bank["tokens"], "--documents",
            bank["documents"], "--bytes-per-token", bank["text_bytes"] / bank["tokens"],
            *content, "--json")).stdout)
        memory, sizes = plan["memory"], plan["bytes"]
        self.assertTrue(memory["fewest_chunks"] <= bank["chunks"] <= memory["most_chunks"])
        self.assertLess(abs(memory["chunks"] - bank["chunks"]), 0.1 * bank["chunks"])
        chunk = memory["chunk_bytes"]
        self.assertEqual(bank["key_bytes"] + bank["content_bytes"], chunk * bank["chunks"])
        self.assertEqual(sizes["pooled_k"] + sizes["pooled_v"],
                         bank["content_bytes"] // bank["chunks"] * memory["chunks"])
        self.assertEqual(sizes["vectors"], chunk * memory["chunks"])
        segments = sum(p.stat().st_size for p in (self.bank / "segments").iterdir())
        self.assertLessEqual(segments - chunk * bank["chunks"], sizes["padding"])
        info = json.loads(self.check_ok(run("model", "info", self.model, "--json")).stdout)
        self.assertEqual(plan["model"]["parameters"], info["parameters"])
        if not content:
            self.assertEqual(info["chunk_bytes"], chunk)


if __name__ == "__main__":
    unittest.main()
