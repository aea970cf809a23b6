"""msa model, msa tokenize, msa bench, and usage errors of the program itself."""

import json
import unittest

from msa_case import TOKENIZER, Folder, Safetensors, WithModel, run


class Models(WithModel):

    def test_info(self):
        info = json.loads(self.check_ok(run("model", "info", self.model, "--json")).stdout)
        self.assertTrue(info["random_weights"])
        self.assertEqual(info["file_dtype"].lower(), "bf16")
        self.assertGreaterEqual(info["vocabulary"], 151643)
        self.assertEqual(info["router_layers"],
                         list(range(info["layers"] // 2, info["layers"])))
        for key in ("query_heads", "kv_heads", "head_dim", "hidden", "chunk_size", "top_k",
                    "parameters", "weight_bytes", "chunk_bytes"):
            self.assertGreater(info[key], 0, key)
        words = self.check_ok(run("model", "info", "-m", self.model)).stdout
        self.assertRegex(words, r"(?m)^parameters +[\d,]+$")
        self.assertIn(info["fingerprint"], words)

    def test_init_with_every_size(self):
        path = self.folder / "custom"
        self.check_ok(run("model", "init", path, "--tokenizer", TOKENIZER.parent, "--layers", 3,
                          "--hidden", 32, "--feed-forward", 48, "--query-heads", 4, "--kv-heads", 2,
                          "--head-dim", 8, "--chunk-size", 16, "--top-k", 5, "--router-layers",
                          "1-2", "--untied", "--dtype", "f32", "--seed", 4))
        info = json.loads(self.check_ok(run("model", "info", path, "--json")).stdout)
        for key, value in {"layers": 3, "hidden": 32, "feed_forward": 48, "query_heads": 4,
                           "kv_heads": 2, "head_dim": 8, "chunk_size": 16, "top_k": 5,
                           "router_layers": [1, 2], "tied_embeddings": False}.items():
            self.assertEqual(info[key], value, key)
        header = Safetensors(path / "model.safetensors").header
        self.assertEqual(header["lm_head.weight"]["dtype"], "F32")

    def test_init_is_repeatable_and_overwrites_nothing(self):
        other = self.make_model("tiny-again")
        another = self.make_model("tiny-seed-2", "--seed", 2)
        weights = [(p / "model.safetensors").read_bytes()
                   for p in (self.model, other, another)]
        self.assertEqual(weights[0], weights[1])
        self.assertNotEqual(weights[0], weights[2])
        done = run("model", "init", self.model, "--shape", "tiny", "--tokenizer", TOKENIZER)
        self.assertNotEqual(done.returncode, 0)
        self.check_error(done, done.returncode, self.model)
        self.assertEqual((self.model / "model.safetensors").read_bytes(), weights[0])

    def test_init_refuses_nonsense(self):
        path = self.folder / "none"
        base = ["model", "init", path, "--tokenizer", TOKENIZER, "--shape", "tiny"]
        self.check_error(run(*base, "--query-heads", 3, "--kv-heads", 2), 2, "3", "2")
        self.check_error(run(*base, "--router-layers", "99"), 2, "99")
        self.check_error(run(*base, "--head-dim", 7), 2, "7")
        self.check_error(run("model", "init", path, "--shape", "tiny", "--tokenizer",
                             self.folder / "missing.json"), 3, "missing.json")
        self.check_error(run("model", "init", path, "--shape", "tiny"), 2, "--tokenizer")
        self.check_error(run("model", "init", path, "--tokenizer", TOKENIZER), 2, "--layers")
        self.assertFalse((path / "model.safetensors").exists())


class Convert(WithModel):
    """A plain Qwen3 checkpoint is a random model without its router."""

    def qwen(self, shards=1, **changes):
        path = self.folder / "qwen"
        path.mkdir()
        made = Safetensors(self.model / "model.safetensors")
        names = [n for n in made.header if n != "__metadata__" and ".router_" not in n]
        weight_map = {}
        for shard in range(shards):
            part, data = {}, bytearray()
            for name in names[shard::shards]:
                entry = made.header[name]
                begin, end = entry["data_offsets"]
                part[name] = {**entry, "data_offsets": [len(data), len(data) + end - begin]}
                data += made.data[begin:end]
            file = "model.safetensors" if shards == 1 else "model-%d.safetensors" % shard
            weight_map.update({name: file for name in part})
            made_part = Safetensors.__new__(Safetensors)
            made_part.header, made_part.data = part, data
            made_part.write(path / file)
        if shards > 1:
            self.write("qwen/model.safetensors.index.json", json.dumps({"weight_map": weight_map}))
        config = json.loads((self.model / "config.json").read_text())
        del config["msa_config"], config["msa_cpp_note"]
        config.update(model_type="qwen3", architectures=["Qwen3ForCausalLM"], **changes)
        self.write("qwen/config.json", json.dumps(config))
        self.write("qwen/generation_config.json", '{"eos_token_id": [151645, 151643]}')
        self.write("qwen/tokenizer.json", TOKENIZER.read_bytes())
        return path

    def tensors(self, folder):
        file = Safetensors(folder / "model.safetensors")
        return {name: (entry["dtype"], entry["shape"], bytes(file.data[slice(*entry["data_offsets"])]))
                for name, entry in file.header.items() if name != "__metadata__"}

    def test_converted_models_encode_and_keep_their_weights(self):
        qwen, out = self.qwen(shards=3), self.folder / "new" / "model"
        done = self.check_ok(run("model", "convert", qwen, out, "--router", "copy",
                                 "--router-layers", "1,3", "--chunk-size", 32, "--top-k", 4))
        self.assertIn("router that is not trained", done.stderr)
        info = json.loads(self.check_ok(run("model", "info", out, "--json")).stdout)
        self.assertEqual(info["router_layers"], [1, 3])
        self.assertEqual((info["chunk_size"], info["top_k"]), (32, 4))
        self.assertIn("not trained", info["note"])
        self.assertFalse(info["random_weights"])
        before, after = self.tensors(self.model), self.tensors(out)
        for name, tensor in before.items():
            if ".router_" not in name:
                self.assertEqual(after[name], tensor, name)
        for layer in (1, 3):
            for part in "qk":
                prefix = "model.layers.%d.self_attn." % layer
                self.assertEqual(after[prefix + "router_%s_proj.0.weight" % part],
                                 after[prefix + "%s_proj.weight" % part])
        self.assertEqual(sorted(p.name for p in out.iterdir()),
                         ["config.json", "generation_config.json", "model.safetensors",
                          "tokenizer.json"])
        self.assertEqual([p.name for p in out.parent.iterdir()], ["model"])
        self.model = out
        self.small_bank()
        self.check_ok(self.with_bank("route", "Which bridge was built in 1902?"))

    def test_random_router_is_repeatable(self):
        qwen = self.qwen()
        folders = [self.folder / name for name in ("a", "b", "c")]
        for folder, seed in zip(folders, (1, 1, 2)):
            self.check_ok(run("model", "convert", qwen, folder, "--seed", seed))
        a, b, c = (self.tensors(folder) for folder in folders)
        self.assertEqual(a, b)
        self.assertEqual({name for name in a if a[name] != c[name]},
                         {name for name in a if ".router_" in name})
        info = json.loads(self.check_ok(run("model", "info", folders[0], "--json")).stdout)
        self.assertEqual(info["router_layers"],
                         list(range(info["layers"] // 2, info["layers"])))

    def test_refusals_leave_nothing(self):
        qwen, out = self.qwen(), self.folder / "out"
        self.check_error(run("model", "convert", qwen, out, "--router-layers", 99), 2, "99")
        self.check_error(run("model", "convert", self.model, out), 4, "config.json",
                         "Memory Sparse Attention")
        self.check_error(run("model", "convert", self.folder / "no", out), 3, "no", "is not there")
        self.check_error(run("model", "convert", qwen, qwen), 2, "is there already")
        (qwen / "model.safetensors").write_bytes(b"short")
        self.check_error(run("model", "convert", qwen, out), 4, "model.safetensors")
        (qwen / "tokenizer.json").unlink()
        self.check_error(run("model", "convert", qwen, out), 4, "model.safetensors")
        self.assertEqual([p.name for p in self.folder.iterdir()], ["qwen"])


class Tokens(Folder):

    def test_known_ids(self):
        done = self.check_ok(run("tokenize", "Hello, world!", "--tokenizer", TOKENIZER, "--json"))
        result = json.loads(done.stdout)
        self.assertEqual(result["ids"], [9707, 11, 1879, 0])
        self.assertEqual(result["pieces"], ["Hello", ",", " world", "!"])
        self.assertEqual(result["count"], 4)

    def test_ways_to_give_text_and_get_tokens(self):
        folder = TOKENIZER.parent
        self.assertEqual(run("tokenize", "Hello,", "world!", "--tokenizer", folder, "--ids").stdout,
                         "9707 11 1879 0\n")
        piped = run("tokenize", "--model", folder, "--pieces", stdin=b"Hello, world!\n")
        self.assertEqual(piped.stdout, '"Hello"\n","\n" world"\n"!\\n"\n' if '"!\\n"' in piped.stdout
                         else '"Hello"\n","\n" world"\n"!"\n"\\n"\n')
        self.assertRegex(run("tokenize", "Hi", "--tokenizer", folder).stdout, r'^ +\d+  "Hi"\n$')

    def test_errors(self):
        self.check_error(run("tokenize", "x"), 2, "--tokenizer", "MSA_MODEL")
        self.check_error(run("tokenize", "x", "--tokenizer", self.folder / "no.json"), 3, "no.json")
        broken = self.write("tokenizer.json", "{\"model\":")
        self.check_error(run("tokenize", "x", "--tokenizer", broken), 4, broken)
        self.check_error(run("tokenize", "x", "--ids", "--json", "--tokenizer", TOKENIZER), 2)


class Bench(WithModel):

    def test_json(self):
        done = self.check_ok(run("bench", "--model", self.model, "--encode-tokens", 512,
                                 "--generate-tokens", 4, "--route-chunks", 256, "--json"))
        report = json.loads(done.stdout)
        self.assertGreater(report["peak_resident_bytes"], 0)
        names = " ".join(f["name"] for f in report["figures"])
        for name in ("encode", "generate", "route"):
            self.assertIn(name, names)
        for figure in report["figures"]:
            # What int8 content does to the logits of so small a random model may round to nothing.
            self.assertGreaterEqual(figure["value"], 0, figure)
            self.assertTrue(figure["value"] > 0 or figure["unit"] == "%", figure)
            self.assertTrue(figure["unit"], figure)
            if figure["limit"] > 0:
                self.assertTrue(figure["limit_name"], figure)
                self.assertAlmostEqual(figure["share"], figure["value"] / figure["limit"], places=4)

    def test_table_without_a_model(self):
        done = self.check_ok(run("bench", "--only", "route", "--route-chunks", 256))
        self.assertRegex(done.stdout, r"^name +value +unit +limit +share\n")
        self.assertIn("machine: ", done.stdout)


class Usage(Folder):

    def test_help_and_version(self):
        self.assertRegex(self.check_ok(run("--version")).stdout, r"^msa \d+\.\d+\.\d+\n$")
        top = self.check_ok(run("--help")).stdout
        for command in ("encode", "ask", "chat", "route", "memory", "model", "tokenize", "bench"):
            self.assertIn(command, top)
            self.assertIn("Example", self.check_ok(run(command, "--help")).stdout)

    def test_mistakes(self):
        self.check_error(run(), 2, "no command")
        self.check_error(run("encdoe"), 2, "'encdoe'", "did you mean 'encode'?")
        self.check_error(run("ask", "x", "--max-token", 3), 2, "'--max-token'", "'--max-tokens'")
        self.check_error(run("ask", "x", "--frobnicate"), 2, "'--frobnicate'", "msa ask --help")
        self.check_error(run("ask", "x", "--top-p", 1.5), 2, "--top-p", "'1.5'")
        self.check_error(run("--threads", "lots", "ask", "x"), 2, "--threads", "'lots'")


if __name__ == "__main__":
    unittest.main()
