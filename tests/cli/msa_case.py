"""What the tests of the program msa share: running it, a tiny model, and files to damage.

Environment: MSA_BINARY is the program to test, MSA_TESTDATA the folder testdata/ of the checkout.
"""

import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

BINARY = os.environ.get("MSA_BINARY", "msa")
TESTDATA = Path(os.environ.get("MSA_TESTDATA", Path(__file__).resolve().parents[2] / "testdata"))
TOKENIZER = TESTDATA / "qwen3-tokenizer" / "tokenizer.json"

# Sanitizer builds are several times slower.
TIMEOUT_S = 240


def environment(**changes):
    """The environment of a test: nothing of the user's own settings."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MSA_", "XDG_"))}
    return {**env, "TERM": "xterm", "LC_ALL": "C.UTF-8", **changes}


def default_signals():
    """In the child: Ctrl-C works even where the tests run as a shell's background job."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def start(*arguments, **options):
    options.setdefault("env", environment())
    options.setdefault("preexec_fn", default_signals)
    return subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)


def run(*arguments, stdin=b"", env=None, preexec_fn=None):
    """Runs msa to its end. The result has .returncode, .stdout and .stderr (text)."""
    done = subprocess.run([BINARY, *map(str, arguments)], input=stdin, capture_output=True,
                          env=env or environment(), timeout=TIMEOUT_S,
                          preexec_fn=preexec_fn or default_signals)
    done.stdout = done.stdout.decode("utf-8")
    done.stderr = done.stderr.decode("utf-8")
    return done


def zstd_frame(data):
    """`data` as a Zstandard file of raw blocks (RFC 8878), which needs no compressor."""
    frame = struct.pack("<IB", 0xFD2FB528, 0xE0) + struct.pack("<Q", len(data))
    blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)] or [b""]
    for i, block in enumerate(blocks):
        header = (len(block) << 3) | (1 if i == len(blocks) - 1 else 0)
        frame += struct.pack("<I", header)[:3] + block
    return frame


def byte_tokenizer():
    """A tokenizer.json with one token per byte and the special tokens of the real one."""
    full = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    tokens = sorted(full["model"]["vocab"].items(), key=lambda item: item[1])
    full["model"]["vocab"] = dict(tokens[:256])
    full["model"]["merges"] = []
    for i, token in enumerate(full["added_tokens"]):
        token["id"] = 256 + i
    return json.dumps(full)


class Safetensors:
    """A safetensors file in memory, to be changed and written back."""

    def __init__(self, path):
        raw = Path(path).read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        self.header = json.loads(raw[8:8 + size])
        self.data = bytearray(raw[8 + size:])

    def write(self, path):
        header = json.dumps(self.header).encode()
        header += b" " * (-len(header) % 8)
        Path(path).write_bytes(struct.pack("<Q", len(header)) + header + self.data)


class Folder(unittest.TestCase):
    """A test case with an empty folder of its own."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="msa_e2e_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode("utf-8")
        path.write_bytes(content)
        return path

    def write_jsonl(self, name, records):
        return self.write(name, "".join(json.dumps(r) + "\n" for r in records))

    def check_ok(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse([l for l in done.stderr.splitlines() if l.startswith("msa: ")])
        return done

    def check_error(self, done, code, *mentions):
        """Exit code `code` and exactly one error line, which mentions what and where."""
        self.assertEqual(done.returncode, code, done.stderr)
        errors = [l for l in done.stderr.splitlines() if l.startswith("msa: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        for mention in mentions:
            self.assertIn(str(mention), errors[0])
        # Whatever else stands there is a note, a warning or progress, and no crash report.
        for line in done.stderr.splitlines():
            self.assertRegex(line, r"^(msa|note|warning|encoding|answering|verifying|converting|"
                              r"planning|searching|asking|compacting|attaching|packing|unpacking|"
                              r"writing|indexing|measuring): ")
        return errors[0]


class WithModel(Folder):
    """Tests that use a tiny model with random weights, made once per run."""

    shared = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if WithModel.shared is None:
            WithModel.shared = Path(tempfile.mkdtemp(prefix="msa_e2e_model_"))
            unittest.addModuleCleanup(WithModel.remove_models)
        cls.model = cls.make_model("tiny")

    @staticmethod
    def remove_models():
        shutil.rmtree(WithModel.shared, ignore_errors=True)
        WithModel.shared = None

    @classmethod
    def make_model(cls, name, *options, tokenizer=TOKENIZER):
        path = WithModel.shared / name
        if not path.exists():
            done = run("model", "init", path, "--shape", "tiny", "--tokenizer", tokenizer, *options)
            if done.returncode != 0:
                raise AssertionError("model init: " + done.stderr)
        return path

    def setUp(self):
        super().setUp()
        self.bank = self.folder / "bank"

    def encode(self, *paths, stdin=b"", options=()):
        return run("encode", *paths, "--bank", self.bank, "--model", self.model, *options,
                   stdin=stdin)

    def encode_json(self, *paths, stdin=b"", options=()):
        done = self.check_ok(self.encode(*paths, stdin=stdin, options=["--json", *options]))
        return json.loads(done.stdout)

    def with_bank(self, command, *arguments, stdin=b""):
        return run(command, *arguments, "--bank", self.bank, "--model", self.model, stdin=stdin)

    def documents(self):
        done = self.check_ok(run("memory", "list", "--bank", self.bank, "--json"))
        return json.loads(done.stdout)["documents"]

    def check_verifies(self):
        done = self.check_ok(run("memory", "verify", "--bank", self.bank, "--json"))
        self.assertTrue(json.loads(done.stdout)["ok"])

    def bank_state(self):
        """What must stay the same when nothing is added: documents and segment files."""
        segments = {
            str(p.relative_to(self.bank)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted((self.bank / "segments").rglob("*")) if p.is_file()
        }
        return self.documents(), segments

    def small_bank(self):
        """A bank of five documents; returns its state."""
        path = self.write_jsonl("small.jsonl", [
            {"id": "doc-%d" % i, "title": "Title %d" % i,
             "text": "The bridge number %d was built in %d." % (i, 1900 + i)} for i in range(5)])
        self.assertEqual(self.encode_json(path)["documents"], 5)
        return self.bank_state()
