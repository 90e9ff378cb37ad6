#!/usr/bin/env python3
"""Reads an AWQ (gemm) folder and a compressed-tensors (pack-quantized) folder of the same model and settings, and
checks that both say what loaders expect and hold the same weights. Shares no code with awq.cpp.

    independent_reader.py OUT_AWQ OUT_COMPRESSED_TENSORS [--load-dir ORIGINAL]
    independent_reader.py --alone OUT_COMPRESSED_TENSORS --load-dir ORIGINAL

The second form is for files that only compressed-tensors has (several widths, embedding and head with codes): their
weights must be where rounding puts the original's where nothing but rounding happened to them.

Exit status: 0 all checks passed, 1 a check failed, 77 numpy is missing.
"""
import argparse
import importlib
import json
import re
import sys
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("skipped: numpy is not installed")
    sys.exit(77)

PROBLEMS = []


def check(ok, message):
    if not ok:
        PROBLEMS.append(message)
        print("MISMATCH", message)
    return ok


# ------------------------------------------------------------------------------------------------ reading a folder

NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BF16": "<u2"}


class Folder:
    """Tensors of a checkpoint folder, read one at a time."""

    def __init__(self, path):
        self.path = Path(path)
        self.config = json.loads((self.path / "config.json").read_text())
        self.quantization = self.config.get("quantization_config") or {}
        self.entries = {}  # name -> (file, first byte, dtype, shape)
        for file in self._files():
            with open(file, "rb") as stream:
                header_bytes = int.from_bytes(stream.read(8), "little")
                header = json.loads(stream.read(header_bytes))
            for name, entry in header.items():
                if name != "__metadata__":
                    check(name not in self.entries, f"{file}: {name} is stored twice")
                    first = 8 + header_bytes + entry["data_offsets"][0]
                    self.entries[name] = (file, first, entry["dtype"], entry["shape"])

    def _files(self):
        index = self.path / "model.safetensors.index.json"
        if not index.exists():
            return [self.path / "model.safetensors"]
        return [self.path / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]

    def dtype(self, name):
        return self.entries[name][2]

    def shape(self, name):
        return self.entries[name][3]

    def tensor(self, name):
        """Stored values; BF16 comes back as float32."""
        file, first, dtype, shape = self.entries[name]
        data = np.fromfile(file, NUMPY_TYPES[dtype], count=int(np.prod(shape)), offset=first).reshape(shape)
        return (data.astype("<u4") << 16).view("<f4") if dtype == "BF16" else data

    def quantized(self, suffix):
        """Names of the linears that own a tensor with this suffix."""
        return {name[:-len(suffix)] for name in self.entries if name.endswith(suffix)}

    def plain_linears(self):
        """Names of the linears that kept a full-precision weight; a tied lm_head is one without a tensor."""
        names = {name[:-len(".weight")] for name in self.entries
                 if name.endswith(".weight") and len(self.shape(name)) == 2 and "embed" not in name}
        return names | ({"lm_head"} if not any(name.startswith("lm_head.") for name in self.entries) else set())


# ------------------------------------------------------------------------------------------------------ AWQ (gemm)

AWQ_NIBBLE = np.array([0, 4, 1, 5, 2, 6, 3, 7])  # of output channel n % 8


def unpack_awq(words):
    """int32 [R, N/8] -> codes [R, N]."""
    codes = (words.view("<u4")[:, :, None] >> (4 * AWQ_NIBBLE).astype("u4")) & 15
    return codes.reshape(words.shape[0], -1).astype(np.int32)


def read_awq(folder, name):
    """Returns (code minus zero point [N, K], scale [N, G]) of a linear."""
    scales = folder.tensor(name + ".scales")
    codes = unpack_awq(folder.tensor(name + ".qweight"))
    zeros = unpack_awq(folder.tensor(name + ".qzeros"))
    group = codes.shape[0] // scales.shape[0]
    return (codes - np.repeat(zeros, group, axis=0)).T, scales.T


