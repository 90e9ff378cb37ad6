#!/usr/bin/env python3
"""What AutoAWQ's own procedure would cost for one decoder layer, from pieces of it that are timed here.

    autoawq_cost.py CONFIG.json [--tokens 65536] [--threads 1]      needs PyTorch

AutoAWQ searches the scales of a group by running the module that holds it on all calibration tokens, in the precision of
the model's CPU fallback (binary32), once for each of 20 candidates. The modules are run here on 2048 tokens; what takes
time in proportion to tokens is multiplied. Left out, in AutoAWQ's favour: saving and restoring weights and activations.
"""
import argparse
import json
import time

import torch
from torch.nn.functional import scaled_dot_product_attention, silu

PIECE = 2048
CANDIDATES = 20
GROUP = 128


def pseudo_quantize(weight):
    shape = weight.shape
    weight = weight.reshape(-1, GROUP)
    high, low = weight.amax(1, keepdim=True), weight.amin(1, keepdim=True)
    scale = (high - low).clamp(min=1e-5) / 15
    zero = (-torch.round(low / scale)).clamp_(0, 15)
    return ((torch.clamp(torch.round(weight / scale) + zero, 0, 15) - zero) * scale).reshape(shape)


def seconds(work):
    """CPU time of the second run: other jobs of the machine do not count."""
    work()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--tokens", type=int, default=128 * 512)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open(args.config, encoding="utf-8") as file:
        config = json.load(file)
    hidden, inner, heads = (config[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads"))
    kv_heads = config.get("num_key_value_heads", heads)
    head = config.get("head_dim", hidden // heads)
    pieces = args.tokens / PIECE
    x, wide = torch.randn(PIECE, hidden), torch.randn(PIECE, inner)
    shapes = {"q": (heads * head, hidden), "k": (kv_heads * head, hidden), "v": (kv_heads * head, hidden),
              "o": (hidden, heads * head), "gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner)}
    w = {name: torch.randn(shape) / shape[1] ** 0.5 for name, shape in shapes.items()}

    def attention():
        blocks = PIECE // args.block
        q, k, v = ((x @ w[n].T).view(blocks, args.block, -1, head).transpose(1, 2) for n in ("q", "k", "v"))
        repeat = heads // kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        out = scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(1, 2).reshape(PIECE, -1) @ w["o"].T

    def mlp():
        return (silu(x @ w["gate"].T) * (x @ w["up"].T)) @ w["down"].T

    def quantize(*names):
        for name in names:
            pseudo_quantize(w[name] * 1.5)

    run = {"attention": seconds(attention), "mlp": seconds(mlp), "down": seconds(lambda: wide @ w["down"].T),
           "o": seconds(lambda: x[:, : heads * head] @ w["o"].T) if hidden == heads * head else 0.0}
    groups = [("q k v", run["attention"], seconds(lambda: quantize("q", "k", "v"))),
              ("gate up", run["mlp"], seconds(lambda: quantize("gate", "up"))),
              ("down", run["down"], seconds(lambda: quantize("down")))]
    if kv_heads == heads:
        groups.append(("o", run["o"], seconds(lambda: quantize("o"))))
    total = (run["attention"] + run["mlp"]) * pieces  # one pass records all inputs
    print(f"forward: {total:.0f} s")
    for name, module, weights in groups:
        cost = CANDIDATES * (module * pieces + weights)
        total += cost
        print(f"{name}: {CANDIDATES} runs of {module * pieces:.1f} s and {weights:.2f} s: {cost:.0f} s")
    print(f"one layer, {args.tokens} tokens, {args.threads} thread(s): {total:.0f} s of CPU time")


if __name__ == "__main__":
    main()
