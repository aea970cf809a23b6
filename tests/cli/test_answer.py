"""msa ask and msa route: text, JSON, and files of questions."""

import json
import subprocess
import unittest

from msa_case import BINARY, WithModel, environment, run, start


class Answers(WithModel):

    def setUp(self):
        super().setUp()
        self.small_bank()

    def check_documents(self, documents):
        for d in documents:
            self.assertEqual(list(d), ["number", "id", "score"])
            self.assertIsInstance(d["number"], int)
            self.assertEqual(d["id"], "doc-%d" % d["number"])
            self.assertIsInstance(d["score"], float)

    def check_routing(self, routing, top_k=5):
        self.assertEqual(list(routing), ["layers", "ranking"])
        info = json.loads(run("model", "info", self.model, "--json").stdout)
        self.assertEqual([l["layer"] for l in routing["layers"]], info["router_layers"])
        for layer in routing["layers"]:
            self.assertEqual(list(layer), ["layer", "documents"])
            self.assertEqual(len(layer["documents"]), top_k)
            self.check_documents(layer["documents"])
            scores = [d["score"] for d in layer["documents"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
        chosen = {d["number"] for l in routing["layers"] for d in l["documents"]}
        self.assertEqual({d["number"] for d in routing["ranking"]}, chosen)
        self.check_documents(routing["ranking"])

    def check_answer(self, answer):
        for key in ("answer", "rounds", "citations", "routing", "timing", "usage"):
            self.assertIn(key, answer)
        self.assertIsInstance(answer["answer"], str)
        self.assertIn(answer["finish"], ("stop", "length"))
        for r in answer["rounds"]:
            self.assertIsInstance(r["generated"], str)
            self.assertEqual(r["numbers"], sorted(set(r["numbers"])))
        for c in answer["citations"]:
            self.assertEqual(c["id"], "doc-%d" % c["number"])
            self.assertEqual(c["title"], "Title %d" % c["number"])
            self.assertIn("small.jsonl", c["source"])
            self.assertIn("The bridge number %d" % c["number"], c["text"])
        self.assertEqual([c["number"] for c in answer["citations"]],
                         [n for r in answer["rounds"] for n in r["numbers"]])
        self.check_routing(answer["routing"])
        for key in ("encode_question_ms", "route_ms", "first_token_ms", "tokens_per_second"):
            self.assertIsInstance(answer["timing"][key], (int, float))
            self.assertGreaterEqual(answer["timing"][key], 0)
        for key in ("prompt_tokens", "completion_tokens"):
            self.assertIsInstance(answer["usage"][key], int)
            self.assertGreater(answer["usage"][key], 0)

    def test_route_json(self):
        done = self.check_ok(self.with_bank("route", "Which bridge?", "--json"))
        self.check_routing(json.loads(done.stdout))
        self.assertEqual(done.stdout.count("\n"), 1)
        again = self.with_bank("route", "Which bridge?", "--json")
        self.assertEqual(again.stdout, done.stdout)
        two = self.check_ok(self.with_bank("route", "-q", "Which bridge?", "--json", "--top-k", 2))
        self.check_routing(json.loads(two.stdout), top_k=2)

    def test_compressed_keys_choose_the_same(self):
        question = ("Which bridge?", "--top-k", 3, "--json")
        full = self.check_ok(self.with_bank("route", *question, "--keys", "bf16"))
        self.assertEqual(self.check_ok(self.with_bank("route", *question)).stdout, full.stdout)
        for keys in ("int8", "int4"):
            done = self.check_ok(self.with_bank("route", *question, "--keys", keys, "-v"))
            self.assertIn("as " + keys, done.stderr)
            routing = json.loads(done.stdout)
            for layer in routing["layers"]:
                self.assertGreaterEqual(layer.pop("rescored"), 3)
                self.assertIs(layer.pop("certain"), True)
            self.assertEqual(routing, json.loads(full.stdout))

    def test_held_content_gives_the_same_answers(self):
        for keys in ("bf16", "int8"):
            question = ("Which bridge?", "--top-k", 2, "--json", "--max-tokens", 40, "--keys", keys)
            answers = []
            for tier in ("mapped", "held"):
                done = self.check_ok(self.with_bank("ask", *question, "--content-tier", tier, "-v"))
                self.assertRegex(done.stderr, "pooled keys and values: (.* held in memory|mapped)")
                self.assertEqual("held in memory" in done.stderr, tier == "held")
                answers.append(json.loads(done.stdout))
                del answers[-1]["timing"]
            self.assertEqual(*answers)
        self.check_error(self.with_bank("ask", "Which?", "--content-tier", "held",
                                        "--memory-limit", "1M"), 5,
                         "the pooled keys and values take", "of the memory limit are left for them",
                         "leave them on the disk")

    def test_a_memory_limit_is_kept_or_refused(self):
        self.check_ok(self.with_bank("route", "Which?", "--memory-limit", "64G"))
        self.check_error(self.with_bank("route", "Which?", "--memory-limit", "1M"), 5,
                         "the routing keys take", "of the memory limit are left for them")
        self.check_error(self.with_bank("ask", "Which?", "--memory-limit", "lots"), 2,
                         "--memory-limit")

    def test_route_in_words(self):
        done = self.check_ok(self.with_bank("route", "Which", "bridge?"))
        self.assertRegex(done.stdout, r"(?m)^layer \d+\n +-?\d+\.\d{4}  \[\d\] +Title \d\n")
        self.assertIn("\nall layers\n", done.stdout)
        self.assertIn("random", done.stderr)

    def test_ask_json(self):
        for retrieval in ("interleave", "router"):
            done = self.check_ok(self.with_bank("ask", "Which bridge?", "--json", "--max-tokens",
                                                24, "--retrieval", retrieval))
            self.assertEqual(done.stdout.count("\n"), 1)
            answer = json.loads(done.stdout)
            self.check_answer(answer)
            self.assertLessEqual(answer["usage"]["completion_tokens"], 24)
            if retrieval == "router":
                self.assertEqual(len(answer["citations"]), 4)

    def test_ask_in_words(self):
        done = self.check_ok(self.with_bank("ask", "-", "--max-tokens", 24, "--retrieval", "router",
                                            "--router-documents", 2, stdin=b"Which bridge?\n"))
        self.assertEqual(len([l for l in done.stdout.splitlines()
                              if l.startswith("    > The bridge number ")]), 2)
        self.assertRegex(done.stdout, r"(?m)^\[\d\] Title \d\n    .*small\.jsonl")
        self.assertNotIn("\x1b", done.stdout)

    def test_ask_options_are_taken(self):
        done = self.check_ok(self.with_bank(
            "ask", "Which bridge?", "--json", "--max-tokens", 8, "--top-k", 2, "--no-original-text",
            "--no-constrain-numbers", "--max-rounds", 1, "--temperature", 0.8, "--top-p", 0.5,
            "--seed", 3, "--threads", 1, "--precision", "bf16", "--similarity", "cosine"))
        answer = json.loads(done.stdout)
        self.assertEqual([len(l["documents"]) for l in answer["routing"]["layers"]],
                         [2] * len(answer["routing"]["layers"]))

    def test_a_bank_for_another_similarity(self):
        self.check_error(self.with_bank("ask", "Which bridge?", "--similarity", "dot"), 4, self.bank,
                         "cosine")

    def test_the_same_seed_gives_the_same_answer(self):
        answers = [json.loads(self.with_bank("ask", "Which?", "--json", "--max-tokens", 12,
                                             "--temperature", 1, "--seed", 5).stdout)["answer"]
                   for _ in range(2)]
        self.assertEqual(answers[0], answers[1])

    def test_files_of_questions(self):
        path = self.write("q.jsonl", '{"id":"a","question":"One?"}\n{"id":2,"question":"Two?"}\n')
        for command, check in (("route", self.check_routing), ("ask", self.check_answer)):
            options = ["--max-tokens", 12] if command == "ask" else []
            done = self.check_ok(self.with_bank(command, "--questions", path, *options))
            records = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual([r.pop("id") for r in records], ["a", 2])
            for record in records:
                check(record)

    def test_bad_questions_do_not_stop_the_others(self):
        path = self.write("q.jsonl", b'{"id":1,"question":"One?"}\n\xff\xfe\n{"id":2}\n'
                          b'{"id":3,"question":""}\n{"id":4,"question":"Four?"}\n')
        done = self.with_bank("route", "--questions", path)
        self.assertEqual(done.returncode, 7)
        self.assertEqual([json.loads(l)["id"] for l in done.stdout.splitlines()], [1, 4])
        errors = [l for l in done.stderr.splitlines() if l.startswith("msa: ")]
        self.assertEqual(len(errors), 3)
        for number, error in zip((2, 3, 4), errors):
            self.assertIn("%s:%d:" % (path, number), error)

    def test_environment_gives_the_defaults(self):
        env = environment(MSA_MODEL=str(self.model), MSA_BANK=str(self.bank))
        self.check_ok(run("route", "Which?", env=env))
        self.check_error(run("route", "Which?", "-b", self.bank), 2, "--model", "MSA_MODEL")
        self.check_error(run("route", "Which?", "-m", self.model), 2, "--bank", "MSA_BANK")

    def test_output_that_nobody_reads(self):
        process = start("memory", "list", "--bank", self.bank)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertEqual(process.wait(), 0)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "memory", "list", "--bank", str(self.bank)], stdout=full,
                                  stderr=subprocess.PIPE, env=environment())
        self.assertEqual(done.returncode, 5)
        self.assertIn(b"standard output", done.stderr)


if __name__ == "__main__":
    unittest.main()
