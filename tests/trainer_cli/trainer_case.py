"""What the tests of the program msa-train share: running it, samples, a tiny recipe.

Environment: MSA_TRAIN_BINARY is the program to test, MSA_BINARY the program msa, MSA_TESTDATA the
folder testdata/ of the checkout.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

BINARY = os.environ.get("MSA_TRAIN_BINARY", "msa-train")
ENGINE = os.environ.get("MSA_BINARY", "msa")
TESTDATA = Path(os.environ.get("MSA_TESTDATA", Path(__file__).resolve().parents[2] / "testdata"))
TIMEOUT_S = 400

NAMES = "Ada Bo Cy Dee Eli Fay Gus Hal Ivy Jo Kit Lou Max Ned Ora Pam".split()


def default_signals():
    """In the child: Ctrl-C works even where the tests run as a shell's background job."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def environment():
    """The environment of a test: nothing of the user's own settings, and one thread."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("MSA_")},
            "TERM": "dumb", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}


def start(*arguments, **options):
    options.setdefault("preexec_fn", default_signals)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([BINARY, *map(str, arguments)], env=environment(), text=True, **options)


def run(*arguments, binary=BINARY, preexec_fn=default_signals, cwd=None):
    """Runs the program to its end. The result has .returncode, .stdout and .stderr (text)."""
    return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, cwd=cwd,
                          env=environment(), timeout=TIMEOUT_S, preexec_fn=preexec_fn)


def wait_for(what, seconds=120.0):
    """Polls until `what()` is true."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError("waited %d s in vain" % seconds)
        time.sleep(0.01)


def byte_tokenizer():
    """A tokenizer.json with one token per byte and the special tokens of the real one."""
    full = json.loads((TESTDATA / "qwen3-tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = sorted(full["model"]["vocab"].items(), key=lambda item: item[1])
    full["model"]["vocab"] = dict(tokens[:256])
    full["model"]["merges"] = []
    for i, token in enumerate(full["added_tokens"]):
        token["id"] = 256 + i
    return json.dumps(full)


def samples(count, documents=4, seed=5):
    """Questions about codes of people, one document each."""
    draw = random.Random(seed)
    for _ in range(count):
        names = draw.sample(NAMES, documents)
        codes = [str(draw.randrange(100, 999)) for _ in names]
        asked = draw.randrange(documents)
        yield {"documents": [{"text": "The code of %s is %s." % pair} for pair in zip(names, codes)],
               "question": "What is the code of %s?" % names[asked], "relevant": [asked],
               "answer": codes[asked]}


class TrainerCase(unittest.TestCase):
    """A test case with an empty folder, samples, a tokenizer and a recipe of a tiny model."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="msa_train_e2e_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.out = self.folder / "out"

    def write(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content),
                        encoding="utf-8")
        return path

    def write_samples(self, name="samples.jsonl", count=60):
        return self.write(name, "".join(json.dumps(s) + "\n" for s in samples(count)))

    def recipe(self, **changes):
        """The tiny recipe: two phases, a few seconds. `changes` replace its top-level keys."""
        self.write_samples()
        self.write("tokenizer.json", byte_tokenizer())
        recipe = {
            "model": {"layers": 2, "hidden": 32, "feed_forward": 32, "query_heads": 2,
                      "kv_heads": 1, "head_dim": 16, "router_layers": [1], "chunk_size": 16,
                      "top_k": 2, "rope_theta": 10000, "max_positions": 4096},
            "tokenizer": "tokenizer.json", "log_every": 2, "checkpoint_every": {"steps": 3},
            "evaluation": {"every": 5, "batches": 1, "data": [{"file": "samples.jsonl"}],
                           "batch": {"documents": 4, "tokens": 1000}},
            "defaults": {"batch": {"documents": 4, "tokens": 1000},
                         "data": [{"file": "samples.jsonl"}]},
            "phases": [
                {"name": "router", "steps": 6, "learning_rate": 2e-3, "lm_weight": 0.1,
                 "schedule": {"warmup_steps": 3}, "include_positives": True, "top_k": 1},
                {"name": "main", "tokens": 8000, "continue": True, "learning_rate": 1e-3,
                 "accumulate": 2, "top_k": [1, 2]}],
            **changes}
        return self.write("recipe.json", recipe)

    def check_ok(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse([l for l in done.stderr.splitlines() if l.startswith("msa-train: ")])
        return done

    def check_error(self, done, code, *mentions):
        """Exit code `code` and exactly one error line, which mentions what and where."""
        self.assertEqual(done.returncode, code, done.stderr)
        errors = [l for l in done.stderr.splitlines() if l.startswith("msa-train: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        for mention in mentions:
            self.assertIn(str(mention), errors[0])
        for line in done.stderr.splitlines():
            self.assertRegex(line, r"^(msa-train|note|warning): ")
        return errors[0]

    def checkpoints(self, out=None):
        return sorted(p.name for p in ((out or self.out) / "state").glob("step-*"))

    def weights(self, out=None):
        """The bytes of the newest checkpoint's tensors."""
        out = out or self.out
        return (out / "state" / self.checkpoints(out)[-1] / "tensors.safetensors").read_bytes()

    def log(self, out=None):
        return [json.loads(line) for line in ((out or self.out) / "log.jsonl").open()]
