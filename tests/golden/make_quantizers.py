#!/usr/bin/env python3
"""Makes quantizers/golden.json: what published quantizers make of small linears.

Weights and inputs come from the counter-based generator of src/base/random.h, restated here, so that the file holds
results alone. `awq` cases run the functions of AutoAWQ's own AwqQuantizer (scale search, clip search, rounding) in
float32 on the CPU; only what they import and do not use is stubbed. `gptq` cases are the textbook algorithm with the
inverse Cholesky factor, in float64: act-order, static groups, 1 % damping.

    pip install torch==2.15.0 numpy
    pip download autoawq==0.2.9 --no-deps --no-binary :all: && tar xzf autoawq-0.2.9.tar.gz
    python make_quantizers.py autoawq-0.2.9/awq/quantize/quantizer.py
"""
import base64
import importlib.util
import json
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch

OUT = Path(__file__).resolve().parent / "quantizers" / "golden.json"
MASK = (1 << 64) - 1


def mix64(x):
    x = (x + np.uint64(0x9E3779B97F4A7C15))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed, count):
    with np.errstate(over="ignore"):
        start = mix64(np.array([seed], dtype=np.uint64))
        bits = mix64(start + np.arange(count, dtype=np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0 ** -53


def random_floats(seed, count):
    return (uniform(seed, count) * 2 - 1).astype(np.float32)


def linear(case):
    """Heavy-tailed weights [N, K] and inputs [T, K]: channels of very different size, neighbours alike."""
    n, k, t, seed = case["rows"], case["width"], case["tokens"], case["seed"]
    w = random_floats(seed, n * k)
    w = (w * w * w).reshape(n, k)
    x = random_floats(seed + 1, t * k).reshape(t, k)
    mixed = x.copy()
    mixed[:, 1:] += x[:, :-1]
    size = np.exp2(4 * uniform(seed + 2, k)).astype(np.float32)
    return w, mixed * size


def load_quantizer(path):
    stub = lambda name: sys.modules.setdefault(name, mock.MagicMock())
    for name in ("transformers", "tqdm", "awq", "awq.utils", "awq.utils.calib_data", "awq.quantize",
                 "awq.quantize.scale", "awq.modules", "awq.modules.linear", "awq.utils.utils", "awq.utils.module",
                 "transformers.models", "accelerate"):
        stub(name)
    spec = importlib.util.spec_from_file_location("published", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.clear_memory = lambda *a: None
    module.get_op_name = lambda module, op: ""
    return module.AwqQuantizer


class Linear(torch.nn.Linear):
    def state_dict(self, *args, **kwargs):
        # The published code restores weights from here after each candidate; on a CPU its copy would share memory.
        return {key: value.clone() for key, value in super().state_dict(*args, **kwargs).items()}


@torch.no_grad()
def run_awq(quantizer_class, case):
    w, x = linear(case)
    q = quantizer_class.__new__(quantizer_class)
    q.group_size, q.w_bit, q.zero_point, q.duo_scaling = case["group_size"], case["bits"], True, True
    q.max_chunk_memory, q.n_parallel_calib_samples = 1 << 30, None
    layer = Linear(case["width"], case["rows"], bias=False)
    layer.weight.data = torch.from_numpy(w.copy())  # the search multiplies it in place
    inputs = torch.from_numpy(x)[None]
    grid = {}
    best = q._compute_best_scale

    def spy(xx, w_mean, x_mean, *rest):
        grid["w"], grid["x"] = w_mean, x_mean
        return best(xx, w_mean, x_mean, *rest)

    q._compute_best_scale = spy
    q._sanitize_kwargs = lambda kwargs, module: {}
    scale = q._search_best_scale(None, None, [layer], inputs)[2]
    alphas = []
    for i in range(20):
        s = (grid["x"].pow(i / 20) / (grid["w"].pow(1 - i / 20) + 1e-4)).clamp(min=1e-4)
        alphas.append((s / (s.max() * s.min()).sqrt() - scale).abs().max().item())
    alpha = int(np.argmin(alphas)) / 20
    scaled = torch.from_numpy(w) * scale
    bound = q._compute_best_clip(scaled, inputs / scale)
    grouped = scaled.reshape(*bound.shape[:2], -1)
    clamped = torch.clamp(grouped, -bound, bound).reshape(scaled.shape)
    dequantized, scales, zeros = q.pseudo_quantize_tensor(clamped)
    repeat = case["group_size"]
    codes = torch.round(dequantized / scales.repeat_interleave(repeat, 1)) + zeros.repeat_interleave(repeat, 1)
    return dict(case, alpha=alpha, codes=base64.b64encode(codes.to(torch.uint8).numpy().tobytes()).decode(),
                scale_sum=float(scales.double().sum()))


def run_gptq(case):
    w, x = linear(case)
    g, largest = case["group_size"], 2 ** case["bits"] - 1
    w, x = torch.from_numpy(w).double(), torch.from_numpy(x).double()
    n, k = w.shape
    gram = x.T @ x
    grouped = w.float().reshape(n, -1, g)
    low, high = grouped.amin(-1).clamp(max=0), grouped.amax(-1).clamp(min=0)
    scale = ((high - low).clamp(min=1e-5) / largest).half().float()
    zero = torch.round(-low / scale).clamp(0, largest)
    scale, zero = scale.double(), zero.double()
    order = torch.argsort(gram.diag(), descending=True, stable=True)
    h = gram.clone()
    h += 0.01 * h.diag().mean() * torch.eye(k, dtype=torch.float64)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h[order][:, order])), upper=True)
    rest = w[:, order].clone()
    codes = torch.zeros(n, k, dtype=torch.float64)
    for i in range(k):
        group = order[i] // g
        s, z = scale[:, group], zero[:, group]
        code = (torch.round(rest[:, i] / s) + z).clamp(0, largest)
        codes[:, order[i]] = code
        error = (rest[:, i] - (code - z) * s) / upper[i, i]
        rest[:, i:] -= error[:, None] * upper[i, i:][None]
    d = (codes - zero.repeat_interleave(g, 1)) * scale.repeat_interleave(g, 1) - w
    return dict(case, codes=base64.b64encode(codes.to(torch.uint8).numpy().tobytes()).decode(),
                loss=float(((d @ gram) * d).sum()))


def main():
    awq = [dict(rows=64, width=128, tokens=1100, seed=11, group_size=32, bits=4),
           dict(rows=64, width=128, tokens=700, seed=21, group_size=128, bits=4),
           dict(rows=64, width=128, tokens=1100, seed=31, group_size=64, bits=3)]
    gptq = [dict(rows=48, width=192, tokens=900, seed=41, group_size=64, bits=4),
            dict(rows=64, width=128, tokens=600, seed=51, group_size=32, bits=3),
            dict(rows=32, width=384, tokens=1200, seed=61, group_size=128, bits=4)]
    quantizer = load_quantizer(sys.argv[1])
    OUT.parent.mkdir(exist_ok=True)
    golden = {"awq": [run_awq(quantizer, case) for case in awq], "gptq": [run_gptq(case) for case in gptq]}
    OUT.write_text(json.dumps(golden, indent=1) + "\n")
    print([c["alpha"] for c in golden["awq"]], [c["loss"] for c in golden["gptq"]], OUT.stat().st_size)


if __name__ == "__main__":
    main()
