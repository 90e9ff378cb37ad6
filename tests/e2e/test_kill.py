#!/usr/bin/env python3
"""Whatever ends a run, and whenever: the output's name is free or carries something whole, and --resume ends with the
same bytes as a run that nothing disturbed. AWQ_KILLS sets how many kills (20)."""
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from support import (BAD_INPUT, USAGE, Case, awq, command, hashes, leftovers, make_model, make_text, manifest_problems,
                     run_tests, stop)

KILLS = int(os.environ.get("AWQ_KILLS") or 20)
LAYERS = 8
shared = {}


def setUpModule():
    folder = Path(tempfile.mkdtemp(prefix="awq-kill-")).resolve()
    unittest.addModuleCleanup(lambda: subprocess.run(["rm", "-rf", str(folder)], check=False))
    shared["model"] = make_model(folder / "model", num_hidden_layers=LAYERS)
    shared["text"] = folder / "text.txt"
    shared["text"].write_text(make_text(1500))
    shared["folder"] = folder
    begin = time.monotonic()
    result = awq(*arguments(folder / "undisturbed"))
    assert result.status == 0, result.err
    shared["seconds"] = time.monotonic() - begin
    shared["hashes"] = hashes(folder / "undisturbed")


def arguments(output, *flags, group=32):
    return [
        "quantize",
        shared["model"],
        "-o",
        output,
        "--group-size",
        group,
        "--calib",
        shared["text"],
        "--calib-samples",
        16,
        "--threads",
        2,
        *flags,
    ]


