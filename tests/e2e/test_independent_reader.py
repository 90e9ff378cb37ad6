#!/usr/bin/env python3
"""A model quantized in both formats is what independent_reader.py, which shares no code with the program, expects of
such files, and holds the same weights in both. Status 77: the reader needs numpy."""
import importlib.util
import subprocess
import sys
import unittest

from support import SKIPPED, SOURCE, Case, awq, run_tests

MODEL = SOURCE / "models" / "books-12m"
READER = SOURCE / "tests" / "e2e" / "independent_reader.py"


class IndependentReader(Case):
    def check_pair(self, *flags):
        folders = []
        for name in ("awq", "compressed-tensors"):
            folders.append(self.folder / name)
            self.check_ok(awq("quantize", MODEL, "-o", folders[-1], "--format", name, "--group-size", 64, "--no-eval",
                              "--calib-samples", 16, *flags))
        done = subprocess.run([sys.executable, READER, *folders], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=900, check=False)
        said = done.stdout.decode("utf-8", "replace")
        self.assertEqual(done.returncode, 0, said)
        self.assertIn("ok: ", said)

    def test_asymmetric(self):
        self.check_pair()

    def test_symmetric(self):
        self.check_pair("--symmetric")


if __name__ == "__main__":
    if importlib.util.find_spec("numpy") is None:
        print(f"skipped: numpy is not installed for {sys.executable}, and {READER.name} needs it")
        sys.exit(SKIPPED)
    run_tests()
