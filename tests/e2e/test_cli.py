#!/usr/bin/env python3
"""The command line as its users know it: help, JSON keys, what is written where, and what the files say."""
import json
import math
import os
import re
import subprocess
from pathlib import Path

from support import (
    BAD_INPUT,
    BINARY,
    BOS,
    EOS,
    SOURCE,
    USAGE,
    VOCAB,
    Case,
    awq,
    command,
    elements,
    encode,
    hashes,
    leftovers,
    make_config,
    make_model,
    make_text,
    manifest_problems,
    random_tensors,
    read_tensors,
    run_tests,
    tensor_shapes,
)

COMMANDS = ("quantize", "eval", "compare", "run", "serve", "bench", "bench-serve", "inspect")
SANITIZED = b"__asan_init" in BINARY.read_bytes() if BINARY.is_file() else False
NUMBER = (int, float)


class Cli(Case):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        self.output = self.folder / "out"
        self.text = self.folder / "text.txt"
        self.text.write_text(make_text(1500))

    def arguments(self, *flags, model=None, output=None, group=32):
        return [
            "quantize",
            model or self.model,
            "-o",
            output or self.output,
            "--group-size",
            group,
            "--calib",
            self.text,
            "--calib-samples",
            16,
            "--threads",
            2,
            *flags,
        ]

    def quantize(self, *flags, **how):
        """The JSON of a run that must succeed."""
        return self.json_of(*self.arguments(*flags, **how))

    def json_of(self, *args, **how):
        result = self.check_ok(awq(*args, "--json", **how))
        return json.loads(result.out)  # fails unless it is exactly one object

    def check_keys(self, found, types):
        for key, kind in types.items():
            self.assertIn(key, found)
            self.assertIsInstance(found[key], kind, key)
            if kind is int:
                self.assertNotIsInstance(found[key], bool, key)

    def load(self, name, output=None):
        return json.loads(((output or self.output) / name).read_text())


class Help(Cli):
    def test_version(self):
        result = self.check_ok(awq("--version"))
        self.assertRegex(result.out, r"^awq\.cpp \d+\.\d+\.\d+\n$")
        self.assertEqual(result.err, "")

    def test_help(self):
        for flag in ("-h", "--help"):
            result = self.check_ok(awq(flag))
            for name in COMMANDS:
                self.assertIn(name, result.out)
        for name in COMMANDS:
            with self.subTest(name):
                result = self.check_ok(awq(name, "--help"))
                self.assertEqual(result.err, "")
                for flag in ("--json", "--threads", "--device", "--help", "-h"):
                    self.assertIn(flag, result.out)
                self.assertEqual(result.out, awq(name, "-h").out)


