#!/usr/bin/env python3
"""lm-eval-harness asks a running server (its model local-completions) the questions that `awq eval --tasks` answers: the
accuracies have to be equal. Needs the package `lm_eval` with its API extra; AWQ_LM_EVAL_PYTHON may name a Python that has it."""
import importlib.util
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from server_support import BOOKS, Server
from support import SKIPPED, SOURCE, Case, awq, run_tests

HERE = importlib.util.find_spec("lm_eval") is not None
DATA = Path(os.environ.get("AWQ_SHARED_DATA") or SOURCE.parent / "shared" / "data") / "text" / "eval"
ITEMS = int(os.environ.get("AWQ_LM_EVAL_ITEMS", "40"))
# lm-eval cuts a text at one token less than the context, `awq eval` at one more: questions that are shorter are cut by neither.
CHARACTERS = 600
LOG_PROBABILITY = 1e-4  # kLogProbability of tests/tolerances.h: as against lm-eval's own engine


@unittest.skipUnless(HERE, "the package lm_eval is not installed")
@unittest.skipUnless(DATA.is_dir(), "the shared data are not here (AWQ_SHARED_DATA)")
class LmEval(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = tempfile.TemporaryDirectory()
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_DATASETS_CACHE=str(Path(cls.place.name) / "cache"))
        sys.path.insert(0, str(SOURCE / "tests" / "golden"))
        import make_task_goldens as goldens

        logging.disable(logging.WARNING)
        cls.tasks = list(goldens.FILES)
        goldens.write_tasks(DATA, ITEMS, cls.place.name, lambda row: len(json.dumps(row)) < CHARACTERS)
        cls.server = Server(BOOKS)
        out = awq("eval", BOOKS, "--tasks", ",".join(cls.tasks), "--task-dir", cls.place.name, "--json", "--threads", 2)
        if out.status != 0:
            raise RuntimeError(out.err)
        cls.ours = json.loads(out.out)["tasks"]

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        cls.place.cleanup()
        super().tearDownClass()

    def ask(self, **settings):
        """Task -> measure -> value, as lm-eval finds them through the server."""
        import lm_eval
        from lm_eval.tasks import TaskManager

        settings = {"model": "books-12m", "base_url": f"http://127.0.0.1:{self.server.port}/v1/completions", "tokenizer": str(BOOKS),
                    "tokenizer_backend": "huggingface", "add_bos_token": True, "max_length": 256, "max_retries": 1, **settings}
        answers = lm_eval.simple_evaluate("local-completions", model_args=settings, tasks=["local_" + name for name in self.tasks],
                                          task_manager=TaskManager(include_path=self.place.name), num_fewshot=0, bootstrap_iters=0,
                                          log_samples=False)
        return {name: {key.split(",")[0]: value for key, value in answers["results"]["local_" + name].items()} for name in self.tasks}

    def check(self, theirs):
        for name, ours in self.ours.items():
            for measure in ("acc", "acc_norm"):
                if measure in ours:
                    self.assertEqual(theirs[name][measure], ours[measure], f"{name} {measure}")
            if "perplexity" in ours:
                nll = math.log(ours["perplexity"])
                self.assertLess(abs(math.log(theirs[name]["perplexity"]) - nll), LOG_PROBABILITY * (1 + nll))
        self.assertEqual([self.ours[name]["items"] for name in ("lambada", "piqa", "arc_easy", "copa")], [ITEMS] * 3 + [min(ITEMS, 100)])
        # Not all right or all wrong: an equality of zeros would say little.
        self.assertTrue(any(0.2 < row["acc"] < 0.8 for row in self.ours.values()))

    def test_batches_of_token_ids(self):
        self.check(self.ask(batch_size=8))

    def test_single_texts_side_by_side(self):
        self.check(self.ask(batch_size=1, num_concurrent=4))


if __name__ == "__main__":
    other = os.environ.get("AWQ_LM_EVAL_PYTHON")
    if not HERE and other:
        environment = {key: value for key, value in os.environ.items() if key != "AWQ_LM_EVAL_PYTHON"}
        sys.exit(subprocess.run([other, *sys.argv], env=environment, check=False).returncode)
    if not HERE:
        print("skipped: the package lm_eval is not installed (AWQ_LM_EVAL_PYTHON may name a Python that has it)")
        sys.exit(SKIPPED)
    run_tests()
