"""Recipes, samples, checkpoints and disks that are bad: a clear error, the last checkpoint intact."""

import json
import resource
import shutil
import unittest

from trainer_case import TrainerCase, default_signals, run, samples, start, wait_for


class BadInput(TrainerCase):

    def change(self, recipe, *path_and_value):
        content = json.loads(recipe.read_text())
        *path, last, value = path_and_value
        inner = content
        for key in path:
            inner = inner[key]
        inner[last] = value
        return self.write("changed.json", content)

    def test_recipes(self):
        recipe = self.recipe()
        for change, code, *mentions in (
                (("learning_rte", 1), 2, "learning_rte", "log_every"),
                (("phases", 1, "batch", {"tokes": 1}), 2, "phases[1].batch.tokes", "tokens"),
                (("phases", 0, "steps", "many"), 2, "phases[0].steps", '"many"'),
                (("tokenizer", "missing.json"), 3, "missing.json"),
                (("model", {"init": "nowhere"}), 3, "nowhere"),
                (("model", "vocabulary", 100), 2, "model.vocabulary", "100"),
                (("phases", 0, "data", [{"task": "nedle"}]), 2, "nedle", "needle"),
                (("phases", 0, "data", [{"task": "needle", "settings": {"hay": 1}}]), 2, "hay"),
                (("phases", 0, "data", [{"file": "missing.jsonl"}]), 3, "missing.jsonl")):
            with self.subTest(change=change):
                changed = self.change(recipe, *change)
                self.check_error(run("run", changed, "--out", self.out), code, *mentions)
                self.assertFalse(self.checkpoints())
        self.check_error(run("run", self.folder / "none.json", "--out", self.out), 3, "none.json")
        self.check_error(run("run", self.write("r.json", "{\n]"), "--out", self.out), 4,
                         "r.json:2:1")
        self.check_error(run("run", recipe), 2, "--out")
        self.check_error(run("run", recipe, "--out", self.out, "--device", "tpu"), 2, "tpu", "cuda")

    def test_a_bad_line_is_named_before_anything_is_trained(self):
        recipe = self.recipe()
        good = [json.dumps(s) for s in samples(5)]
        missing = next(samples(1))
        missing["relevant"] = [17]
        for bad, mention in (("{\"documents\": [", ""), (json.dumps(missing), "17"), ("[]", "")):
            self.write("samples.jsonl", "\n".join(good + [bad] + good) + "\n")
            self.check_error(run("run", recipe, "--out", self.out), 4, "samples.jsonl:6", mention)
            self.assertFalse(self.checkpoints())

    def test_samples_that_never_fit(self):
        recipe = self.recipe(evaluation=None)
        changed = self.change(recipe, "defaults", "batch", {"documents": 4, "tokens": 64})
        self.check_error(run("run", changed, "--out", self.out), 2, "64", "batch.tokens")

    def test_a_checkpoint_of_another_shape(self):
        recipe = self.recipe()
        self.check_ok(run("run", recipe, "--out", self.out))
        wider = self.change(recipe, "model", "hidden", 48)
        other = self.folder / "other"
        self.check_error(run("run", wider, "--out", other, "--init", self.out / "model"), 4,
                         "hidden", "32", "48")
        self.check_error(run("run", wider, "--out", self.out, "--resume"), 4, "model shape")
        reseeded = self.change(recipe, "seed", 9)
        self.check_error(run("run", reseeded, "--out", self.out, "--resume"), 4, "seed")
        self.check_error(run("run", recipe, "--out", self.out), 2, "--resume")

    def test_a_damaged_checkpoint(self):
        recipe = self.recipe()
        self.check_ok(run("run", recipe, "--out", self.out))
        whole = self.weights()
        newest = self.out / "state" / self.checkpoints()[-1]
        tensors = newest / "tensors.safetensors"
        content = bytearray(tensors.read_bytes())
        content[-3] ^= 0x10
        tensors.write_bytes(content)
        self.check_error(run("run", recipe, "--out", self.out, "--resume"), 4, newest, "remove")
        shutil.rmtree(newest)
        self.check_ok(run("run", recipe, "--out", self.out, "--resume"))
        self.assertEqual(self.weights(), whole)

    def test_a_full_disk_leaves_the_last_checkpoint(self):
        recipe = self.recipe()
        whole = self.folder / "whole"
        self.check_ok(run("run", recipe, "--out", whole))
        size = (whole / "state" / self.checkpoints(whole)[-1] / "tensors.safetensors").stat().st_size
        process = start("run", recipe, "--out", self.out)
        wait_for(lambda: self.checkpoints())
        process.kill()
        process.communicate()
        before = self.checkpoints()

        def small_files():
            default_signals()
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

        done = run("run", recipe, "--out", self.out, "--resume", preexec_fn=small_files)
        self.check_error(done, 5, self.out)
        self.assertEqual(self.checkpoints(), before)
        self.assertFalse(list(self.folder.rglob("unfinished")))
        self.assertFalse(list(self.folder.rglob("*.partial")))
        self.check_ok(run("run", recipe, "--out", self.out, "--resume"))
        self.assertEqual(self.weights(), self.weights(whole))

    def test_two_runs_into_one_folder(self):
        recipe = self.recipe()
        process = start("run", recipe, "--out", self.out)
        wait_for(lambda: (self.out / "log.jsonl").exists())
        self.check_error(run("run", recipe, "--out", self.out, "--resume"), 6, self.out)
        process.kill()
        process.communicate()

    def test_the_command_line(self):
        self.assertEqual(run("--help").returncode, 0)
        for arguments in ((), ("rnu",), ("run", "--threads", "-1", "r", "--out", "o"),
                          ("make", "needle", "--out", "x", "--samples", "0")):
            self.assertEqual(run(*arguments).returncode, 2, arguments)


if __name__ == "__main__":
    unittest.main()
