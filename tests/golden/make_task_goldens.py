#!/usr/bin/env python3
"""Writes tasks.json: what lm-eval-harness answers on the first questions of each task with books-12m.

The data files (../shared/data/text/eval) have the fields query, choices, gold; they are rewritten here into the fields that lm-eval's own task
files expect, so that its prompts and its arithmetic are the ones that are recorded.

  make_task_goldens.py MODEL DATA_FOLDER ITEMS OUT.json      (lm-eval 0.4.13, transformers, CPU, float32)"""
import json
import os
import sys
import tempfile

import lm_eval
from lm_eval.tasks import TaskManager


def lambada(r):
    return {"text": r["context"] + " " + r["continuation"]}


def piqa(r):
    goal = r["query"].removeprefix("Question: ").removesuffix("\n")
    return {"goal": goal, "sol1": r["choices"][0], "sol2": r["choices"][1], "label": r["gold"]}


def arc_easy(r):
    labels = "ABCDEFGH"[: len(r["choices"])]
    return {"question": r["query"].removeprefix("Question: "), "choices": {"text": r["choices"], "label": list(labels)},
            "answerKey": labels[r["gold"]]}


def hellaswag(r):
    # Their query is what lm-eval makes of three fields; the third is capitalized, and so stays empty here.
    label, ctx = r["query"].split(": ", 1)
    return {"activity_label": label, "ctx_a": ctx, "ctx_b": "", "endings": r["choices"], "label": str(r["gold"])}


def copa(r):
    premise, word = r["query"].rsplit(", ", 1)
    return {"premise": premise + ".", "question": {"because": "cause", "therefore": "effect"}[word],
            "choice1": r["choices"][0], "choice2": r["choices"][1], "label": r["gold"]}


FILES = {"lambada": ("lambada_openai.jsonl", "lambada_openai", "lambada/lambada_openai.yaml", "test", lambada),
         "piqa": ("piqa.jsonl", "piqa", "piqa/piqa.yaml", "validation", piqa),
         "arc_easy": ("arc_easy.jsonl", "arc_easy", "arc/arc_easy.yaml", "test", arc_easy),
         "hellaswag": ("hellaswag_small.jsonl", "hellaswag", "hellaswag/hellaswag.yaml", "validation", hellaswag),
         "copa": ("copa.jsonl", "copa", "super_glue/copa/default.yaml", "validation", copa)}


def write_tasks(data, count, folder, wanted=lambda row: True):
    """For each task the first `count` questions that are wanted, as NAME.jsonl and NAME.yaml (task local_NAME) in `folder`."""
    tasks_folder = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")
    for name, (file, _, yaml, split, convert) in FILES.items():
        path = os.path.join(folder, name + ".jsonl")
        with open(os.path.join(data, file)) as f:
            chosen = [r for r in map(json.loads, f) if wanted(r)][:count]
        with open(path, "w") as f:
            f.writelines(json.dumps(convert(r)) + "\n" for r in chosen)
        with open(os.path.join(folder, name + ".yaml"), "w") as f:
            f.write(f"include: {tasks_folder}/{yaml}\ntask: local_{name}\ntag: null\ndataset_path: json\ndataset_name: null\n"
                    f"dataset_kwargs:\n  data_files:\n    {split}: {path}\n"
                    f"training_split: null\nvalidation_split: {'validation' if split == 'validation' else 'null'}\n"
                    f"test_split: {'test' if split == 'test' else 'null'}\n")


def main():
    model, data, count, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    from lm_eval.models.huggingface import HFLM  # takes seconds, and others import write_tasks alone
    lm = HFLM(pretrained=model, device="cpu", dtype="float32", batch_size=8)
    result = {"lm_eval": lm_eval.__version__, "model": os.path.basename(os.path.normpath(model)), "tasks": {}}
    with tempfile.TemporaryDirectory() as tmp:
        write_tasks(data, count, tmp)
        manager = TaskManager(include_path=tmp)
        answers = lm_eval.simple_evaluate(lm, tasks=["local_" + n for n in FILES], task_manager=manager, num_fewshot=0,
                                          log_samples=True, bootstrap_iters=0)
    for name in FILES:
        metrics = {k.split(",")[0]: v for k, v in answers["results"]["local_" + name].items()
                   if k.split(",")[0] in ("acc", "acc_norm", "acc_stderr", "acc_norm_stderr", "perplexity") and isinstance(v, float)}
        samples = sorted(answers["samples"]["local_" + name], key=lambda s: s["doc_id"])
        metrics["items"] = len(samples)
        metrics["log_probabilities"] = [[round(float(r[0][0]), 4) for r in s["resps"]] for s in samples]
        result["tasks"][name] = metrics
    with open(out, "w") as f:
        json.dump(result, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
