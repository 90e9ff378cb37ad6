#!/usr/bin/env python3
"""Writes gguf/blocks.safetensors: rows of weights and the bytes that llama.cpp makes of them, for each GGUF type.

The K types come from llama.cpp's own C functions (quantize_row_*_ref of ggml/src/ggml-quants.c), built without fused
multiply-add, whose use a compiler is free to choose:

  gcc -O2 -ffp-contract=off -fPIC -shared -Iggml/include -Iggml/src ggml/src/ggml-quants.c -lm -o libquants.so \\
      -Wl,--unresolved-symbols=ignore-all -Wl,-z,lazy
  make_gguf_blocks.py libquants.so

The others come from there as well and must equal what the published `gguf` package makes."""
import ctypes
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

TYPES = {"Q4_0": ("q4_0", 32, 18), "Q4_1": ("q4_1", 32, 20), "Q5_0": ("q5_0", 32, 22), "Q5_1": ("q5_1", 32, 24),
         "Q8_0": ("q8_0", 32, 34), "Q4_K": ("q4_K", 256, 144), "Q5_K": ("q5_K", 256, 176), "Q6_K": ("q6_K", 256, 210)}
IN_PACKAGE = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def rows():
    g = np.random.default_rng(7)
    normal = g.standard_normal((6, 256)) * 0.04
    heavy = g.standard_t(2.5, (4, 256)) * 0.02
    positive = np.abs(g.standard_normal((1, 256))) * 0.1 + 0.01
    negative = -positive[:, ::-1]
    steps = np.tile(np.arange(-8, 8) / 64, 16)[None]  # every code is hit exactly, many ties
    spike = g.standard_normal((1, 256)) * 1e-4
    spike[0, 77] = 3.5
    tiny = g.standard_normal((1, 256)) * 1e-7
    bf16 = (normal[:1].astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
    holes = normal[1:2].copy()
    holes[0, 32:96] = 0
    holes[0, 128:160] = 0.03125
    return np.concatenate([normal, heavy, positive, negative, steps, spike, tiny, bf16, holes,
                           np.zeros((1, 256))]).astype(np.float32)


def main():
    lib = ctypes.CDLL(sys.argv[1], mode=os.RTLD_LAZY)
    x = rows()
    out = {"x": x}
    for name, (c_name, block, size) in TYPES.items():
        function = getattr(lib, f"quantize_row_{c_name}_ref")
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        packed = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
        for i in range(x.shape[0]):
            row = np.ascontiguousarray(x[i])
            function(row.ctypes.data, packed[i].ctypes.data, row.size)
        kind = gguf.GGMLQuantizationType[name]
        if name in IN_PACKAGE:
            assert np.array_equal(gguf.quants.quantize(x, kind), packed), name
        out[name] = packed
        out[name + ".values"] = gguf.quants.dequantize(packed[::4], kind).astype(np.float32)  # enough for a layout
    save_file(out, "gguf/blocks.safetensors", metadata={"format": "pt"})
    print({k: v.shape for k, v in out.items()})


if __name__ == "__main__":
    main()
