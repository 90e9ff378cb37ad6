#!/usr/bin/env python3
"""Makes packed/: small random quantized linears, packed without any code of awq.cpp, and packed.json.

The compressed-tensors files are packed by the compressed_tensors package. The AWQ file is packed by a restatement in
numpy of the published "gemm" bit layout, checked against a worked example. Each safetensors file holds the stored
tensors of the module "layer" and, as "expected", its dequantized weights in float32. packed.json holds, for each file,
the codec, [N, K] and the quantization_config of a model that would contain it.

    pip install torch==2.15.0 compressed-tensors==0.20.0 safetensors numpy
    python make_packed.py
"""
import json
from pathlib import Path

import compressed_tensors
import numpy as np
import torch
from compressed_tensors.compressors import PackedQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from safetensors.numpy import save_file

FOLDER = Path(__file__).resolve().parent / "packed"
FILE_LIMIT = 20_000  # bytes
IN_FEATURES = 64
GROUP_SIZE = 32
SUBNORMAL_SCALE = 11 * 2.0 ** -24  # what a group of zeros gets from some quantizers


# -------------------------------------------------------------------------------------------------- the same for all

def random_linear(seed, out_features, groups, symmetric):
    """codes [N, K] and zero points [N, G] of the whole range 0..15, scales [N, G] in F16."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 16, (out_features, IN_FEATURES))
    zero_points = random.integers(0, 16, (out_features, groups))
    scales = random.uniform(0.001, 0.1, (out_features, groups)).astype(np.float16)
    scales[3, -1] = SUBNORMAL_SCALE
    if symmetric:
        zero_points[:] = 8
    else:
        zero_points[:2] = [[0], [15]]
    return codes, zero_points, scales


def dequantize(codes, zero_points, scales):
    """F32 [N, K]. Exact: at most 4 bits times 11 bits."""
    inputs = codes.shape[1] // scales.shape[1]
    return ((codes - np.repeat(zero_points, inputs, axis=1)) * np.repeat(scales.astype(np.float64), inputs, axis=1)
            ).astype(np.float32)


# -------------------------------------------------------------------------------------------------------- AWQ, "gemm"

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i of a word holds output channel 8c + AWQ_ORDER[i]


def pack_awq(values):
    """[rows, N] of 0..15 -> int32 [rows, N / 8]."""
    words = np.zeros((values.shape[0], values.shape[1] // 8), np.uint32)
    for i, channel in enumerate(AWQ_ORDER):
        words |= values[:, channel::8].astype(np.uint32) << np.uint32(4 * i)
    return words.view(np.int32)


def unpack_awq(words, out_features):
    """The inverse from its own formula: channel n is nibble p(n % 8) of word n / 8, p(c) = (c >> 1) + 4 * (c & 1)."""
    values = np.zeros((words.shape[0], out_features), np.int64)
    for n in range(out_features):
        nibble = (n % 8 >> 1) + 4 * (n % 8 & 1)
        values[:, n] = words.view(np.uint32)[:, n // 8] >> np.uint32(4 * nibble) & np.uint32(15)
    return values


def check_awq_example():
    """The worked example of docs/formats/awq-gemm.md: N = 8, K = 4, one group."""
    codes = np.array([[0, 8, 10, 15], [15, 0, 5, 10], [15, 6, 12, 3], [10, 5, 0, 0],
                      [0, 0, 0, 0], [15, 0, 12, 8], [5, 10, 15, 15], [4, 10, 0, 15]])
    zero_points = np.array([[7], [5], [0], [15], [0], [8], [0], [6]])
    assert pack_awq(codes.T)[:, 0].tolist() == [1336889584, -1605328792, 201715914, -133500865]
    assert pack_awq(zero_points.T).tolist() == [[1760886791]]
    assert pack_awq(np.arange(8)[None]).tolist() == [[0x75316420]]
    assert pack_awq(np.arange(15, 7, -1)[None]).view(np.uint32).tolist() == [[0x8ACE9BDF]]
    assert (unpack_awq(pack_awq(codes.T), 8) == codes.T).all()


def awq_gemm(seed, out_features):
    codes, zero_points, scales = random_linear(seed, out_features, IN_FEATURES // GROUP_SIZE, symmetric=False)
    tensors = {"qweight": pack_awq(codes.T), "qzeros": pack_awq(zero_points.T), "scales": scales.T}
    assert (unpack_awq(tensors["qweight"], out_features) == codes.T).all()
    assert (unpack_awq(tensors["qzeros"], out_features) == zero_points.T).all()
    config = {"quant_method": "awq", "zero_point": True, "group_size": GROUP_SIZE, "bits": 4, "version": "gemm",
              "modules_to_not_convert": None}
    return "awq", tensors, dequantize(codes, zero_points, scales), config


# ------------------------------------------------------------------------------ compressed-tensors, "pack-quantized"

def compressed(seed, out_features, strategy, symmetric):
    one_group = strategy == "channel"
    groups = 1 if one_group else IN_FEATURES // GROUP_SIZE
    codes, zero_points, scales = random_linear(seed, out_features, groups, symmetric)
    weights = QuantizationArgs(num_bits=4, type="int", symmetric=symmetric, strategy=strategy,
                               group_size=None if one_group else GROUP_SIZE)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)

    # The package quantizes weights that are exact multiples of the scale, in float32 like its decompression below: F16
    # would round. It counts codes and zero points from -8.
    exact = dequantize(codes, zero_points, scales)
    state = {"weight": torch.from_numpy(exact), "weight_scale": torch.from_numpy(scales.astype(np.float32)),
             "weight_zero_point": torch.from_numpy((zero_points - 8).astype(np.int8))}
    packed = PackedQuantizationCompressor.compress(state, scheme)
    assert torch.equal(packed["weight_packed"], pack_to_int32(torch.from_numpy((codes - 8).astype(np.int8)), 4))
    assert ("weight_zero_point" in packed) == (not symmetric)
    expected = PackedQuantizationCompressor.decompress(packed, scheme)["weight"].numpy()
    assert expected.dtype == np.float32 and (expected == exact).all()

    tensors = {suffix: tensor.numpy() for suffix, tensor in packed.items()} | {"weight_scale": scales}
    config = QuantizationConfig(config_groups={"group_0": scheme}, quant_method="compressed-tensors",
                                format="pack-quantized", quantization_status="compressed", ignore=["lm_head"])
    return "compressed-tensors", tensors, expected, config.model_dump(mode="json")


# --------------------------------------------------------------------------------------------------------------- files

def make(name, codec, tensors, expected, config):
    path = FOLDER / f"{name}.safetensors"
    stored = {f"layer.{suffix}": np.ascontiguousarray(tensor) for suffix, tensor in tensors.items()}
    save_file(stored | {"expected": expected}, path)
    path.chmod(0o644)
    size = path.stat().st_size
    print(f"{path.name}: {size} bytes, {', '.join(f'{key} {list(t.shape)}' for key, t in stored.items())}")
    if size > FILE_LIMIT:
        raise SystemExit(f"{path.name}: over the limit of {FILE_LIMIT} bytes")
    out_features, in_features = expected.shape
    return {"name": name, "codec": codec, "out_features": out_features, "in_features": in_features,
            "quantization_config": config}


def main():
    check_awq_example()
    FOLDER.mkdir(exist_ok=True)
    rows = [make("awq_gemm_asym", *awq_gemm(1, 32)),
            make("ct_asym", *compressed(2, 24, "group", symmetric=False)),
            make("ct_sym", *compressed(3, 32, "group", symmetric=True)),
            make("ct_channel_asym", *compressed(4, 24, "channel", symmetric=False))]
    made_with = f"compressed-tensors {compressed_tensors.__version__}, numpy {np.__version__}"
    lines = ",\n".join(json.dumps(row) for row in rows)  # one line per file
    (FOLDER / "packed.json").write_text(f'{{"made_with": "{made_with}",\n"files": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