def check_awq_linear(folder, name):
    """Tensor types and shapes against each other and against the config. False when it cannot be unpacked."""
    wanted = {".qweight": "I32", ".qzeros": "I32", ".scales": "F16"}
    if not check(all(name + s in folder.entries for s in wanted), f"AWQ {name}: needs {', '.join(wanted)}"):
        return False
    for suffix, dtype in wanted.items():
        check(folder.dtype(name + suffix) == dtype, f"AWQ {name}{suffix}: {folder.dtype(name + suffix)}, not {dtype}")
    k, n8 = folder.shape(name + ".qweight")
    group = folder.quantization["group_size"]
    group = k if group == -1 else group
    groups = k // group
    return (check(k % group == 0, f"AWQ {name}: {k} inputs are no multiple of group_size {group}")
            and check(folder.shape(name + ".qzeros") == [groups, n8],
                      f"AWQ {name}.qzeros: shape {folder.shape(name + '.qzeros')}, not {[groups, n8]}")
            and check(folder.shape(name + ".scales") == [groups, 8 * n8],
                      f"AWQ {name}.scales: shape {folder.shape(name + '.scales')}, not {[groups, 8 * n8]}"))


def check_awq_config(folder):
    """vLLM reads bits, group_size, zero_point, lm_head, modules_to_not_convert; transformers also reads version.
    False when the tensors cannot be read with this config."""
    q = folder.quantization
    for key, value in {"quant_method": "awq", "bits": 4, "version": "gemm"}.items():
        check(q.get(key) == value, f"AWQ config: {key} is {q.get(key)!r}, not {value!r}")
    check(q.get("zero_point") is True, "AWQ config: zero_point must be true (false has no fast path in vLLM)")
    group = q.get("group_size")
    ok = check(type(group) is int and (group == -1 or group > 0), f"AWQ config: group_size is {group!r}")
    skip = q.get("modules_to_not_convert")
    if not check(skip is None or (isinstance(skip, list) and all(isinstance(s, str) for s in skip)),
                 f"AWQ config: modules_to_not_convert is {skip!r}, not null or a list of strings"):
        return ok
    skip = skip or []
    quantized = folder.quantized(".qweight")
    for name in sorted(quantized):
        check(not any(s in name for s in skip), f"AWQ config: modules_to_not_convert matches the quantized {name}")
    for name in sorted(folder.plain_linears() - {"lm_head"}):
        check(any(s in name for s in skip), f"AWQ config: {name} is not quantized and not in modules_to_not_convert")
    check(("lm_head" in quantized) == bool(q.get("lm_head")), "AWQ config: lm_head disagrees with the tensors")
    return ok


# ------------------------------------------------------------------------------ compressed-tensors (pack-quantized)

def unpack_stream(words, bits, count):
    """int32 [R, W] holding a little-endian bit stream per row -> codes [R, count]."""
    stream = np.unpackbits(np.ascontiguousarray(words).view("u1"), axis=1, bitorder="little")
    stream = stream[:, :count * bits].reshape(words.shape[0], count, bits)
    return stream.astype(np.int32) @ (1 << np.arange(bits, dtype=np.int32))


def ct_weights(folder, name):
    """The `weights` arguments of the config group that speaks of a module: by its name, an expression, or its class."""
    groups = folder.quantization["config_groups"].values()
    kind = "Embedding" if "embed" in name else "Linear"
    for says in (lambda t: t == name, lambda t: t.startswith("re:") and re.match(t[3:], name), lambda t: t == kind):
        for group in groups:
            if any(says(target) for target in group["targets"]):
                return group["weights"]
    raise LookupError(f"no config group targets {name}")


