#!/usr/bin/env python3
"""One model under every instruction set: capped with --isa on this processor, and on an emulated one without AVX2. With
integer activations the products are the same bits everywhere (docs/numerics.md), so the text is too."""
import json
import os
import shutil
import subprocess
from pathlib import Path

from support import BINARY, SOURCE, Case, awq, command, run_tests

BOOKS = SOURCE / "models" / "books-12m"
# In rising order, with the word of /proc/cpuinfo that tells of each.
SETS = {"scalar": "", "avx2": "avx2", "avx512": "avx512dq", "avx512vnni": "avx512_vnni", "amx": "amx_int8"}
WARNING = "no AVX2"


def processor_words():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split())
    return set()


class InstructionSets(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.words = processor_words()

    def setUp(self):
        super().setUp()
        self.model = self.folder / "books-w4"
        self.check_ok(awq("quantize", BOOKS, "-o", self.model, "--method", "rtn", "--no-eval"))

    def arguments(self, tokens, *flags):
        return ("run", self.model, "-p", "The old man looked at the", "-n", tokens, "--head", "int8", "--threads", 2,
                "--json", *flags)

    def ids(self, done):
        self.assertEqual(done.status, 0, done.err)
        return json.loads(done.out)["token_ids"]

    def test_every_cap_gives_the_same_tokens(self):
        here = [name for name, word in SETS.items() if not word or word in self.words]
        expected = self.ids(awq(*self.arguments(48)))
        self.assertEqual(len(expected), 48)
        for name in here:
            with self.subTest(isa=name):
                done = awq(*self.arguments(48, "--isa", name))
                self.assertEqual(self.ids(done), expected)
                self.assertNotIn(WARNING, done.err)  # what was asked for is nothing to warn of
        self.assertEqual(self.ids(awq(*self.arguments(48, "--threads-decode", 1))), expected)

    def test_a_processor_without_avx2(self):
        """It is told so, nothing is an illegal instruction, and the text is right."""
        emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
        if emulator is None or "sse4_2" not in self.words:
            self.skipTest("needs qemu-user on x86-64")
        if b"__asan_init" in BINARY.read_bytes():
            self.skipTest("sanitizers do not run in the emulator")
        expected = self.ids(awq(*self.arguments(6, "--isa", "scalar")))
        # With the variable set the program does not start itself anew, which would leave the emulator.
        environment = {**os.environ, "GOMP_SPINCOUNT": "0"}
        done = subprocess.run([emulator, "-cpu", "Nehalem", *command(*self.arguments(6))], env=environment, timeout=600,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        said = done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, 0, said)
        self.assertEqual(json.loads(done.stdout)["token_ids"], expected)
        self.assertEqual(said.count(WARNING), 1, said)


if __name__ == "__main__":
    run_tests()
