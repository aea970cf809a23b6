"""Training, being stopped and killed, going on, and a model that the engine opens."""

import json
import random
import signal
import unittest

from trainer_case import ENGINE, TrainerCase, run, start, wait_for


class Run(TrainerCase):

    def test_trains_logs_and_writes_a_model_that_the_engine_opens(self):
        done = self.check_ok(run("run", self.recipe(), "--out", self.out, "--json"))
        outcome = json.loads(done.stdout)
        self.assertFalse(outcome["stopped"])
        log = self.log()
        steps = [r for r in log if "eval" not in r]
        self.assertEqual(steps[-1]["step"], outcome["steps"])
        self.assertEqual(steps[-1]["tokens"], outcome["tokens"])
        self.assertGreaterEqual(outcome["tokens"], 8000)
        self.assertEqual({r["phase"] for r in log}, {"router", "main"})
        self.assertEqual([r["step"] for r in log if "eval" in r],
                         list(range(5, outcome["steps"] + 1, 5)))
        for key in ("loss", "lm_loss", "aux_loss", "number_loss", "answer_loss", "number_accuracy",
                    "answer_accuracy", "numbers_right", "answers_right",
                    "recall_at_1", "recall_at_5", "recall_at_k",
                    "learning_rate", "gradient_norm", "tokens_per_second", "resident_bytes",
                    "seconds", "skipped_steps"):
            self.assertIn(key, steps[0])
        self.assertLess(steps[-1]["lm_loss"], steps[0]["lm_loss"])
        self.assertEqual(len(self.checkpoints()), 2)

        model = self.out / "model"
        shown = run("model", "info", model, "--json", binary=ENGINE)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        documents = self.folder / "notes.txt"
        documents.write_text("The code of Ada is 123.\n")
        bank = self.folder / "bank"
        done = run("encode", documents, "--bank", bank, "--model", model, binary=ENGINE)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_same_recipe_gives_the_same_weights(self):
        recipe = self.recipe()
        other = self.folder / "other"
        self.check_ok(run("run", recipe, "--out", self.out))
        self.check_ok(run("run", recipe, "--out", other))
        self.assertEqual(self.weights(), self.weights(other))

    def test_a_killed_run_goes_on_bit_for_bit(self):
        recipe = self.recipe()
        whole = self.folder / "whole"
        self.check_ok(run("run", recipe, "--out", whole))
        draw = random.Random(1)
        for attempt in range(3):
            out = self.folder / ("killed%d" % attempt)
            kills = 0
            while kills < 3:
                process = start("run", recipe, "--out", out, "--resume")
                wanted = len(self.checkpoints(out)) and self.checkpoints(out)[-1]
                wait_for(lambda: process.poll() is not None or
                         (self.checkpoints(out) or [""])[-1] > (wanted or ""))
                # Somewhere in the steps and the saving that follow.
                wait_for(lambda e=[draw.randrange(20)]: e.__setitem__(0, e[0] - 1) or e[0] < 0)
                process.kill()
                process.communicate()
                if process.returncode == 0:
                    break
                kills += 1
            self.check_ok(run("run", recipe, "--out", out, "--resume"))
            self.assertEqual(self.weights(out), self.weights(whole))
            self.assertEqual((out / "model" / "model.safetensors").read_bytes(),
                             (whole / "model" / "model.safetensors").read_bytes())
            self.assertEqual(self.log(out)[-1]["lm_loss"], self.log(whole)[-1]["lm_loss"])
            steps = [r["step"] for r in self.log(out) if "eval" not in r]
            self.assertEqual(steps, sorted(set(steps)))

    def test_ctrl_c_saves_and_leaves(self):
        recipe = self.recipe(checkpoint_every={"minutes": 100})
        whole = self.folder / "whole"
        self.check_ok(run("run", recipe, "--out", whole))
        for number in (signal.SIGINT, signal.SIGTERM):
            out = self.folder / ("stopped%d" % number)
            process = start("run", recipe, "--out", out)
            wait_for(lambda: (out / "log.jsonl").exists() and (out / "log.jsonl").stat().st_size)
            process.send_signal(number)
            stdout, stderr = process.communicate()
            self.assertEqual(process.returncode, 130, stderr)
            self.assertIn("stopped and saved", stdout)
            self.assertEqual(len(self.checkpoints(out)), 1)
            self.assertTrue((out / "model" / "config.json").exists())
            self.check_ok(run("run", recipe, "--out", out, "--resume"))
            self.assertEqual(self.weights(out), self.weights(whole))

    def test_init_starts_from_a_checkpoint(self):
        recipe = self.recipe()
        self.check_ok(run("run", recipe, "--out", self.out))
        last = self.log()[-1]["lm_loss"]
        tuned = self.folder / "tuned"
        self.check_ok(run("run", recipe, "--out", tuned, "--init", self.out / "model"))
        self.assertLess(self.log(tuned)[0]["lm_loss"], (last + self.log()[0]["lm_loss"]) / 2)
        content = json.loads(recipe.read_text())
        content["model"] = {"init": "out/model"}
        third = self.folder / "third"
        self.check_ok(run("run", self.write("init.json", content), "--out", third))
        self.assertEqual(self.weights(third), self.weights(tuned))

    def test_activations_that_are_recomputed_change_nothing(self):
        recipe = self.recipe(dtype="f32")
        self.check_ok(run("run", recipe, "--out", self.out))
        content = json.loads(recipe.read_text())
        content["defaults"]["checkpoint_activations"] = True
        saving = self.folder / "saving"
        self.check_ok(run("run", self.write("saving.json", content), "--out", saving))
        self.assertAlmostEqual(self.log()[-1]["loss"], self.log(saving)[-1]["loss"], places=4)


if __name__ == "__main__":
    unittest.main()