class Interruptions(Case):
    def setUp(self):
        super().setUp()
        self.output = self.folder / "out"
        self.partial = self.folder / "out.awq-partial"

    def start(self, *flags):
        process = subprocess.Popen(
            command(*arguments(self.output, *flags)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self.addCleanup(process.stderr.close)
        self.addCleanup(stop, process)
        return process

    def records(self):
        try:
            return (self.partial / "journal").read_bytes().count(b"\n")
        except OSError:
            return 0

    def start_and_wait(self, *flags, condition):
        """A run that has reached a point, or has ended."""
        process = self.start(*flags)
        while process.poll() is None and not condition():
            time.sleep(0.0005)
        return process

    def start_until_layers(self, count, *flags):
        """A run stopped dead (SIGKILL) with so many finished layers."""
        for _ in range(20):
            process = self.start_and_wait(*flags, condition=lambda: self.records() > count)
            stop(process)
            if self.partial.exists() and self.records() > count:
                return
            subprocess.run(["rm", "-rf", str(self.partial), str(self.output)], check=True)
        self.fail("the run ended before it could be stopped")

    def check_whole(self):
        """The output has its name only when it is complete."""
        if self.output.exists():
            self.assertEqual(manifest_problems(self.output), [])
            return True
        return False

    def check_finished(self):
        self.assertEqual(leftovers(self.output), ["out"])
        self.assertEqual(hashes(self.output), shared["hashes"])

    def resume(self, *flags):
        return awq(*arguments(self.output, "--resume", *flags))


class Kill(Interruptions):
    def test_any_moment(self):
        draw = random.Random(20260805)
        killed, chains = [], 0
        while len(killed) < KILLS:
            chains += 1
            output_before = self.output.exists()
            process = self.start("--resume")
            while True:
                time.sleep(draw.uniform(0, shared["seconds"] * 0.9))
                status = stop(process)
                whole = self.check_whole()
                if status == -signal.SIGKILL:
                    killed.append(self.records() - 1 if self.partial.exists() else -1)
                if status not in (0, -signal.SIGKILL):
                    self.fail(f"status {status}: {process.stderr.read()}")
                if whole and not self.partial.exists():
                    break
                # A third of the time the run may go on to its end.
                if len(killed) >= KILLS or draw.random() < 0.3:
                    self.check_ok(self.resume())
                    break
                process = self.start("--resume")
            self.assertFalse(output_before)
            self.check_finished()
            subprocess.run(["rm", "-rf", str(self.output)], check=True)
        print(f"{len(killed)} kills in {chains} chains; finished layers at each: {sorted(killed)}")

    def test_the_last_steps(self):
        # Kills as soon as a file of the end game shows up, down to the renaming of the folder.
        for name in (
            "model/config.json",
            "model/awq_report.json",
            "model/README.md",
            "model/awq_manifest.json",
            "model/awq_run.json",
            "../out",
        ):
            with self.subTest(name):
                process = self.start_and_wait(condition=lambda: os.path.exists(self.partial / name))
                stop(process)
                self.check_whole()
                self.check_ok(self.resume())
                self.check_finished()
                subprocess.run(["rm", "-rf", str(self.output)], check=True)

    def test_replacement(self):
        # The old output stays whole until the new one takes its place in one step.
        def old_output():
            subprocess.run(["rm", "-rf", str(self.output), str(self.partial)], check=True)
            self.check_ok(awq(*arguments(self.output, "--no-eval", group=64)))
            return hashes(self.output, but=())
        draw = random.Random(7)
        moments = [draw.uniform(0.1, 1.0) for _ in range(max(3, KILLS // 5))]
        for moment in [*moments, "model/awq_manifest.json", "model/awq_run.json"]:
            with self.subTest(moment):
                old = old_output()
                if isinstance(moment, str):
                    process = self.start_and_wait("--force", condition=lambda: os.path.exists(self.partial / moment))
                else:
                    process = self.start("--force")
                    time.sleep(moment * shared["seconds"])
                stop(process)
                now = hashes(self.output, but=())
                if now != old:
                    self.assertEqual(hashes(self.output), shared["hashes"])
                if now == old:
                    # Without --force the old output is still safe.
                    self.check_message(self.resume(), USAGE, "--force")
                self.check_ok(self.resume("--force"))
                self.check_finished()

    def test_torn_and_damaged_records(self):
        self.start_until_layers(3)
        journal = self.partial / "journal"
        whole = journal.read_bytes()
        lines = whole.splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
        self.check_ok(self.resume())
        self.check_finished()

    def test_damaged_record(self):
        self.start_until_layers(3)
        journal = self.partial / "journal"
        lines = journal.read_bytes().splitlines(keepends=True)
        lines[1] = lines[1].replace(b"mean_error", b"mean_err0r")
        journal.write_bytes(b"".join(lines))
        self.check_message(self.resume(), BAD_INPUT, journal, alone=False)
        self.assertFalse(self.output.exists())
        self.check_ok(awq(*arguments(self.output, "--force")))
        self.check_finished()

    def test_damaged_hidden_states(self):
        self.start_until_layers(2)
        for path in self.partial.glob("hidden.*"):
            blob = bytearray(path.read_bytes())
            blob[len(blob) // 2] ^= 1
            path.write_bytes(blob)
        self.check_message(self.resume(), BAD_INPUT, "hidden", alone=False)
        self.assertFalse(self.output.exists())

    def test_nothing_finished(self):
        # A run that was killed before its first layer holds up nobody, with or without --resume.
        for flags in ([], ["--resume"], ["--resume", "--no-clip"]):
            with self.subTest(flags):
                process = self.start_and_wait(condition=lambda: self.records() > 0 or self.partial.exists())
                stop(process)
                if self.records() > 1:
                    self.skipTest("the machine was too fast")
                self.check_ok(awq(*arguments(self.output, *flags)))
                self.assertEqual(leftovers(self.output), ["out"])
                self.check_whole()
                subprocess.run(["rm", "-rf", str(self.output)], check=True)

    def test_started_again_without_a_word(self):
        self.start_until_layers(2)
        before = hashes(self.partial)
        self.check_message(awq(*arguments(self.output)), USAGE, self.partial, "--resume", "--force", alone=False)
        self.assertEqual(hashes(self.partial), before)
        self.check_ok(awq(*arguments(self.output, "--force")))
        self.check_finished()


class Signals(Interruptions):
    def test_stop_and_resume(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                process = self.start_and_wait(condition=lambda: self.records() > 2)
                process.send_signal(number)
                status = process.wait(timeout=120)
                said = process.stderr.read().decode()
                self.assertEqual(status, 128 + number, said)
                ours = [line for line in said.splitlines() if line.startswith("awq: ")]
                self.assertEqual(len(ours), 1, said)
                self.assertIn("--resume", ours[0])
                self.assertFalse(self.output.exists())
                self.assertGreater(self.records(), 2)
                self.check_ok(self.resume())
                self.check_finished()
                subprocess.run(["rm", "-rf", str(self.output)], check=True)

    def test_before_the_first_layer(self):
        process = self.start_and_wait(condition=self.partial.exists)
        process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(timeout=120), (130, 0, -signal.SIGINT))
        if self.records() <= 1 and not self.output.exists():
            self.assertEqual(leftovers(self.output), [])

    def test_twice(self):
        for first, second in (
            (signal.SIGINT, signal.SIGINT),
            (signal.SIGTERM, signal.SIGINT),
            (signal.SIGINT, signal.SIGTERM),
        ):
            with self.subTest(first=first, second=second):
                process = self.start_and_wait(condition=lambda: self.records() > 1)
                process.send_signal(first)
                time.sleep(0.001)
                process.send_signal(second)
                # The first may have ended it already, and the kernel may deliver the second one first.
                status = process.wait(timeout=60)
                self.assertIn(status, (128 + first, 128 + second, -first, -second, 0))
                self.check_whole()
                self.check_ok(self.resume("--force"))
                self.check_finished()
                subprocess.run(["rm", "-rf", str(self.output)], check=True)

    def test_signals_reach_no_computing_thread(self):
        # A handler on such a thread would write into the matrix kernels' buffers and end one run in 250 with SIGABRT.
        draw = random.Random(9)
        for _ in range(2 * KILLS):
            process = subprocess.Popen(
                command("eval", shared["model"], "--text", shared["text"], "--threads", 2),
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(draw.uniform(0, shared["seconds"] / 3))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=120)
            self.assertIn(process.returncode, (130, 0, -signal.SIGINT), said)

    def test_run_and_eval(self):
        for args in (["eval", shared["model"], "--text", shared["text"], "--threads", 2],
                     ["run", shared["model"], "-p", "the", "-n", 60, "--threads", 2],
                     ["run", shared["model"]]):  # waits for standard input
            with self.subTest(args[0]):
                process = subprocess.Popen(
                    command(*args), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
                self.addCleanup(process.stdin.close)
                self.addCleanup(process.stderr.close)
                self.addCleanup(stop, process)
                time.sleep(shared["seconds"] / 4)
                waits = len(args) == 2
                process.send_signal(signal.SIGINT)
                status = process.wait(timeout=120)
                # -SIGINT: it came before the program was ready for it.
                self.assertIn(status, (130, -signal.SIGINT) if waits else (130, 0, -signal.SIGINT))


class Resume(Interruptions):
    def test_same_bytes_twice(self):
        self.check_ok(awq(*arguments(self.output)))
        self.check_finished()

    def test_nothing_started(self):
        self.check_ok(self.resume())
        self.check_finished()

    def test_complete(self):
        self.check_ok(awq(*arguments(self.output)))
        before = {path: path.stat().st_mtime_ns for path in self.output.iterdir()}
        for flags in ([], ["--force"], ["--threads=1"]):
            with self.subTest(flags):
                usual = arguments(self.output, "--resume", "--json", *flags)
                if flags == ["--threads=1"]:
                    at = usual.index("--threads")
                    del usual[at:at + 2]
                result = self.check_ok(awq(*usual))
                self.assertTrue(json.loads(result.out)["already_complete"])
                self.assertEqual({path: path.stat().st_mtime_ns for path in self.output.iterdir()}, before)
        self.check_finished()

    def changed(self):
        other = self.folder / "other.txt"
        other.write_text(make_text(1500, seed=6))
        yield "--group-size", {"group": 64}, []
        yield "--method", {}, ["--method", "rtn"]
        yield "--format", {}, ["--format", "compressed-tensors"]
        yield "--symmetric", {}, ["--symmetric"]
        yield "--no-clip", {}, ["--no-clip"]
        yield "--skip", {}, ["--skip", "*.o_proj"]
        yield "--max-shard-size", {}, ["--max-shard-size", "0.0001"]
        yield "text", {}, ["--no-eval"]

    def test_complete_with_changed_settings(self):
        self.check_ok(awq(*arguments(self.output)))
        for word, usual, flags in self.changed():
            with self.subTest(word):
                self.check_message(awq(*arguments(self.output, "--resume", *flags, **usual)), USAGE, self.output, word)
        self.check_finished()

    def test_changed_settings(self):
        self.start_until_layers(2)
        before = hashes(self.partial)
        for word, usual, flags in self.changed():
            with self.subTest(word):
                result = awq(*arguments(self.output, "--resume", *flags, **usual))
                self.check_message(result, USAGE, "cannot resume", word, alone=False)
        args = [
            arg if arg != shared["text"] else self.folder / "other.txt" for arg in arguments(self.output, "--resume")
        ]
        self.check_message(awq(*args), USAGE, "cannot resume", "text", alone=False)
        args = [arg if arg != 2 else 1 for arg in arguments(self.output, "--resume")]
        self.check_message(awq(*args), USAGE, "cannot resume", "--threads", alone=False)
        self.assertEqual(hashes(self.partial), before)
        self.check_ok(self.resume())
        self.check_finished()

    def test_changed_model(self):
        model = make_model(self.folder / "model", num_hidden_layers=LAYERS)
        args = [arg if arg != shared["model"] else model for arg in arguments(self.output)]
        process = subprocess.Popen(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and self.records() < 3:
            time.sleep(0.0005)
        stop(process)
        self.assertFalse(self.output.exists(), "the run ended too early")
        make_model(model, num_hidden_layers=LAYERS, seed=2)
        self.check_message(awq(*args, "--resume"), USAGE, "cannot resume", "model", alone=False)
        make_model(model, num_hidden_layers=LAYERS, rms_norm_eps=2e-5)
        self.check_message(awq(*args, "--resume"), USAGE, "cannot resume", alone=False)
        self.assertFalse(self.output.exists())

    def test_model_changes_during_the_run(self):
        model = make_model(self.folder / "model", num_hidden_layers=LAYERS)
        args = [arg if arg != shared["model"] else model for arg in arguments(self.output)]
        process = subprocess.Popen(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        while process.poll() is None and self.records() < 3:
            time.sleep(0.0005)
        os.utime(model / "model.safetensors")
        self.assertEqual(process.wait(timeout=300), BAD_INPUT)
        self.assertIn("model.safetensors", process.stderr.read().decode().splitlines()[-1])
        self.assertFalse(self.output.exists())

    def test_name_is_taken_during_the_run(self):
        process = self.start_and_wait(condition=lambda: self.records() > 1)
        process.send_signal(signal.SIGSTOP)
        self.output.mkdir()
        (self.output / "thesis.txt").write_text("precious")
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(timeout=300), USAGE)
        said = process.stderr.read().decode().splitlines()[-1]
        self.assertTrue(said.startswith("awq: ") and str(self.output) in said, said)
        self.assertEqual([path.name for path in self.output.iterdir()], ["thesis.txt"])
        (self.output / "thesis.txt").unlink()
        self.check_ok(self.resume())
        self.check_finished()

    def test_two_at_once(self):
        process = self.start_and_wait(condition=lambda: self.records() > 1)
        process.send_signal(signal.SIGSTOP)
        self.assertIsNone(process.poll(), "the run ended too early")
        for flags in ([], ["--resume"], ["--force"]):
            with self.subTest(flags):
                self.check_message(
                    awq(*arguments(self.output, *flags)), USAGE, self.partial, "another process", alone=False
                )
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(timeout=300), 0, process.stderr.read())
        self.check_finished()


if __name__ == "__main__":
    run_tests()
