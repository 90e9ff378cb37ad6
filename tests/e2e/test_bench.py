#!/usr/bin/env python3
"""awq bench: the numbers that scripts rely on, and what it refuses."""
import json
import os
import signal
import subprocess
import sys
import time

from support import BAD_INPUT, RESOURCE, USAGE, Case, awq, command, make_config, make_model, run_tests, write_json

QUICK = ("--prompt", 16, "--gen", 4, "--repetitions", 1, "--read-bytes", 1 << 20, "--threads", 1)
NUMBERS = ("prefill_tokens_per_s", "decode_tokens_per_s", "decode_bytes_per_token", "read_bandwidth_bytes_per_s",
           "decode_bandwidth_fraction", "matmul_peak_flops", "prefill_peak_fraction", "load_seconds", "peak_rss_bytes")


class Bench(Case):
    def setUp(self):
        super().setUp()
        self.config = self.folder / "config.json"
        write_json(self.config, make_config())

    def test_numbers_of_a_shape(self):
        result = self.check_ok(awq("bench", "--config", self.config, "--group-size", 32, "--batch", "1,2", "--json", *QUICK))
        report = json.loads(result.out)
        for key in NUMBERS:
            self.assertGreater(report[key], 0, key)
        self.assertIn(report["kv_dtype"], ("bf16", "f16"))  # what attention rounds to, where it does
        self.assertGreaterEqual(report["prefill_page_faults_per_token"], 0)
        self.assertEqual([point["rows"] for point in report["batch"]], [1, 2])
        self.assertEqual([point["rows"] for point in report["linears"]], [1, 2, 16])
        self.assertTrue(all(row["kernel"] for row in report["kernels"]))
        seconds = 1 / report["decode_tokens_per_s"]
        rate = report["decode_bytes_per_token"] / seconds / report["read_bandwidth_bytes_per_s"]
        self.assertAlmostEqual(report["decode_bandwidth_fraction"] / rate, 1, delta=0.01)

    def test_the_instruction_set_can_be_capped(self):
        result = self.check_ok(awq("bench", "--config", self.config, "--batch", "2", "--isa", "scalar", "--json", *QUICK))
        report = json.loads(result.out)
        self.assertEqual(report["instruction_set"], "scalar")
        self.assertEqual([peak["kernel"] for peak in report["peaks"]], ["peak_f32_ref"])

    def test_bound_threads_are_all_there(self):
        # OpenMP binds the first thread to one processor before main() runs: that is not all that the process may use.
        threads = []
        for binding in ("OMP_PROC_BIND=false", "OMP_PROC_BIND=close", "GOMP_CPU_AFFINITY=0-4095"):
            for spin in ("OMP_PLACES=threads", "GOMP_SPINCOUNT=2000"):  # the program starts itself again, or does not
                result = self.check_ok(awq("bench", "--config", self.config, "--batch", "1", "--json", *QUICK[:-2],
                                           prefix=("env", "OMP_PLACES=threads", binding, spin)))
                threads.append(json.loads(result.out)["threads"])
        self.assertEqual(threads, threads[:1] * len(threads))

    def test_threads_of_the_decode(self):
        result = self.check_ok(awq("bench", "--config", self.config, "--batch", "2", "--json", *QUICK, "--threads-decode", 2))
        report = json.loads(result.out)
        self.assertEqual((report["threads"], report["threads_decode"]), (1, 2))
        self.check_message(awq("bench", "--config", self.config, "--threads-decode", -1), USAGE, "--threads-decode -1")

    def test_table_of_a_model(self):
        model = make_model(self.folder / "model", dtype="BF16")
        result = self.check_ok(awq("bench", model, "--batch", "2", "--activations", "int15", *QUICK))
        for word in ("LlamaForCausalLM", "BF16", "prefill 16", "decode 4", "cache f16", "page faults per token", "linears, rows", "kernel for"):
            self.assertIn(word, result.out)

    def peer(self, body, name="peer"):
        """A program that notes each of its runs and then does what `body` says."""
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\nopen({str(self.folder / 'runs')!r}, 'a')"
                        f".write(' '.join(sys.argv[1:]) + '\\n')\n{body}\n")
        path.chmod(0o755)
        return path

    def test_against_another_program(self):
        peer = self.peer("p, n = int(sys.argv[1]), int(sys.argv[2])\n"
                         "print('loading', file=sys.stderr)\n"
                         "json.dump([{'model_type': 'llama 1B', 'n_prompt': p, 'n_gen': 0, 'n_depth': 0, 'avg_ts': 0.5},\n"
                         "           {'n_prompt': 0, 'n_gen': n, 'n_depth': 3, 'avg_ts': 2}], sys.stdout)")
        flags = ("bench", "--config", self.config, "--batch", "1", *QUICK[:4], "--repetitions", 3, *QUICK[6:])
        text = f"'{peer}' {{prompt}} 9 {{gen}} {{depth}} \"{{threads}}\""
        result = self.check_ok(awq(*flags, "--against", text, "--json"))
        self.assertEqual((self.folder / "runs").read_text(), "16 9 4 0 1\n" * 3)
        report = json.loads(result.out)
        against = report["against"]
        self.assertEqual((against["command"], against["name"], against["turns"]), (text, "llama 1B", 3))
        self.assertEqual([(t["test"], t["tokens"], t["depth"], t["peer_tokens_per_s"]) for t in against["tests"]],
                         [("prefill", 16, 0, 0.5), ("decode", 9, 3, 2)])
        for test in against["tests"]:
            self.assertGreater(test["tokens_per_s"], 0)
            self.assertAlmostEqual(test["ratio"] * test["peer_tokens_per_s"] / test["tokens_per_s"], 1)
        self.assertGreater(report["decode_tokens_per_s"], 0)
        table = self.check_ok(awq(*flags, "--against", text)).out
        for word in ("against", "llama 1B, medians of 3 runs in turn", "prefill 16", "decode 9 at 3", "ratio"):
            self.assertIn(word, table)

    def test_against_another_binary_of_ours(self):
        other = " ".join(command("bench", "--config", self.config, "--batch", "1", "--json", *QUICK))
        result = self.check_ok(awq("bench", "--config", self.config, "--batch", "1", *QUICK, "--against", other, "--json"))
        against = json.loads(result.out)["against"]
        self.assertIn("awq bench", against["name"])
        self.assertEqual([(t["test"], t["tokens"]) for t in against["tests"]], [("prefill", 16), ("decode", 4)])

    def test_against_a_program_that_fails(self):
        one = "json.dump([{'n_prompt': 4, 'n_gen': 0, 'avg_ts': 1}], sys.stdout)"
        changing = f"n = len(open({str(self.folder / 'runs')!r}).readlines())\n" + one.replace("4", "n")
        cases = ((self.peer("sys.exit('error: no model at all')", "fails"), BAD_INPUT, ("status 1", "no model at all")),
                 (self.peer("print('| model | t/s |')", "table"), BAD_INPUT, ("llama-bench -o json", "| model | t/s |")),
                 (self.peer("os.write(1, bytes(range(256)))", "bytes"), BAD_INPUT, ("llama-bench -o json",)),
                 (self.peer("print('[' * 1000)", "deep"), BAD_INPUT, ("nested",)),
                 (self.peer("while True: os.write(1, b'x' * 65536)", "endless"), BAD_INPUT, ("wrote more than",)),
                 (self.peer("while True: os.write(2, b'x' * 65536)", "chatter"), BAD_INPUT, ("within 3 s",)),
                 (self.peer("time.sleep(1000)", "sleeper"), BAD_INPUT, ("within 3 s",)),
                 (self.peer(changing, "changing"), BAD_INPUT, ("turn 2", "other tests")),
                 (self.folder / "nosuch", BAD_INPUT, ("cannot start", "nosuch")),
                 (self.folder, BAD_INPUT, ("cannot start",)))
        for path, status, words in cases:
            with self.subTest(path.name):
                (self.folder / "runs").unlink(missing_ok=True)
                seconds = 3 if "within 3 s" in words else 300
                result = awq("bench", "--config", self.config, "--batch", "1", *QUICK[:4], "--repetitions", 2, *QUICK[6:],
                             "--against", path, "--against-seconds", seconds, "--json")
                self.check_message(result, status, "--against", *words, alone=False)
                self.assertEqual(result.out, "")
        for text, words in (("a | b", ("shell", "sh -c")), ("a 'b", ("quote",)), ("", ("empty",)), (" ", ("no program",))):
            with self.subTest(text):
                self.check_message(awq("bench", "--config", self.config, "--against", text), USAGE, "--against", *words)
        self.check_message(awq("bench", "--config", self.config, "--against", "x", "--against-seconds", 0), USAGE,
                           "--against-seconds 0")
        self.check_message(awq("bench", "--config", self.config, "--against-seconds", 5), USAGE, "--against")
        self.check_message(awq("bench", "--kernels", "--against", "x"), USAGE, "--against")

    def test_a_stop_ends_the_other_program_too(self):
        peer = self.peer(f"open({str(self.folder / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(1000)")
        for number in (signal.SIGINT, signal.SIGTERM):
            (self.folder / "pid").unlink(missing_ok=True)
            running = subprocess.Popen(command("bench", "--config", self.config, "--against", peer),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while not (self.folder / "pid").exists() or not (self.folder / "pid").read_text():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            other = int((self.folder / "pid").read_text())
            running.send_signal(number)
            self.assertEqual(running.wait(60), 128 + number)
            with self.assertRaises(ProcessLookupError):
                os.kill(other, 0)

    def test_inspect_says_which_kernels_run(self):
        model = make_model(self.folder / "model", dtype="F16")
        for isa in ("scalar", "amx"):
            result = self.check_ok(awq("inspect", model, "--kernels", "--isa", isa, "--json"))
            rows = json.loads(result.out)["kernels"]
            self.assertEqual({row["rows"] for row in rows}, {1, 8, 32, 512})
            self.assertEqual({(row["out_features"], row["in_features"]) for row in rows},
                             {(64, 64), (32, 64), (128, 64), (64, 128), (320, 64)})
            for row in rows:
                self.assertTrue(row["kernel"])
                self.assertNotIn(row["kernel"], row["objections"])
        self.assertIn("runs", self.check_ok(awq("inspect", model, "--kernels")).out)
        self.check_message(awq("inspect", model, "--kernels", "--activations", "int3"), USAGE, "int3")
        self.check_message(awq("inspect", model, "--kernels", "--activations", "bf16"), USAGE, "int15", "numerics.md")
        self.check_message(awq("inspect", model, "--kernels", "--device", "cuda:99"), 5, "--device", "cuda")
        self.check_message(awq("inspect", model, "--device", "cuda"), USAGE, "--device", "--kernels")

    def test_kernels_of_a_device_that_is_not_there(self):
        self.check_message(awq("bench", "--kernels"), 5, "--device cuda")
        self.check_message(awq("bench", "--kernels", "--device", "cuda:99"), 5, "--device", "cuda")
        self.check_message(awq("bench", "--kernels", "--device", "tpu"), USAGE, "tpu")
        for flags in (("--shapes", "9b"), ("--group-size", 96), ("--batch", 0), ("--type", "f64")):
            with self.subTest(flags):
                self.check_message(awq("bench", "--kernels", *flags), USAGE, *flags)
        self.check_message(awq("bench", self.folder, "--kernels"), USAGE, "--kernels")
        self.check_message(awq("bench", self.folder, "--all"), USAGE, "--kernels")

    def test_refusals(self):
        self.check_message(awq("bench"), USAGE, "--config")
        self.check_message(awq("bench", self.folder, "--bits", 4), USAGE, "--config")
        self.check_message(awq("bench", self.folder, "--group-size", 32), USAGE, "--config")
        self.check_message(awq("bench", "--config", self.config, "--batch", "0", *QUICK), USAGE, "--batch 0")
        self.check_message(awq("bench", "--config", self.config, "--kv-dtype", "f64", *QUICK), USAGE, "f64")
        self.check_message(awq("bench", "--config", self.config, "--read-bytes", "-1"), USAGE, "--read-bytes")
        self.check_message(awq("bench", "--config", self.folder / "none.json", *QUICK), BAD_INPUT, "none.json", alone=False)
        huge = make_config(hidden_size=4096, intermediate_size=16384, num_hidden_layers=4096)
        write_json(self.config, huge)  # 550 GB with 4 bits
        self.check_message(awq("bench", "--config", self.config, *QUICK), RESOURCE, "weights need about", alone=False)
        write_json(self.config, {"architectures": ["NoSuchModel"]})
        self.check_message(awq("bench", "--config", self.config, *QUICK), BAD_INPUT, "NoSuchModel", alone=False)


if __name__ == "__main__":
    run_tests()