class Json(Cli):
    def test_quantize(self):
        make_model(self.model)
        result = self.check_ok(awq(*self.arguments("--json")))
        found = json.loads(result.out)
        self.check_keys(
            found,
            {
                "method": str,
                "bits": int,
                "group_size": int,
                "format": str,
                "layers": int,
                "seconds": NUMBER,
                "peak_rss_bytes": int,
                "input_bytes": int,
                "output_bytes": int,
                "bits_per_weight": NUMBER,
                "linear_bits_per_weight": NUMBER,
                "planned_peak_bytes": int,
                "unquantized_linears": list,
                "perplexity": NUMBER,
                "kl_mean": NUMBER,
                "already_complete": bool,
            },
        )
        self.assertEqual(
            (found["method"], found["bits"], found["group_size"], found["format"], found["layers"]),
            ("awq", 4, 32, "awq", 2),
        )
        self.assertEqual(
            found["input_bytes"], sum(elements(shape) * 4 for shape in tensor_shapes(make_config()).values())
        )
        self.assertEqual(found["output_bytes"], sum(path.stat().st_size for path in self.output.glob("*.safetensors")))
        parameters = sum(elements(shape) for shape in tensor_shapes(make_config()).values())
        self.assertAlmostEqual(found["bits_per_weight"], 8 * found["output_bytes"] / parameters)
        # 4 bits, and per group of 32 a zero point of 4 bits and a scale of 16
        self.assertAlmostEqual(found["linear_bits_per_weight"], 4 + 20 / 32)
        # Standard error: the plan, then a line per step; nothing of it on standard output.
        self.assertIn("quantize 2/2", result.err)
        self.assertNotIn("\r", result.err)

    def test_quantize_in_words(self):
        make_model(self.model)
        result = self.check_ok(awq(*self.arguments()))
        self.assertIn(str(self.output), result.out)
        self.assertIn("bits per weight", result.out)
        self.assertIn("perplexity", result.out)

    def test_memory_stays_within_the_plan(self):
        if SANITIZED:
            self.skipTest("sanitizers take memory of their own")
        for changes in ({}, {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1}):
            with self.subTest(changes):
                make_model(self.model, **changes)
                found = self.quantize("--force")
                self.assertLessEqual(found["peak_rss_bytes"], 1.1 * found["planned_peak_bytes"])

    def test_eval(self):
        make_model(self.model)
        plain = {"tokens": int, "perplexity": NUMBER, "nll": NUMBER}
        found = self.json_of("eval", self.model, "--text", self.text)
        self.check_keys(found, plain)
        self.assertAlmostEqual(found["perplexity"], math.exp(found["nll"]), places=6)
        self.assertNotIn("kl_mean", found)
        found = self.json_of("eval", self.model, "--text", self.text, "--against", self.model)
        self.check_keys(
            found,
            {
                **plain,
                "kl_mean": NUMBER,
                "kl_p99": NUMBER,
                "top1_agreement": NUMBER,
                "delta_nll_mean": NUMBER,
                "delta_nll_stderr": NUMBER,
            },
        )
        self.assertEqual(
            (found["kl_mean"], found["kl_p99"], found["top1_agreement"], found["delta_nll_mean"]), (0, 0, 1, 0)
        )

    def test_run(self):
        make_model(self.model)
        found = self.json_of("run", self.model, "-p", "the cat", "-n", 5)
        self.check_keys(found, {"prompt_tokens": int, "completion_tokens": int, "text": str, "token_ids": list,
                                "prefill_tokens_per_s": NUMBER, "decode_tokens_per_s": NUMBER, "finish_reason": str})
        self.assertEqual(found["completion_tokens"], len(found["token_ids"]))
        self.assertTrue(all(0 <= i < VOCAB for i in found["token_ids"]))

    def test_inspect(self):
        make_model(self.model)
        found = self.json_of("inspect", self.model)
        self.check_keys(
            found,
            {
                "architecture": str,
                "parameters": int,
                "layers": int,
                "tensor_bytes": int,
                "bits_per_weight": NUMBER,
                "linears": int,
                "quantized_linears": int,
                "parts": list,
                "tensors": list,
                "problems": list,
            },
        )
        self.assertIsNone(found["quantization"])
        self.assertEqual((found["linears"], found["quantized_linears"], found["problems"]), (14, 0, []))
        self.assertEqual({t["name"]: tuple(t["shape"]) for t in found["tensors"]}, tensor_shapes(make_config()))
        self.quantize("--skip", "*.layers.0.*")
        found = self.json_of("inspect", self.output, "--deep")
        schemes = found["quantization"].pop("schemes")
        self.assertEqual(found["quantization"], {"format": "awq", "bits": 4, "group_size": 32, "symmetric": False})
        self.assertEqual([(row["part"], row["bits"]) for row in schemes], [("linears", 4)])
        self.assertEqual((found["linears"], found["quantized_linears"], found["problems"]), (14, 7, []))
        self.assertIn("7 of 14 linears", self.check_ok(awq("inspect", self.output, "--tensors")).out)


class Eval(Cli):
    def setUp(self):
        super().setUp()
        make_model(self.model)

    def score(self, name, text, *flags):
        path = self.folder / name
        path.write_text(text)
        return self.json_of("eval", self.model, "--text", path, *flags)

    def test_one_document(self):
        # 64 tokens per window, the rest is dropped; one byte is one token here.
        found = self.score("text.txt", "x" * 200)
        self.assertEqual((found["windows"], found["tokens"]), (3, 3 * 63))
        found = self.score("text.txt", "x" * 200, "--ctx", 50)
        self.assertEqual((found["windows"], found["tokens"]), (4, 4 * 49))
        found = self.score("text.txt", "x" * 200, "--max-tokens", 128)
        self.assertEqual((found["windows"], found["tokens"]), (2, 2 * 63))

    def test_documents(self):
        # Each begins with BOS and is cut at the context.
        lists = [self.score("text.jsonl", '{"text": "xyz"}\n\n{"text": "' + "y" * 100 + '"}\n'),
                 self.score("two.txt", "xyz\n<|endoftext|>\n" + "y" * 100 + "\n")]
        for found in lists:
            self.assertEqual((found["windows"], found["tokens"]), (2, 3 + 63))
        self.assertEqual(lists[0]["nll"], lists[1]["nll"])
        one = self.score("one.jsonl", '{"text": "xyz"}')
        other = self.score("other.jsonl", json.dumps({"messages": [{"role": "user", "content": "y" * 100}]}))
        self.assertAlmostEqual(lists[0]["nll"], (3 * one["nll"] + 63 * other["nll"]) / 66, places=5)

    def test_types_of_a_cache_that_is_not_there(self):
        plain = self.score("text.txt", "x" * 200)
        self.assertEqual(plain["nll"], self.score("text.txt", "x" * 200, "--kv-cache-dtype", "f32")["nll"])
        failed = awq("eval", self.model, "--text", self.folder / "text.txt", "--kv-cache-dtype", "fp8")
        self.assertEqual(failed.status, USAGE, failed.err)
        self.assertIn("--kv-cache-dtype fp8", failed.err)

    def test_default_text(self):
        found = self.json_of("eval", self.model, "--max-tokens", 512)
        self.assertGreater(found["tokens"], 0)

    def test_quantized_against_original(self):
        self.quantize()
        report = self.load("awq_report.json")["evaluation"]
        self.assertGreater(report["kl_mean"], 0)
        found = self.json_of("eval", self.output, "--text", self.text, "--against", self.model)
        self.assertGreater(found["kl_mean"], 0)
        # The same kind of text, so the same loss within a factor.
        self.assertLess(abs(math.log(found["kl_mean"] / report["kl_mean"])), 0.7)

    def test_simulate(self):
        losses = [self.json_of("eval", self.model, "--text", self.text, "--simulate-bits", bits, "--group-size", 32,
                               "--max-tokens", 1024)["kl_mean"] for bits in (8, 4, 3)]
        self.assertLess(losses[0], losses[1])
        self.assertLess(losses[1], losses[2])