def read_ct(folder, name):
    """Returns (code minus zero point [N, K], scale [N, G]) of a linear."""
    bits = ct_weights(folder, name)["num_bits"]
    n, k = (int(x) for x in folder.tensor(name + ".weight_shape"))
    scales = folder.tensor(name + ".weight_scale")
    codes = unpack_stream(folder.tensor(name + ".weight_packed"), bits, k)
    if name + ".weight_zero_point" not in folder.entries:
        return codes - (1 << (bits - 1)), scales
    zeros = unpack_stream(folder.tensor(name + ".weight_zero_point").T, bits, n).T
    return codes - np.repeat(zeros, k // scales.shape[1], axis=1), scales


def check_ct_linear(folder, name):
    weights = ct_weights(folder, name)
    suffixes = [".weight_packed", ".weight_scale", ".weight_shape"]
    suffixes += [] if weights["symmetric"] else [".weight_zero_point"]
    if not check(all(name + s in folder.entries for s in suffixes), f"CT {name}: needs {', '.join(suffixes)}"):
        return False
    check(not weights["symmetric"] or name + ".weight_zero_point" not in folder.entries,
          f"CT {name}: symmetric, but has a zero point")
    n, k = (int(x) for x in folder.tensor(name + ".weight_shape"))
    group = weights["group_size"] if weights["strategy"] == "group" else k
    if not check(k % group == 0, f"CT {name}: {k} inputs are no multiple of group_size {group}"):
        return False
    bits = weights["num_bits"]
    wanted = {".weight_packed": (("I32",), [n, -(-k * bits // 32)]), ".weight_shape": (("I64",), [2]),
              ".weight_scale": (("F16", "BF16", "F32"), [n, k // group]),
              ".weight_zero_point": (("I32",), [-(-n * bits // 32), k // group])}
    ok = True
    for suffix in suffixes:
        dtype, shape = folder.dtype(name + suffix), folder.shape(name + suffix)
        ok &= check(dtype in wanted[suffix][0] and shape == wanted[suffix][1],
                    f"CT {name}{suffix}: {dtype} {shape}, not {' or '.join(wanted[suffix][0])} {wanted[suffix][1]}")
    return ok


def check_ct_config(folder):
    """False when the tensors cannot be read with this config."""
    q = folder.quantization
    for key, value in {"quant_method": "compressed-tensors", "format": "pack-quantized",
                       "quantization_status": "compressed"}.items():
        check(q.get(key) == value, f"CT config: {key} is {q.get(key)!r}, not {value!r}")
    groups = q.get("config_groups") or {}
    ok = check(bool(groups), "CT config: no config_groups")
    targets = [target for group in groups.values() for target in group.get("targets") or []]
    ok &= check(bool(targets) and len(targets) == len(set(targets)), "CT config: a group has no targets, or two share one")
    # vLLM asks for the class of a fused linear before it asks for the names of its parts.
    linears = [t for t in targets if ".layers." in t]
    check(not ("Linear" in targets and linears), f"CT config: \"Linear\" hides the names {linears[:2]} from vLLM")
    for group in groups.values():
        ok &= check_ct_group(group)
    check_ct_ignore(folder, q.get("ignore") or [])
    return ok


def check_ct_group(group):
    check(group.get("format", "pack-quantized") in (None, "pack-quantized"), "CT config: format of the group differs")
    for key in ("input_activations", "output_activations"):
        check(group.get(key) is None, f"CT config: {key} must be null")
    weights = group.get("weights") or {}
    ok = check(weights.get("num_bits") in range(2, 9) and weights.get("type") == "int", "CT config: no int of 2..8 bits")
    ok &= check(isinstance(weights.get("symmetric"), bool), "CT config: symmetric is not a boolean")
    check(weights.get("dynamic") is False, "CT config: dynamic must be false")
    check(weights.get("actorder") is None, "CT config: actorder must be null")
    strategy, size = weights.get("strategy"), weights.get("group_size")
    fits = type(size) is int and size > 0 if strategy == "group" else strategy == "channel" and size in (None, -1)
    return ok & check(fits, f"CT config: strategy {strategy!r} with group_size {size!r}")


def check_ct_ignore(folder, ignore):
    """`ignore` holds exact module names, or regular expressions after 're:', and must name every plain linear."""
    def ignored(name):
        return any(re.match(i[3:], name) if i.startswith("re:") else i == name for i in ignore)
    for name in sorted(folder.quantized(".weight_packed")):
        check(not ignored(name), f"CT config: ignore matches the quantized {name}")
    for name in sorted(folder.plain_linears()):
        check(ignored(name), f"CT config: {name} is not quantized and not in ignore")


# --------------------------------------------------------------------------------------------------------- compare

def dequantize(codes, scales):
    """Exact: small integers times scales of at most 24 significant bits, in float64."""
    return codes * np.repeat(scales.astype(np.float64), codes.shape[1] // scales.shape[1], axis=1)


def compare_linear(a, b, name):
    codes_a, scales_a = read_awq(a, name)
    codes_b, scales_b = read_ct(b, name)
    if not check(codes_a.shape == codes_b.shape, f"{name}: [N, K] is {codes_a.shape} and {codes_b.shape}"):
        return
    weight_a, weight_b = dequantize(codes_a, scales_a), dequantize(codes_b, scales_b)
    check(np.isfinite(weight_a).all(), f"{name}: a weight of the AWQ folder is not finite")
    different = weight_a != weight_b
    if not check(not different.any(), f"{name}: {different.sum()} of {different.size} weights differ, by at most "
                                      f"{np.abs(weight_a - weight_b).max():.3g}"):
        n, k = np.argwhere(different)[0]
        print(f"    first at output {n}, input {k}: {weight_a[n, k]} and {weight_b[n, k]}; code minus zero point "
              f"{codes_a[n, k]} and {codes_b[n, k]}; {(codes_a != codes_b).sum()} of these differ; scales are "
              f"{a.dtype(name + '.scales')} and {b.dtype(name + '.weight_scale')}")


def compare_plain(a, b, quantized):
    """Everything outside the quantized linears, and their biases, must be the same in both folders."""
    def plain(folder):
        return {t for t in folder.entries if t.endswith(".bias") or t.rsplit(".", 1)[0] not in quantized}
    check(plain(a) == plain(b), f"plain tensors in one folder only: {sorted(plain(a) ^ plain(b))}")
    for name in sorted(plain(a) & plain(b)):
        x, y = a.tensor(name), b.tensor(name)
        dtypes = {a.dtype(name), b.dtype(name)}
        tolerance = 0 if len(dtypes) == 1 else 2.0 ** -8 if "BF16" in dtypes else 2.0 ** -10
        check(x.shape == y.shape and np.allclose(x.astype("f8"), y.astype("f8"), rtol=tolerance, atol=tolerance * 1e-4),
              f"{name}: plain tensors differ ({a.dtype(name)} and {b.dtype(name)})")


def check_fused(quantized, folder, scheme=lambda name: None):
    """vLLM fuses these projections, so all or none of them must be quantized, and alike."""
    for parts in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")):
        for first in (n for n in quantized | folder.plain_linears() if n.endswith("." + parts[0])):
            states = {first[:-len(parts[0])] + p in quantized for p in parts}
            if check(len(states) == 1, f"{first}: only some of {', '.join(parts)} are quantized") and states == {True}:
                schemes = [scheme(first[:-len(parts[0])] + p) for p in parts]
                check(all(s == schemes[0] for s in schemes), f"{first}: {', '.join(parts)} differ in their scheme")


def check_rounded(folder, original, name):
    """Embedding and head: nothing but rounding happens to them."""
    codes, scales = read_ct(folder, name)
    weight = original.tensor((name if name + ".weight" in original.entries else "model.embed_tokens") + ".weight")
    step = np.repeat(scales.astype(np.float64), codes.shape[1] // scales.shape[1], axis=1)
    worst = (np.abs(codes * step - weight.astype(np.float64)) / step).max()
    # docs/numerics.md, "Embedding and head in 8 bits"
    check(worst < 0.76, f"CT {name}: a weight is {worst:.2f} steps from the original's")


def check_alone(path, original):
    folder = Folder(path)
    modules = sorted(folder.quantized(".weight_packed"))
    check(bool(modules), "no quantized module found")
    if check_ct_config(folder):
        modules = [name for name in modules if check_ct_linear(folder, name)]
        check_fused(set(modules), folder, lambda name: ct_weights(folder, name))
        for name in modules:
            codes, scales = read_ct(folder, name)
            check(np.isfinite(dequantize(codes, scales)).all(), f"CT {name}: a weight is not finite")
            if original and ".layers." not in name:
                check_rounded(folder, Folder(original), name)
        compare_with_compressed_tensors(folder, modules)
    bits = sorted({ct_weights(folder, name)["num_bits"] for name in modules})
    return f"ok: {len(modules)} modules of {bits} bits"


# --------------------------------------------------------------------------------- second opinions, where installed

def import_first(*names):
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    return None


def compare_with_compressed_tensors(folder, quantized):
    """Validates the config and unpacks every linear with the functions of the compressed_tensors package."""
    torch = import_first("torch")
    package = torch and import_first("compressed_tensors.compressors.pack_quantized.helpers",
                                     "compressed_tensors.compressors.quantized_compressors.pack_quantized")
    if not package:
        print("not checked: the packages torch and compressed_tensors are not installed")
        return
    quantization = importlib.import_module("compressed_tensors.quantization")
    try:
        quantization.QuantizationConfig.model_validate(folder.quantization)
    except ValueError as error:
        check(False, f"CT config: compressed_tensors refuses it: {error}")
    for name in quantized:
        bits = ct_weights(folder, name)["num_bits"]
        codes, scales = read_ct(folder, name)
        shape = torch.Size(codes.shape)
        packed = torch.from_numpy(folder.tensor(name + ".weight_packed"))
        theirs = package.unpack_from_int32(packed, bits, shape).numpy().astype(np.int32)
        if name + ".weight_zero_point" in folder.entries:
            packed = torch.from_numpy(folder.tensor(name + ".weight_zero_point"))
            zeros = package.unpack_from_int32(packed, bits, torch.Size(scales.shape), packed_dim=0).numpy()
            theirs -= np.repeat(zeros, shape[1] // zeros.shape[1], axis=1)
        check(np.array_equal(codes, theirs), f"CT {name}: compressed_tensors unpacks other values")
    print(f"compressed_tensors accepts the config and unpacks the same values from {len(quantized)} modules")


def run_in_transformers(original, folder, quantized):
    """Puts the dequantized weights into a plain model made from the original config and runs it once."""
    torch, transformers = import_first("torch"), import_first("transformers")
    if not (torch and transformers):
        print("not checked: the packages torch and transformers are not installed")
        return
    config = transformers.AutoConfig.from_pretrained(original)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    state = {f"{name}.weight": dequantize(*read_awq(folder, name)) for name in quantized}
    state |= {name: folder.tensor(name) for name in folder.entries
              if name.endswith(".bias") or name.rsplit(".", 1)[0] not in quantized}
    state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}
    if config.tie_word_embeddings:
        tied = ["lm_head.weight", "model.embed_tokens.weight"]
        shared = next(state[name] for name in tied if name in state)
        state |= {name: state.get(name, shared) for name in tied}
    result = model.load_state_dict(state, strict=False)
    check(not result.missing_keys and not result.unexpected_keys, f"transformers: {result}")
    with torch.no_grad():
        logits = model(torch.arange(min(32, config.vocab_size))[None]).logits[0]
    check(torch.isfinite(logits).all().item(), "transformers: a logit is not finite")
    print(f"transformers runs the dequantized model: {tuple(logits.shape)} logits, "
          f"from {logits.min():.3f} to {logits.max():.3f}, standard deviation {logits.std():.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("awq", nargs="?", help="folder written with --format awq")
    parser.add_argument("compressed_tensors", nargs="?", help="folder written with --format compressed-tensors")
    parser.add_argument("--alone", help="folder written with --format compressed-tensors that has no AWQ counterpart")
    parser.add_argument("--load-dir", help="original model folder: also run the dequantized weights in transformers")
    arguments = parser.parse_args()

    if arguments.alone:
        said = check_alone(arguments.alone, arguments.load_dir)
        print(f"{len(PROBLEMS)} problems" if PROBLEMS else said)
        return 1 if PROBLEMS else 0
    if not arguments.compressed_tensors:
        parser.error("two folders, or --alone with one")
    a, b = Folder(arguments.awq), Folder(arguments.compressed_tensors)
    linears_a, linears_b = a.quantized(".qweight"), b.quantized(".weight_packed")
    check(linears_a and linears_b, "no quantized linear found")
    check(linears_a == linears_b, f"quantized in one folder only: {sorted(linears_a ^ linears_b)}")
    linears = sorted(linears_a & linears_b)
    readable = [check_awq_config(a), check_ct_config(b)]
    if all(readable):
        linears = [name for name in linears if check_awq_linear(a, name) and check_ct_linear(b, name)]
        for name in linears:
            compare_linear(a, b, name)
        compare_plain(a, b, linears_a | linears_b)
        check_fused(linears_a, a)
        check(all(ct_weights(b, name)["num_bits"] == 4 for name in linears), "CT config: linears have no 4 bits")
        compare_with_compressed_tensors(b, linears)
        if arguments.load_dir and not PROBLEMS:
            run_in_transformers(arguments.load_dir, a, linears)
    if PROBLEMS:
        print(f"{len(PROBLEMS)} problems")
        return 1
    print(f"ok: {len(linears)} quantized linears are equal in both folders")
    return 0


if __name__ == "__main__":
    sys.exit(main())
