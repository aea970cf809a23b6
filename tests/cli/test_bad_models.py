"""Models that are missing, damaged or at odds with themselves: one clear error, nothing written."""

import json
import shutil
import unittest

from msa_case import TOKENIZER, Safetensors, WithModel, byte_tokenizer, run

Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
ROUTER = "self_attn.router_k_proj.0.weight"


class BadModels(WithModel):

    def setUp(self):
        super().setUp()
        self.state = self.small_bank()
        self.good = self.model
        self.model = self.folder / "model"
        shutil.copytree(self.good, self.model)
        self.weights = self.model / "model.safetensors"
        self.document = self.write("new.txt", "A new document.")

    def check_refused(self, code, *mentions):
        """Every command refuses the model, and the bank stays as it is."""
        for command in (["ask", "Which?"], ["route", "Which?"], ["encode", self.document]):
            self.check_error(self.with_bank(*command), code, *mentions)
        self.check_error(run("model", "info", self.model), code, *mentions)
        self.assertEqual(self.bank_state(), self.state)

    def change_config(self, **changes):
        path = self.model / "config.json"
        config = json.loads(path.read_text())
        config.update(changes)
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    def change_weights(self, change):
        tensors = Safetensors(self.weights)
        change(tensors)
        tensors.write(self.weights)

    def test_missing_files(self):
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            with self.subTest(missing=name):
                path = self.model / name
                path.rename(self.folder / name)
                self.check_refused(3, self.model, name)
                (self.folder / name).rename(path)

    def test_missing_folder(self):
        shutil.rmtree(self.model)
        self.check_refused(3, self.model)

    def test_truncated_files(self):
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            path = self.model / name
            whole = path.read_bytes()
            with self.subTest(truncated=name):
                path.write_bytes(whole[:len(whole) // 2])
                self.check_refused(4, name)
            path.write_bytes(whole)

    def test_truncated_within_the_header(self):
        whole = self.weights.read_bytes()
        for size in (0, 5, 8, 100):
            self.weights.write_bytes(whole[:size])
            self.check_error(run("model", "info", self.model), 4, "model.safetensors")

    def test_header_sizes_that_lie(self):
        whole = self.weights.read_bytes()
        for size in (b"\xff" * 8, b"\x00" * 8, b"\x00\x00\x00\x00\x00\x00\x00\x80"):
            self.weights.write_bytes(size + whole[8:])
            self.check_error(run("model", "info", self.model), 4, "model.safetensors")

    def test_wrong_dtype(self):
        def change(tensors):
            tensors.header[Q_PROJ]["dtype"] = "I16"
        self.change_weights(change)
        self.check_refused(4, "model.safetensors", Q_PROJ, "I16")

    def test_wrong_shape(self):
        def change(tensors):
            shape = tensors.header[Q_PROJ]["shape"]
            tensors.header[Q_PROJ]["shape"] = [shape[0] * 2, shape[1] // 2]
        self.change_weights(change)
        self.check_refused(4, "model.safetensors", Q_PROJ)

    def test_overlapping_tensors(self):
        def change(tensors):
            first, second = [t for n, t in sorted(tensors.header.items()) if "layers.0.mlp" in n][:2]
            second["data_offsets"] = first["data_offsets"]
        self.change_weights(change)
        self.check_refused(4, "model.safetensors")

    def test_a_missing_and_an_extra_tensor(self):
        def remove(tensors):
            name = next(n for n in tensors.header if n.endswith(ROUTER))
            tensors.header["model.layers.0.unknown.weight"] = tensors.header.pop(name)
        self.change_weights(remove)
        self.check_refused(4, "model.safetensors", "weight")

    def test_not_a_number(self):
        def change(tensors):
            begin, _ = tensors.header[Q_PROJ]["data_offsets"]
            tensors.data[begin + 10:begin + 12] = b"\xc0\x7f"
        self.change_weights(change)
        self.check_refused(4, "model.safetensors", Q_PROJ)

    def test_a_config_that_contradicts_its_tensors(self):
        config = json.loads((self.model / "config.json").read_text())
        for key, value in (("hidden_size", config["hidden_size"] * 2),
                           ("num_hidden_layers", config["num_hidden_layers"] + 1),
                           ("num_key_value_heads", config["num_key_value_heads"] * 2),
                           ("vocab_size", config["vocab_size"] + 64)):
            with self.subTest(key=key):
                self.change_config(**{key: value})
                self.check_error(run("model", "info", self.model), 4, self.model)
                self.change_config(**{key: config[key]})
        self.change_config(hidden_size=config["hidden_size"] * 2)
        self.check_refused(4, self.model)

    def test_a_config_that_makes_no_sense(self):
        config = json.loads((self.model / "config.json").read_text())
        for key, value in (("hidden_size", -1), ("hidden_size", "many"), ("hidden_size", 1e300),
                           ("num_attention_heads", 0), ("num_hidden_layers", 2**63),
                           ("model_type", "llama"), ("msa_config", None), ("msa_config", []),
                           ("rms_norm_eps", None if "rms_norm_eps" not in config else "x")):
            with self.subTest(key=key, value=value):
                self.change_config(**{key: value})
                done = run("model", "info", self.model)
                self.assertIn(done.returncode, (2, 4))
                self.check_error(done, done.returncode, "config.json")
                self.change_config(**{key: config[key]})

    def test_a_tokenizer_beyond_the_vocabulary(self):
        small = self.write("small/tokenizer.json", byte_tokenizer())
        self.model = self.make_model("small-vocabulary", tokenizer=small)
        done = self.check_ok(run("model", "info", self.model, "--json"))
        self.assertLess(json.loads(done.stdout)["vocabulary"], 1000)
        copy = self.folder / "copy"
        shutil.copytree(self.model, copy)
        self.model = copy
        shutil.copy(TOKENIZER, self.model / "tokenizer.json")
        self.check_refused(4, "tokenizer.json")

    def test_a_bank_of_another_model(self):
        self.model = self.make_model("other-weights", "--seed", 99)
        for command in (["ask", "Which?"], ["route", "Which?"], ["encode", self.document]):
            self.check_error(self.with_bank(*command), 4, self.bank)
        self.assertEqual(self.bank_state(), self.state)


if __name__ == "__main__":
    unittest.main()