class Run(Cli):
    def setUp(self):
        super().setUp()
        make_model(self.model)

    def test_where_the_prompt_comes_from(self):
        prompt = "the cat and the"
        path = self.folder / "prompt.txt"
        path.write_text(prompt)
        ways = [
            self.json_of("run", self.model, "-n", 6, "-p", prompt),
            self.json_of("run", self.model, "-n", 6, "-f", path),
            self.json_of("run", self.model, "-n", 6, stdin=prompt.encode()),
        ]
        for found in ways[1:]:
            self.assertEqual(found["token_ids"], ways[0]["token_ids"])
        found = self.json_of("run", self.model, "-n", 6, "--prompt-ids", f"{BOS},104,101")
        self.assertEqual(found["prompt_tokens"], 3)
        found = self.json_of("run", self.model, "-n", 2, "-p", "")
        self.assertEqual(found["prompt_tokens"], 1)  # BOS alone

    def test_streamed_text(self):
        for flags in ([], ["--temperature", "1.5", "--seed", "4"], ["-n", "30", "--ignore-eos"]):
            with self.subTest(flags):
                args = ["run", self.model, "-p", "Grüße, the", *(["-n", 20] if "-n" not in flags else []), *flags]
                shown = subprocess.run(command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
                self.assertEqual(shown.stdout.decode(), "Grüße, the" + self.json_of(*args)["text"] + "\n")

    def test_seed(self):
        def draw(seed):
            found = self.json_of("run", self.model, "-p", "on", "-n", 24, "--temperature", 2, "--seed", seed)
            return found["token_ids"]

        self.assertEqual(draw(1), draw(1))
        self.assertNotEqual(draw(1), draw(2))
        self.assertNotEqual(draw(1), draw((1 << 64) - 1))

    def test_greedy_is_the_default(self):
        plain = self.json_of("run", self.model, "-p", "on", "-n", 12)["token_ids"]
        self.assertEqual(
            plain, self.json_of("run", self.model, "-p", "on", "-n", 12, "--top-k", 1, "--temperature", 1)["token_ids"]
        )
        self.assertEqual(plain, self.json_of("run", self.model, "-p", "on", "-n", 12, "--seed", 9)["token_ids"])
        self.assertEqual(plain, self.json_of("run", self.model, "-p", "on", "-n", 12, "--threads", 1)["token_ids"])

    def test_guesses_and_caches(self):
        args = ["run", self.model, "-p", "on and on and on and", "-n", 24, "--ignore-eos"]
        for drawn in ([], ["--temperature", 1.5, "--seed", 4]):
            plain = self.json_of(*args, *drawn)["token_ids"]
            self.assertEqual(plain, self.json_of(*args, *drawn, "--spec-ngram", 4)["token_ids"])
        for dtype in ("f16", "bf16", "int8", "fp8"):
            self.assertEqual(len(self.json_of(*args, "--kv-dtype", dtype)["token_ids"]), 24)
        # Where attention rounds to bf16, "auto" is that.
        for name, other, activations in (
            ("auto", "float16", "f32"),
            ("fp8", "fp8_e4m3", "int8"),
            ("int8", "int8_per_token_head", "int8"),
        ):
            types = (("--kv-cache-dtype", n, "--activations", activations) for n in (name, other))
            self.assertEqual(*(self.json_of(*args, *t)["token_ids"] for t in types))
        # What only a device has is refused without one, like names that nobody knows.
        of_devices = (["--dtype", "f8"], ["--dtype", "f16"], ["--cuda-linear", "quick"], ["--cuda-linear", "fast"])
        for flags in (["--kv-cache-dtype", "f8"], ["--kv-cache-dtype", "fp8_e5m2"], ["--spec-ngram", 16], *of_devices):
            failed = awq(*args, *flags)
            self.assertEqual(failed.status, USAGE, failed.err)
            self.assertIn(flags[0], failed.err)

    def test_stop(self):
        text = self.json_of("run", self.model, "-p", "on", "-n", 24, "--ignore-eos")["text"]
        clean = re.search(r"[^\ufffd]{2}", text[4:])
        if clean is None:
            self.skipTest("the model wrote nothing readable")
        stop = clean.group()
        for flags in (["--stop", stop], ["--stop", "never said", "--stop", stop]):
            found = self.json_of("run", self.model, "-p", "on", "-n", 24, "--ignore-eos", *flags)
            self.assertEqual(found["text"], text[:text.index(stop)])
            self.assertEqual(found["finish_reason"], "stop")

    def test_end_of_sequence(self):
        # Whatever the model says first is declared the end.
        first = self.json_of("run", self.model, "-p", "on", "-n", 1)["token_ids"][0]
        (self.model / "generation_config.json").write_text(json.dumps({"eos_token_id": [EOS, first]}))
        found = self.json_of("run", self.model, "-p", "on", "-n", 8)
        self.assertEqual((found["finish_reason"], found["token_ids"], found["text"]), ("stop", [], ""))
        found = self.json_of("run", self.model, "-p", "on", "-n", 8, "--ignore-eos")
        self.assertEqual((found["finish_reason"], found["token_ids"][0], len(found["token_ids"])), ("length", first, 8))

    def test_context(self):
        found = self.json_of("run", self.model, "-p", "x" * 60, "-n", 100, "--ignore-eos")
        self.assertEqual((found["prompt_tokens"], found["finish_reason"]), (61, "length"))
        self.assertLessEqual(found["prompt_tokens"] + found["completion_tokens"], 64 + 1)

    def test_quantized_model_runs(self):
        for form in ("awq", "compressed-tensors"):
            with self.subTest(form):
                self.quantize("--format", form, "--force", "--no-eval")
                found = self.json_of("run", self.output, "-p", "the", "-n", 8, "--ignore-eos")
                self.assertEqual(found["completion_tokens"], 8)


class Output(Cli):
    """What quantize writes."""

    def test_dry_run(self):
        make_model(self.model)
        before = hashes(self.folder, but=())
        found = self.quantize("--dry-run")
        self.assertTrue(found["dry_run"])
        self.assertGreater(found["planned_peak_bytes"], 0)
        self.assertEqual(hashes(self.folder, but=()), before)
        self.assertEqual(leftovers(self.output), [])
        real = self.quantize()
        for key in ("output_bytes", "bits_per_weight", "planned_peak_bytes", "layers", "quantized_linears"):
            self.assertEqual(found[key], real[key], key)

    def test_files(self):
        make_model(self.model)
        for name, text in {
            "LICENSE": "Be nice.\n",
            "chat_template.jinja": "{{ messages }}",
            "generation_config.json": '{"eos_token_id": 268}',
            "README.md": "---\nlicense: mit\n---\n\nThe original card.\n",
            "training_args.bin": "x",
            "special_tokens_map.json": "{}",
        }.items():
            (self.model / name).write_text(text)
        (self.model / "code.py").write_text("print('no')")
        found = self.quantize()
        names = {path.name for path in self.output.iterdir()}
        self.assertEqual(
            names,
            {
                "config.json",
                "model.safetensors",
                "tokenizer.json",
                "tokenizer_config.json",
                "LICENSE",
                "chat_template.jinja",
                "generation_config.json",
                "special_tokens_map.json",
                "README.md",
                "awq_report.json",
                "awq_manifest.json",
                "awq_run.json",
            },
        )
        for name in ("tokenizer.json", "LICENSE", "chat_template.jinja"):
            self.assertEqual((self.output / name).read_bytes(), (self.model / name).read_bytes())
        self.assertEqual(manifest_problems(self.output), [])
        self.assertEqual(leftovers(self.output), ["out"])
        self.check_keys(
            self.load("awq_run.json"),
            {"seconds": NUMBER, "peak_rss_bytes": int, "planned_peak_bytes": int, "threads": int, "isa": str},
        )
        card = (self.output / "README.md").read_text()
        self.assertTrue(card.startswith("---\nlicense: mit\n"))
        for word in (
            "The original card.",
            "base_model: model",
            "quantized_by: awq.cpp",
            f"{found['perplexity']:.4f}",
            f"{found['kl_mean']:.6f}",
        ):
            self.assertIn(word, card)
        self.assertNotIn(str(self.folder), "".join(p.read_text() for p in self.output.glob("*.json")) + card)

    def test_report(self):
        make_model(self.model)
        found = self.quantize("--skip", "model.layers.1.mlp.down_proj")
        report = self.load("awq_report.json")
        self.assertEqual(report["tool"]["name"], "awq.cpp")
        for key in ("method", "bits", "group_size", "format"):
            self.assertEqual(report[key], found[key])
        self.assertEqual(report["symmetric"], False)
        self.assertEqual([row["name"] for row in report["unquantized"]], ["model.layers.1.mlp.down_proj"])
        self.assertIn("--skip", report["unquantized"][0]["reason"])
        self.check_keys(report["calibration"], {"text": str, "blocks": int, "block_length": int, "sha256": str})
        self.assertEqual((report["calibration"]["text"], report["calibration"]["blocks"]), ("text.txt", 16))
        self.check_keys(
            report["evaluation"],
            {
                "tokens": int,
                "perplexity": NUMBER,
                "base_perplexity": NUMBER,
                "kl_mean": NUMBER,
                "kl_p99": NUMBER,
                "top1_agreement": NUMBER,
                "delta_nll_mean": NUMBER,
                "delta_nll_stderr": NUMBER,
            },
        )
        self.assertEqual([layer["layer"] for layer in report["layers"]], [0, 1])
        self.assertEqual(len(report["layers"][0]["linears"]), 7)
        self.assertEqual(len(report["layers"][1]["linears"]), 6)
        for layer in report["layers"]:
            for row in layer["linears"]:
                self.assertGreater(row["error_before"], 0, row)
                self.assertLess(row["error_after"], 2 * row["error_before"], row)

    def test_no_eval(self):
        make_model(self.model)
        found = self.quantize("--no-eval")
        self.assertNotIn("perplexity", found)
        self.assertIsNone(self.load("awq_report.json")["evaluation"])
        self.assertIn("not measured", (self.output / "README.md").read_text())

    def test_awq_is_better_than_rounding(self):
        make_model(self.model, num_hidden_layers=4)
        awq_loss = self.quantize()["kl_mean"]
        rtn_loss = self.quantize("--method", "rtn", output=self.folder / "rtn")["kl_mean"]
        self.assertLess(awq_loss, rtn_loss)

    def test_config_awq(self):
        make_model(
            self.model,
            tie_word_embeddings=None,
            rope_scaling={"rope_type": "linear", "factor": 2.0},
            unknown_key=[1, {"a": None}],
        )
        self.quantize()
        config = self.load("config.json")
        self.assertEqual(config.pop("quantization_config"), {
            "quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm",
            "modules_to_not_convert": ["lm_head"]})
        self.assertEqual(config, json.loads((self.model / "config.json").read_text()))
        tensors = read_tensors(self.output)
        module = "model.layers.1.mlp.down_proj"
        self.assertEqual({name: tensors[f"{module}.{name}"][:2] for name in ("qweight", "qzeros", "scales")},
                         {"qweight": ("I32", (128, 8)), "qzeros": ("I32", (4, 8)), "scales": ("F16", (4, 64))})
        self.assertNotIn(f"{module}.weight", tensors)

    def test_config_compressed_tensors(self):
        for symmetric in (False, True):
            with self.subTest(symmetric=symmetric):
                make_model(self.model, dtype="BF16")
                self.quantize(
                    "--format",
                    "compressed-tensors",
                    "--force",
                    *(["--symmetric"] if symmetric else []),
                    "--skip",
                    "*.layers.0.*.o_proj",
                )
                found = self.load("config.json")["quantization_config"]
                group = found["config_groups"].pop("group_0")
                weights = group.pop("weights")
                self.assertEqual(found["config_groups"], {})
                for key, value in {
                    "quant_method": "compressed-tensors",
                    "format": "pack-quantized",
                    "quantization_status": "compressed",
                    "global_compression_ratio": None,
                    "kv_cache_scheme": None,
                    "ignore": ["model.layers.0.self_attn.o_proj", "lm_head"],
                }.items():
                    self.assertEqual(found[key], value, key)
                for key, value in {
                    "targets": ["Linear"],
                    "input_activations": None,
                    "output_activations": None,
                }.items():
                    self.assertEqual(group[key], value, key)
                for key, value in {
                    "num_bits": 4,
                    "type": "int",
                    "symmetric": symmetric,
                    "strategy": "group",
                    "group_size": 32,
                    "dynamic": False,
                    "actorder": None,
                }.items():
                    self.assertEqual(weights[key], value, key)
                tensors = read_tensors(self.output)
                module = "model.layers.1.mlp.down_proj"
                expected = {
                    "weight_packed": ("I32", (64, 16)),
                    "weight_scale": ("F16", (64, 4)),
                    "weight_shape": ("I64", (2,)),
                }
                if not symmetric:
                    expected["weight_zero_point"] = ("I32", (8, 4))
                self.assertEqual(
                    {name.removeprefix(module + "."): t[:2] for name, t in tensors.items() if name.startswith(module)},
                    expected,
                )

    def test_other_bits_and_whole_rows(self):
        make_model(self.model)
        for bits in (2, 3, 8):
            with self.subTest(bits):
                found = self.quantize("--format", "compressed-tensors", "--bits", bits, "--force")
                self.assertEqual(found["bits"], bits)
                self.assertEqual(
                    self.load("config.json")["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"],
                    bits,
                )
        self.quantize("--format", "compressed-tensors", "--force", group=-1)
        weights = self.load("config.json")["quantization_config"]["config_groups"]["group_0"]["weights"]
        self.assertEqual((weights["strategy"], weights["group_size"]), ("channel", None))
        self.quantize("--force", group=-1)
        self.assertEqual(self.load("config.json")["quantization_config"]["group_size"], -1)

    def test_dtypes(self):
        for dtype in ("F32", "F16", "BF16"):
            with self.subTest(dtype):
                make_model(self.model, dtype=dtype)
                self.quantize("--force")
                kinds = {
                    t[0]
                    for name, t in read_tensors(self.output).items()
                    if name.endswith("weight") and "q" not in name.split(".")[-1]
                }
                self.assertEqual(kinds, {dtype})
                self.json_of("run", self.output, "-p", "the", "-n", 2)

    def test_shards(self):
        make_model(self.model, shards=3)
        self.quantize()
        one = read_tensors(self.output)
        sharded = self.folder / "sharded"
        self.quantize("--max-shard-size", 0.0001, output=sharded)
        many = read_tensors(sharded)
        self.assertEqual({name: t[:3] for name, t in one.items()}, {name: t[:3] for name, t in many.items()})
        index = self.load("model.safetensors.index.json", sharded)
        self.assertEqual(index["weight_map"], {name: t[3] for name, t in many.items()})
        self.assertEqual(index["metadata"]["total_size"], sum(len(t[2]) for t in many.values()))
        files = sorted(set(index["weight_map"].values()))
        self.assertGreater(len(files), 2)
        self.assertEqual(files, [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))])
        for name in files:
            alone = sum(t[3] == name for t in many.values()) == 1
            self.assertTrue(alone or (sharded / name).stat().st_size <= 100_000 + 8192, name)
        self.assertEqual(manifest_problems(sharded), [])
        # What shows only in the files around the weights does not change what the model says.
        asked = ["-p", "the cat", "-n", 12, "--ignore-eos"]
        self.assertEqual(
            self.json_of("run", sharded, *asked)["token_ids"], self.json_of("run", self.output, *asked)["token_ids"]
        )

    def test_skip(self):
        make_model(self.model)
        found = self.quantize("--skip", "*.o_proj", "--skip", "model.layers.0.mlp.*")
        kept = {f"model.layers.{i}.self_attn.o_proj" for i in (0, 1)} | {
            f"model.layers.0.mlp.{n}_proj" for n in ("gate", "up", "down")
        }
        self.assertEqual(set(found["unquantized_linears"]), kept)
        self.assertEqual(
            set(self.load("config.json")["quantization_config"]["modules_to_not_convert"]), kept | {"lm_head"}
        )
        before, after = read_tensors(self.model), read_tensors(self.output)
        for name in kept:
            self.assertEqual(after[f"{name}.weight"][:2], before[f"{name}.weight"][:2])
        # Nothing could be folded into these: they go out as they came.
        self.assertEqual(
            after["model.layers.0.mlp.gate_proj.weight"][2], before["model.layers.0.mlp.gate_proj.weight"][2]
        )

    def test_skip_keeps_fused_partners(self):
        make_model(self.model)
        found = self.quantize("--skip", "model.layers.0.self_attn.q_proj")
        self.assertEqual(set(found["unquantized_linears"]), {f"model.layers.0.self_attn.{n}_proj" for n in "qkv"})
        reasons = {row["name"]: row["reason"] for row in self.load("awq_report.json")["unquantized"]}
        self.assertIn("model.layers.0.self_attn.q_proj", reasons["model.layers.0.self_attn.k_proj"])

    def test_widths_that_groups_do_not_divide(self):
        make_model(self.model, intermediate_size=172)
        result = self.check_ok(awq(*self.arguments("--json")))
        mlp = {f"model.layers.{i}.mlp.{n}_proj" for i in (0, 1) for n in ("gate", "up", "down")}
        self.assertEqual(
            set(json.loads(result.out)["unquantized_linears"]), mlp
        )  # 172 outputs are not whole words either
        for name in mlp:
            self.assertRegex(result.err, f"kept +{re.escape(name)}: .*")
        self.assertEqual(
            set(self.load("config.json")["quantization_config"]["modules_to_not_convert"]), mlp | {"lm_head"}
        )
        found = self.quantize("--format", "compressed-tensors", output=self.folder / "ct")
        self.assertEqual(set(found["unquantized_linears"]), {f"model.layers.{i}.mlp.down_proj" for i in (0, 1)})
        for folder in (self.output, self.folder / "ct"):
            self.assertLess(self.json_of("eval", folder, "--text", self.text, "--against", self.model)["kl_mean"], 2)

    def test_nothing_left(self):
        make_model(self.model, hidden_size=48, intermediate_size=80)
        self.check_message(awq(*self.arguments()), BAD_INPUT, "nothing is left to quantize", "q_proj")
        self.assertEqual(leftovers(self.output), [])

    def test_unequal_heads_and_plain_heads(self):
        # As many value heads as query heads: the search may scale the input of o_proj too.
        make_model(self.model, num_key_value_heads=4)
        self.quantize()
        report = self.load("awq_report.json")
        self.assertEqual(report["remarks"], [r for r in report["remarks"] if "o_proj gets no" not in r])
        self.assertLess(self.json_of("eval", self.output, "--text", self.text, "--against", self.model)["kl_mean"], 2)


