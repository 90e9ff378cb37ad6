#!/usr/bin/env python3
"""Files whose parts have different bits: embedding and head in 8, some linears in 8 and the rest in fewer. What is
written is what an independent reader expects, our own commands read it, a run that was cut off ends with the same bytes
on the same choice, and formats that cannot hold it refuse."""
import importlib.util
import json
import signal
import subprocess
import sys
import time

from support import SOURCE, USAGE, Case, awq, command, hashes, make_model, make_text, run_tests

BOOKS = SOURCE / "models" / "books-12m"
READER = SOURCE / "tests" / "e2e" / "independent_reader.py"
ENDS = ("--embed-bits", 8, "--head-bits", 8)
COMPRESSED = ("--format", "compressed-tensors")


class Bits(Case):
    def setUp(self):
        super().setUp()
        self.text = self.folder / "text.txt"
        self.text.write_text(make_text(1500))

    def quantize(self, model, name, *flags):
        out = self.folder / name
        self.check_ok(awq("quantize", model, "-o", out, *COMPRESSED, *flags))
        return out

    def inspect(self, folder):
        """part -> set of bits, after reading every weight."""
        said = json.loads(self.check_ok(awq("inspect", folder, "--deep", "--json")).out)
        self.assertEqual(said["problems"], [])
        parts = {}
        for row in said["quantization"].get("schemes", []):
            parts.setdefault(row["part"], set()).add(row["bits"])
        return said, parts

    def kl(self, folder, model, text, *flags):
        done = self.check_ok(awq("eval", folder, "--against", model, "--text", text, "--max-tokens", 2000, "--json",
                                 *flags))
        return json.loads(done.out)["kl_mean"]

    def check_reader(self, folder, original):
        if importlib.util.find_spec("numpy") is None:
            return
        done = subprocess.run([sys.executable, READER, "--alone", folder, "--load-dir", original], timeout=900,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout.decode("utf-8", "replace"))

    def test_embedding_and_head_of_a_real_model(self):
        """They take half the bytes and cost next to nothing."""
        plain = self.quantize(BOOKS, "plain", "--method", "rtn", "--no-eval")
        small = self.quantize(BOOKS, "small", "--method", "rtn", "--no-eval", *ENDS)
        said, parts = self.inspect(small)
        self.assertEqual(parts, {"linears": {4}, "embedding and head": {8}})
        saved = sum(f.stat().st_size for f in plain.glob("*.safetensors"))
        saved -= sum(f.stat().st_size for f in small.glob("*.safetensors"))
        table = 8192 * 384
        self.assertGreater(saved, 0.95 * table)
        self.assertLess(saved, table)
        self.assertLess(said["bits_per_weight"], 5.2)
        text = SOURCE / "calibration" / "prose.txt"
        # Of 4-bit rounding of all linears; 8 bits are a step of a sixteenth, and its square.
        self.assertLess(self.kl(small, BOOKS, text), 1.25 * self.kl(plain, BOOKS, text))
        done = self.check_ok(awq("run", small, "--prompt", "It was", "--max-tokens", 8, "--temperature", 0))
        self.assertTrue(done.out.strip())
        self.check_reader(small, BOOKS)

    def test_each_end_alone(self):
        model = make_model(self.folder / "model")  # not tied
        for flags, expected in ((ENDS[:2], {"linears": {4}, "embedding": {8}}),
                                (ENDS[2:], {"linears": {4}, "head": {8}}),
                                (ENDS, {"linears": {4}, "embedding": {8}, "head": {8}})):
            out = self.quantize(model, f"out-{len(flags)}-{flags[0]}", "--group-size", 32, "--calib", self.text,
                                "--calib-samples", 16, *flags)
            self.assertEqual(self.inspect(out)[1], expected)
            self.assertLess(self.kl(out, model, self.text), 0.5)
            self.check_reader(out, model)
            ignored = json.loads((out / "config.json").read_text())["quantization_config"]["ignore"]
            self.assertEqual("lm_head" in ignored, "head" not in expected)

    def test_widths(self):
        model = make_model(self.folder / "model")
        losses = []
        for bits in (2, 3, 4, 8):
            out = self.quantize(model, f"out-{bits}", "--group-size", 32, "--bits", bits, "--calib", self.text,
                                "--calib-samples", 16)
            self.assertEqual(self.inspect(out)[1]["linears"], {bits})
            losses.append(self.kl(out, model, self.text))
            self.check_reader(out, model)
            card = (out / "README.md").read_text()
            self.assertEqual("vLLM are for 4 and 8 bits" in card, bits < 4)
        self.assertEqual(losses, sorted(losses, reverse=True))
        self.assertLess(losses[-1], losses[-2] / 10)

    def test_target(self):
        """A share of the linears gets 8 bits, the file keeps to the target, and the loss falls."""
        flags = ("--method", "gptq", "--no-eval", "--group-size", 64, "--calib-samples", 16, *ENDS)
        narrow = self.quantize(BOOKS, "narrow", *flags)
        mixed = self.quantize(BOOKS, "mixed", *flags, "--target-bpw", 6)
        said, parts = self.inspect(mixed)
        self.assertEqual(parts["linears"], {4, 8})
        size = sum(f.stat().st_size for f in mixed.glob("*.safetensors"))
        self.assertLessEqual(8 * size / said["parameters"], 6)
        self.assertGreater(8 * size / said["parameters"], 5.8)
        text = SOURCE / "calibration" / "prose.txt"
        self.assertLess(self.kl(mixed, BOOKS, text), 0.8 * self.kl(narrow, BOOKS, text))
        self.check_reader(mixed, BOOKS)
        report = json.loads((mixed / "awq_report.json").read_text())
        groups = json.loads((mixed / "config.json").read_text())["quantization_config"]["config_groups"]
        self.assertEqual(groups["group_1"]["targets"], report["wide_linears"])
        self.check_ok(awq("run", mixed, "--prompt", "It was", "--max-tokens", 8, "--activations", "f32"))

    def test_target_survives_a_kill(self):
        model = make_model(self.folder / "model", num_hidden_layers=8)
        base = (*COMPRESSED, "--group-size", 32, "--calib", self.text, "--calib-samples", 16, "--threads", 2)
        flags = (*base, "--target-bpw", 12)
        self.check_ok(awq("quantize", model, "-o", self.folder / "whole", *flags))
        out = self.folder / "out"
        journal = self.folder / "out.awq-partial" / "journal"
        running = subprocess.Popen(command("quantize", model, "-o", out, *flags), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while running.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
        running.wait()
        if not out.exists():  # else the machine was too fast to be stopped
            chosen = json.loads(journal.read_text().splitlines()[0].split(" ", 1)[1])["8-bit linears"]
            self.assertTrue(chosen)
            changed = awq("quantize", model, "-o", out, *base, "--resume", "--target-bpw", 13)
            self.assertEqual(changed.status, USAGE)
            self.check_ok(awq("quantize", model, "-o", out, *flags, "--resume"))
        self.assertEqual(hashes(out), hashes(self.folder / "whole"))

    def test_refusals(self):
        model = make_model(self.folder / "model")
        tied = make_model(self.folder / "tied", tie_word_embeddings=True)
        base = ("--group-size", 32, "--calib", self.text)
        for source, flags, said in (
                (model, ("--embed-bits", 8), "--format compressed-tensors can"),
                (model, ("--head-bits", 8, "--format", "awq"), "--format compressed-tensors can"),
                (model, ("--target-bpw", 6), "--format compressed-tensors can mix"),
                (model, ("--head-bits", 4, *COMPRESSED), "expected 8 or 16"),
                (model, ("--target-bpw", 6, "--method", "rtn", *COMPRESSED), "calibration text"),
                (model, ("--target-bpw", 6, "--bits", 8, *COMPRESSED), "--bits must be less"),
                (model, ("--target-bpw", 5, *COMPRESSED), "--embed-bits 8 and --head-bits 8 make room"),
                (model, ("--embed-bits", 8, "--method", "fp8"), "--embed-bits 8"),
                (tied, ("--embed-bits", 8, *COMPRESSED), "one tensor in the file"),
        ):
            with self.subTest(flags=flags):
                result = awq("quantize", source, "-o", self.folder / "out", *base, *flags)
                self.assertEqual(result.status, USAGE, result.err)
                self.assertIn(said, result.err)
                self.assertFalse((self.folder / "out").exists())
        dry = self.check_ok(awq("quantize", model, "-o", self.folder / "out", *base, *COMPRESSED, *ENDS, "--target-bpw",
                                9, "--dry-run"))
        self.assertIn("at most 9 bits per parameter", dry.err)


if __name__ == "__main__":
    run_tests()