class Heads(Cli):
    """The output matrix: of its own, shared, or stored under the wrong name."""
    EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"

    def check(self, stored, tied, **model):
        make_model(self.model, **model)
        self.quantize()
        tensors = read_tensors(self.output)
        self.assertEqual({name for name in (self.EMBEDDING, self.HEAD) if name in tensors}, stored)
        self.assertEqual(self.load("config.json").get("tie_word_embeddings", False), tied)
        self.assertLess(self.json_of("eval", self.output, "--text", self.text, "--against", self.model)["kl_mean"], 3)
        return read_tensors(self.model), tensors

    def test_untied(self):
        before, after = self.check({self.EMBEDDING, self.HEAD}, False)
        self.assertEqual(after[self.HEAD][:3], before[self.HEAD][:3])

    def test_tied(self):
        before, after = self.check({self.EMBEDDING}, True, tie_word_embeddings=True)
        self.assertEqual(after[self.EMBEDDING][:3], before[self.EMBEDDING][:3])

    def test_tied_and_stored_as_the_head(self):
        def rename(tensors):
            tensors[self.HEAD] = tensors.pop(self.EMBEDDING)
        before, after = self.check({self.EMBEDDING}, True, tie_word_embeddings=True, edit_tensors=rename)
        self.assertEqual(after[self.EMBEDDING][:3], before[self.HEAD][:3])

    def test_tied_and_stored_twice(self):
        def copy(tensors):
            tensors[self.HEAD] = tensors[self.EMBEDDING]
        self.check({self.EMBEDDING}, True, tie_word_embeddings=True, edit_tensors=copy)

    def test_said_to_be_tied_but_different(self):
        # The stored head is the one that counts, and loaders must be told so.
        def add(tensors):
            tensors[self.HEAD] = random_tensors(make_config(), "F32", 3)[self.HEAD]
        before, after = self.check({self.EMBEDDING, self.HEAD}, False, tie_word_embeddings=True, edit_tensors=add)
        self.assertEqual(after[self.HEAD][:3], before[self.HEAD][:3])

    def test_said_to_be_untied_but_there_is_one(self):
        self.check({self.EMBEDDING}, True, tie_word_embeddings=False, edit_tensors=lambda t: t.pop(self.HEAD))


class Paths(Cli):
    """Folders as people have them."""

    def check_output(self, output):
        self.assertEqual(manifest_problems(output), [])
        self.assertEqual([name for name in leftovers(output) if name.endswith(".awq-partial")], [])

    def test_names(self):
        for name in (
            "with space",
            "Modèle à 🚀",
            "key: [value",
            "quo\"te's",
            "semi;colon&$HOME*?",
            "-dash",
            ".hidden",
            "percent%20{}",
            "a" * 200,
        ):
            with self.subTest(name):
                place = self.folder / "places" / name
                model = make_model(place / name)
                output = place / f"{name} out"
                self.quantize("--no-eval", model=model, output=output)
                self.check_output(output)
                self.json_of("run", output, "-p", "x", "-n", 1)

    def test_relative(self):
        make_model(self.model)
        base = ["--group-size", 32, "--calib", "text.txt", "--calib-samples", 16, "--no-eval", "--json"]
        for i, (model, output, cwd) in enumerate(
            (
                ("model", "o0", self.folder),
                ("./model/", "./o1/", self.folder),
                (".", "../o2", self.model),
                ("model//", "o3///", self.folder),
                ("../model/../model", "../o4/.", self.model),
            )
        ):
            with self.subTest(model=model, output=output):
                text = "../text.txt" if cwd == self.model else "text.txt"
                args = [text if arg == "text.txt" else arg for arg in base]
                self.check_ok(awq("quantize", model, "-o", output, *args, cwd=cwd))
                self.check_output(self.folder / f"o{i}")
                self.assertIn("base_model: model\n", (self.folder / f"o{i}" / "README.md").read_text())

    def test_empty_folder_is_taken(self):
        make_model(self.model)
        self.output.mkdir()
        self.quantize("--no-eval")
        self.check_output(self.output)

    def test_output_through_a_link(self):
        # A link in the path of OUT is followed.
        make_model(self.model)
        (self.folder / "real").mkdir()
        (self.folder / "link").symlink_to("real", target_is_directory=True)
        self.quantize("--no-eval", output=self.folder / "link" / "out")
        self.check_output(self.folder / "real" / "out")

    def test_output_is_a_link(self):
        # The folder that it leads to is made anew, and the link stays.
        make_model(self.model)
        (self.folder / "real").mkdir()
        self.output.symlink_to("real", target_is_directory=True)
        for group in (32, 64):
            self.quantize("--no-eval", "--force", group=group)
            self.assertTrue(self.output.is_symlink())
            self.check_output(self.folder / "real")
            self.assertEqual(self.load("config.json")["quantization_config"]["group_size"], group)
        self.check_output(self.output)

    def test_hub_cache(self):
        # snapshots/COMMIT/FILE -> ../../blobs/HASH
        hub = self.folder / "models--someone--tiny"
        snapshot = hub / "snapshots" / "0123abcd"
        (hub / "blobs").mkdir(parents=True)
        make_model(snapshot)
        for path in sorted(snapshot.iterdir()):
            blob = hub / "blobs" / f"hash-of-{path.name}"
            path.rename(blob)
            path.symlink_to(Path("..") / ".." / "blobs" / blob.name)
        self.quantize(model=snapshot)
        self.check_output(self.output)
        for path in self.output.iterdir():
            self.assertFalse(path.is_symlink(), path)
        self.assertIn("base_model: someone/tiny\n", (self.output / "README.md").read_text())
        (self.folder / "alias").symlink_to(snapshot, target_is_directory=True)
        self.json_of("inspect", self.folder / "alias")

    def test_read_only_model(self):
        make_model(self.model)
        for path in self.model.iterdir():
            path.chmod(0o444)
        self.model.chmod(0o555)
        self.addCleanup(self.model.chmod, 0o755)
        before = hashes(self.model, but=())
        self.quantize()
        self.check_output(self.output)
        self.assertEqual(hashes(self.model, but=()), before)
        for path in self.output.iterdir():
            self.assertTrue(path.stat().st_mode & 0o200, f"{path} should be writable")

    def test_replacing(self):
        make_model(self.model)
        self.quantize("--no-eval")
        (self.output / "notes.txt").write_text("mine")
        self.check_message(awq(*self.arguments()), USAGE, self.output, "--force")
        self.quantize("--force", "--no-eval", group=64)
        self.check_output(self.output)
        self.assertEqual(self.load("config.json")["quantization_config"]["group_size"], 64)


class OtherReaders(Cli):
    def test_published_checkpoints(self):
        data = Path(os.environ.get("AWQ_SHARED_DATA") or self.folder / "nowhere")
        folders = [
            path.parent
            for path in sorted(data.glob("quantized/*/config.json"))
            if (path.parent / "tokenizer.json").exists()
        ]
        if not folders:
            self.skipTest("AWQ_SHARED_DATA is not there")
        for folder in folders:
            with self.subTest(folder.name):
                found = self.json_of("inspect", folder, "--deep")
                self.assertEqual(found["problems"], [])
                self.assertGreater(found["quantized_linears"], 0)
                self.json_of("run", folder, "-p", "Once upon a time", "-n", 4)

    def test_bundled_model(self):
        folder = SOURCE / "models" / "books-12m"
        if not folder.is_dir():
            self.skipTest("models/books-12m is not there")
        found = self.json_of("inspect", folder)
        self.assertEqual(found["problems"], [])
        self.assertEqual(self.json_of("run", folder, "-p", "It was", "-n", 4)["completion_tokens"], 4)


if __name__ == "__main__":
    run_tests()
