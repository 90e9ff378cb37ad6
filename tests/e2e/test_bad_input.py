#!/usr/bin/env python3
"""Every input, flag and place to write to that cannot work is refused: one line that says why, the right exit status,
nothing under the output's name, no litter."""
import json
import os
import shutil
import struct
import subprocess
import unittest

from support import (BAD_INPUT, RESOURCE, STORAGE, USAGE, VOCAB, Case, awq, byte_alphabet, can_mount, command, encode, leftovers,
                     make_config, make_model, make_text, make_tokenizer, run_tests, shell, write_json)

MOUNTS = can_mount()
NO_MOUNTS = "this machine does not let a test mount file systems (unshare -rm)"


class Refusals(Case):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        self.output = self.folder / "out"
        self.text = self.folder / "text.txt"
        self.text.write_text(make_text(1500))

    def quantize(self, *flags, model=None, output=None, **how):
        flags = [str(flag) for flag in flags]
        given = {flag.split("=")[0] for flag in flags}
        usual = {"--group-size": 32, "--calib": self.text, "--calib-samples": 16, "--threads": 2}
        usual = [f"{name}={value}" for name, value in usual.items() if name not in given]
        return awq(
            "quantize", model or self.model, "-o", self.output if output is None else output, *usual, *flags, **how
        )

    def refused(self, status, *words, flags=(), alone=True, **how):
        """quantize refuses and leaves nothing."""
        result = self.quantize(*flags, **how)
        line = self.check_message(result, status, *words, alone=alone)
        self.assertEqual(leftovers(how.get("output") or self.output), [])
        return line


class Weights(Refusals):
    """Damaged safetensors files; all readers are asked, not only quantize."""

    def refused_everywhere(self, *words):
        self.refused(BAD_INPUT, *words)
        for args in (
            ["inspect", self.model],
            ["eval", self.model, "--text", self.text],
            ["run", self.model, "-p", "x", "-n", 1],
        ):
            self.check_message(awq(*args), BAD_INPUT, *words)

    def with_header(self, change, *words):
        make_model(self.model, edit_header=change)
        self.refused_everywhere("model.safetensors", *words)

    def replace_file(self, change, *words):
        make_model(self.model)
        path = self.model / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))
        self.refused_everywhere("model.safetensors", *words)

    def test_missing_weights(self):
        make_model(self.model)
        (self.model / "model.safetensors").unlink()
        self.refused_everywhere(self.model, "model.safetensors")

    def test_empty_file(self):
        self.replace_file(lambda _: b"", "too short")

    def test_header_cut(self):
        self.replace_file(lambda blob: blob[:200], "header length")

    def test_header_length_beyond_file(self):
        self.replace_file(lambda blob: struct.pack("<Q", 1 << 20) + blob[8:][:5000], "header length")

    def test_header_length_huge(self):
        for length in ((1 << 64) - 1, 1 << 63, 101 << 20):
            with self.subTest(length):
                self.replace_file(lambda blob, n=length: struct.pack("<Q", n) + blob[8:], "header length")

    def test_header_not_json(self):
        self.replace_file(lambda blob: blob[:9] + b"\x00" + blob[10:])

    def test_header_not_an_object(self):
        self.with_header(lambda header: b"[]")

    def test_header_nested_deep(self):
        self.with_header(lambda header: b'{"a":' * 5000 + b"1" + b"}" * 5000, "deep")

    def test_duplicate_name(self):
        def twice(header):
            first = next(iter(header))
            return (json.dumps(header)[:-1] + f', "{first}": {json.dumps(header[first])}}}').encode()
        self.with_header(twice, "model.embed_tokens.weight", "twice")

    def test_overlap(self):
        def overlap(header):
            begin, end = header["model.layers.0.self_attn.k_proj.weight"]["data_offsets"]
            header["model.layers.0.self_attn.v_proj.weight"]["data_offsets"] = [begin, end]
        self.with_header(overlap, "data_offsets", "overlap")

    def test_gap(self):
        def gap(header):
            last = max(header, key=lambda name: header[name]["data_offsets"][1])
            header[last]["data_offsets"] = [offset + 64 for offset in header[last]["data_offsets"]]
        self.with_header(gap, "data_offsets", "gap")

    def test_shape_product_wraps(self):
        def wrap(header):
            header["model.norm.weight"]["shape"] = [1 << 62, 64]
        self.with_header(wrap, "model.norm.weight", "shape")

    def test_shape_product_wraps_to_the_right_size(self):
        def wrap(header):
            header["model.norm.weight"]["shape"] = [(1 << 63) + 32, 2]
        self.with_header(wrap, "model.norm.weight", "shape")

    def test_shape_negative_or_fraction(self):
        for value in (-64, 64.0, "64", None, 1 << 70):
            with self.subTest(value):
                def change(header, value=value):
                    header["model.norm.weight"]["shape"] = [value]
                self.with_header(change, "model.norm.weight", "shape")

    def test_offsets_reversed(self):
        def reverse(header):
            header["model.norm.weight"]["data_offsets"].reverse()
        self.with_header(reverse, "model.norm.weight", "data_offsets")

    def test_unknown_dtype(self):
        def change(header):
            header["model.norm.weight"]["dtype"] = "F33"
        self.with_header(change, "model.norm.weight", "F33")

    def test_trailing_bytes(self):
        self.replace_file(lambda blob: blob + b"x", "bytes")

    def test_data_cut(self):
        self.replace_file(lambda blob: blob[:-1], "cut short")

    def test_is_a_folder_or_pipe(self):
        make_model(self.model)
        (self.model / "model.safetensors").unlink()
        os.mkfifo(self.model / "model.safetensors")
        self.refused_everywhere(self.model)

    def test_only_pytorch(self):
        make_model(self.model)
        (self.model / "model.safetensors").rename(self.model / "pytorch_model.bin")
        self.refused_everywhere("pytorch_model.bin", "safetensors")

    def test_missing_norm(self):
        make_model(self.model, edit_tensors=lambda t: t.pop("model.layers.1.post_attention_layernorm.weight"))
        self.refused_everywhere("model.layers.1.post_attention_layernorm.weight", "missing")

    def test_missing_layer(self):
        make_model(self.model)
        write_json(self.model / "config.json", make_config(num_hidden_layers=3))
        self.refused_everywhere("model.layers.2.", "missing")

    def test_missing_head_and_embedding(self):
        def drop(tensors):
            del tensors["model.embed_tokens.weight"], tensors["lm_head.weight"]
        make_model(self.model, edit_tensors=drop)
        self.refused_everywhere("missing")

    def test_wrong_shape(self):
        def transpose(tensors):
            dtype, shape, blob = tensors["model.layers.0.mlp.down_proj.weight"]
            tensors["model.layers.0.mlp.down_proj.weight"] = (dtype, shape[::-1], blob)
        make_model(self.model, edit_tensors=transpose)
        self.refused_everywhere("model.layers.0.mlp.down_proj.weight", "[128, 64]", "[64, 128]")

    def test_wrong_dtype(self):
        def retype(tensors):
            _, shape, blob = tensors["model.layers.1.mlp.up_proj.weight"]
            tensors["model.layers.1.mlp.up_proj.weight"] = ("I32", shape, blob)
        make_model(self.model, edit_tensors=retype)
        self.refused_everywhere("model.layers.1.mlp.up_proj.weight", "I32")

    def test_unexpected_bias(self):
        def add(tensors):
            tensors["model.layers.0.mlp.up_proj.bias"] = ("F32", (128,), encode([0.5] * 128, "F32"))
        make_model(self.model, edit_tensors=add)
        self.refused_everywhere("model.layers.0.mlp.up_proj.bias")


class Numbers(Refusals):
    """NaN and Inf are found where they are, and named."""

    def refused_with(self, value, tensor, dtype="F32", flags=()):
        def poison(tensors):
            kind, shape, blob = tensors[tensor]
            size = len(encode([0.0], kind))
            tensors[tensor] = (kind, shape, blob[:7 * size] + encode([value], kind) + blob[8 * size:])
        make_model(self.model, dtype=dtype, edit_tensors=poison)
        return self.refused(BAD_INPUT, tensor.removesuffix(".weight"), alone=False, flags=flags)

    def test_nan(self):
        self.refused_with(float("nan"), "model.layers.0.self_attn.q_proj.weight")

    def test_nan_rtn(self):
        self.refused_with(float("nan"), "model.layers.0.mlp.down_proj.weight", flags=["--method", "rtn"])

    def test_inf(self):
        for dtype in ("F32", "F16", "BF16"):
            with self.subTest(dtype):
                self.refused_with(float("inf"), "model.layers.0.mlp.gate_proj.weight", dtype=dtype)

    def test_inf_in_norm(self):
        self.refused_with(float("-inf"), "model.layers.0.input_layernorm.weight")

    def test_inf_in_head(self):
        self.refused_with(float("inf"), "lm_head.weight")

    def test_nan_in_final_norm(self):
        self.refused_with(float("nan"), "model.norm.weight", flags=["--no-eval"])

    def test_nan_in_embedding(self):
        def poison(tensors):
            kind, shape, _ = tensors["model.embed_tokens.weight"]
            tensors["model.embed_tokens.weight"] = (kind, shape, encode([float("nan")] * (shape[0] * shape[1]), kind))
        make_model(self.model, edit_tensors=poison)
        self.refused(BAD_INPUT, "model.embed_tokens", alone=False)

    def test_nan_in_a_later_layer_names_it(self):
        # Layer 0 is finished by then, so its work may stay for --resume; the output's name must be free.
        def poison(tensors):
            kind, shape, blob = tensors["model.layers.1.mlp.up_proj.weight"]
            tensors["model.layers.1.mlp.up_proj.weight"] = (kind, shape, encode([float("nan")], kind) + blob[4:])
        make_model(self.model, edit_tensors=poison)
        self.check_message(self.quantize(), BAD_INPUT, "model.layers.1.mlp.up_proj", alone=False)
        self.assertFalse(self.output.exists())

    def test_inspect_deep(self):
        def poison(tensors):
            kind, shape, blob = tensors["model.layers.1.mlp.up_proj.weight"]
            tensors["model.layers.1.mlp.up_proj.weight"] = (kind, shape, encode([float("nan")], kind) + blob[4:])
        make_model(self.model, edit_tensors=poison)
        result = awq("inspect", self.model, "--deep", "--json")
        self.assertEqual(result.status, BAD_INPUT)
        self.assertIn("model.layers.1.mlp.up_proj", " ".join(json.loads(result.out)["problems"]))

    def test_run_and_eval(self):
        def poison(tensors):
            kind, shape, blob = tensors["model.layers.1.mlp.up_proj.weight"]
            tensors["model.layers.1.mlp.up_proj.weight"] = (
                kind,
                shape,
                encode([float("nan")] * (len(blob) // 4), kind),
            )
        make_model(self.model, edit_tensors=poison)
        self.check_message(awq("eval", self.model, "--text", self.text), BAD_INPUT, alone=False)
        self.check_message(awq("run", self.model, "-p", "x", "-n", 1, "--json"), BAD_INPUT)


class Shards(Refusals):
    def setUp(self):
        super().setUp()
        make_model(self.model, shards=3)
        self.index = self.model / "model.safetensors.index.json"

    def edit_index(self, change):
        index = json.loads(self.index.read_text())
        change(index["weight_map"])
        write_json(self.index, index)

    def test_missing_shard(self):
        (self.model / "model-00002-of-00003.safetensors").unlink()
        self.refused(BAD_INPUT, "index.json", "model-00002-of-00003.safetensors")

    def test_names_that_lead_elsewhere(self):
        make_model(self.folder / "other")
        elsewhere = str(self.folder / "other" / "model.safetensors")
        for name in ("../other/model.safetensors", elsewhere, "..", "", "a\0b.safetensors", "x" * 300 + ".safetensors"):
            with self.subTest(name):
                self.edit_index(lambda m, name=name: m.update({"lm_head.weight": name}))
                self.refused(BAD_INPUT, "index.json", "lm_head.weight")

    def test_tensor_that_the_shard_lacks(self):
        self.edit_index(lambda m: m.update({"model.layers.7.extra.weight": "model-00001-of-00003.safetensors"}))
        self.refused(BAD_INPUT, "index.json", "model.layers.7.extra.weight", "model-00001-of-00003.safetensors")

    def test_tensor_in_two_shards(self):
        source = self.model / "model-00001-of-00003.safetensors"
        shutil.copy(source, self.model / "model-00009-of-00003.safetensors")
        self.edit_index(lambda m: m.update({"lm_head.weight": "model-00009-of-00003.safetensors"}))
        self.refused(BAD_INPUT, "model-00009-of-00003.safetensors")

    def test_index_and_single_file(self):
        make_model(self.folder / "other")
        shutil.copy(self.folder / "other" / "model.safetensors", self.model)
        self.refused(BAD_INPUT, "index.json", "model.safetensors")

    def test_index_damaged(self):
        for text in (
            "",
            "[]",
            "{}",
            '{"weight_map": 3}',
            '{"weight_map": {}}',
            '{"weight_map": {"a": 1}}',
            "{" * 100000,
        ):
            with self.subTest(text[:30]):
                self.index.write_text(text)
                self.refused(BAD_INPUT, "index.json")


class Config(Refusals):
    """Bad config.json. The weights are those of the plain model."""

    def refused_config(self, *words, **changes):
        make_model(self.model)
        write_json(self.model / "config.json", make_config(**changes))
        return self.refused(BAD_INPUT, *words)

    def refused_text(self, blob, *words):
        make_model(self.model)
        (self.model / "config.json").write_bytes(blob)
        return self.refused(BAD_INPUT, "config.json", *words)

    def test_missing(self):
        make_model(self.model)
        (self.model / "config.json").unlink()
        self.refused(BAD_INPUT, "config.json")

    def test_missing_sizes(self):
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
            with self.subTest(key):
                self.refused_config("config.json", key, **{key: None})

    def test_not_json(self):
        self.refused_text(b"hidden_size: 64\n")
        self.refused_text(b"")
        self.refused_text(b"[1, 2]")
        self.refused_text(json.dumps(make_config()).encode()[:-1])
        self.refused_text(json.dumps(make_config()).encode() + b"}")

    def test_not_utf8(self):
        self.refused_text(json.dumps(make_config()).encode().replace(b'"silu"', b'"si\xff\xfelu"'))

    def test_utf16(self):
        self.refused_text(json.dumps(make_config()).encode("utf-16"))

    def test_duplicate_key(self):
        self.refused_text(json.dumps(make_config()).encode()[:-1] + b', "hidden_size": 128}', "hidden_size")

    def test_nested_deep(self):
        self.refused_text(b'{"x":' + b"[" * 100000 + b"]" * 100000 + b"}")

    def test_heads_do_not_divide(self):
        self.refused_config("config.json", "num_attention_heads", "num_key_value_heads", num_key_value_heads=3)
        self.refused_config(
            "config.json", "hidden_size", "num_attention_heads", num_attention_heads=5, num_key_value_heads=5
        )

    def test_sizes_out_of_range(self):
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                    "max_position_embeddings", "num_key_value_heads", "head_dim"):
            for value in (0, -1, 1 << 62, (1 << 64) - 1, 10**30, 64.5, 1e300, "64", True, [64], {}):
                with self.subTest(key=key, value=value):
                    self.refused_config("config.json", key, **{key: value})

    def test_large_sizes_do_not_fit_the_tensors(self):
        for key, value in {"hidden_size": 1 << 24, "intermediate_size": 1 << 30, "vocab_size": 1 << 30,
                           "head_dim": 65536, "num_hidden_layers": 4096}.items():
            with self.subTest(key):
                self.refused_config("model", **{key: value})

    def test_odd_head_dim(self):
        self.refused_config("config.json", "head_dim", head_dim=15)

    def test_unknown_architecture(self):
        self.refused_config("config.json", "GPT9ForCausalLM", "architecture", architectures=["GPT9ForCausalLM"])
        for value in ([], None, "LlamaForCausalLM", [7]):
            with self.subTest(value):
                self.refused_config("config.json", "architectures", architectures=value)

    def test_unknown_rope(self):
        self.refused_config("config.json", "spiral", rope_scaling={"rope_type": "spiral", "factor": 2.0})
        self.refused_config("config.json", "factor", rope_scaling={"rope_type": "linear", "factor": 0.0})
        self.refused_config("config.json", "factor", rope_scaling={"rope_type": "linear", "factor": "2"})
        self.refused_config("config.json", "rope_scaling", rope_scaling=[1])
        self.refused_config("config.json", "rope_theta", rope_theta=0)

    def test_unknown_activation(self):
        self.refused_config("config.json", "hidden_act", "gelu", hidden_act="gelu")

    def test_wrong_types(self):
        for key, value in {"rms_norm_eps": "small", "tie_word_embeddings": 1, "hidden_act": 3, "attention_bias": "no",
                           "eos_token_id": "two", "bos_token_id": -1, "quantization_config": 4}.items():
            with self.subTest(key):
                self.refused_config("config.json", key, **{key: value})

    def test_unknown_quantization(self):
        self.refused_config("config.json", "bitsandbytes", quantization_config={"quant_method": "bitsandbytes"})

    def test_model_is_a_file(self):
        make_model(self.folder / "real")
        self.refused(BAD_INPUT, "model.safetensors", model=self.folder / "real" / "model.safetensors")

    def test_model_is_missing(self):
        self.refused(BAD_INPUT, self.folder / "nowhere", model=self.folder / "nowhere")

    def test_quantized_already(self):
        make_model(self.model)
        first = self.folder / "first"
        for form in ("awq", "compressed-tensors"):
            with self.subTest(form):
                self.check_ok(self.quantize("--format", form, "--force", "--no-eval", output=first))
                self.refused(BAD_INPUT, first, "quantized already", model=first)


class Tokenizers(Refusals):
    def refused_tokenizer(self, change, *words):
        make_model(self.model)
        tokenizer = make_tokenizer()
        result = change(tokenizer)
        text = result if isinstance(result, bytes) else json.dumps(tokenizer).encode()
        (self.model / "tokenizer.json").write_bytes(text)
        self.refused(BAD_INPUT, "tokenizer.json", *words)
        self.check_message(awq("run", self.model, "-p", "x", "-n", 1), BAD_INPUT, "tokenizer.json", *words)

    def test_missing(self):
        make_model(self.model, tokenizer=False)
        self.refused(BAD_INPUT, self.model, "tokenizer.json", "tokenizer.model")

    def test_not_json(self):
        self.refused_tokenizer(lambda t: json.dumps(t).encode()[:-20])
        self.refused_tokenizer(lambda t: b"")
        self.refused_tokenizer(lambda t: b"[]")
        self.refused_tokenizer(lambda t: b"\xff\xfe{}")

    def test_fields_damaged(self):
        self.refused_tokenizer(lambda t: t.pop("model"), "model")
        self.refused_tokenizer(lambda t: t["model"].pop("vocab"), "vocab")
        self.refused_tokenizer(lambda t: t["model"]["merges"].append("zz qq"), "merges", "zz")
        self.refused_tokenizer(lambda t: t["model"]["merges"].append("t"), "merges")
        self.refused_tokenizer(lambda t: t["model"]["vocab"].update({"zz": -1}), "zz")
        self.refused_tokenizer(lambda t: t["model"]["vocab"].update({"zz": 0}), "0")
        self.refused_tokenizer(lambda t: t["model"]["vocab"].update({"zz": 1 << 40}), "zz")
        self.refused_tokenizer(lambda t: t["model"].update({"type": "Unigram"}), "Unigram")
        self.refused_tokenizer(lambda t: t.update({"pre_tokenizer": {"type": "Nobody"}}), "Nobody")

    def test_id_beyond_the_model(self):
        # The letter "e" gets an id that the embedding has no row for.
        make_model(self.model)
        tokenizer = make_tokenizer()
        tokenizer["model"]["vocab"][byte_alphabet()[ord("e")]] = VOCAB + 9
        write_json(self.model / "tokenizer.json", tokenizer)
        self.refused(BAD_INPUT, VOCAB + 9, "vocab_size")
        self.check_message(awq("run", self.model, "-p", "eee", "-n", 1), BAD_INPUT, VOCAB + 9)
        self.check_message(awq("eval", self.model, "--text", self.text), BAD_INPUT, VOCAB + 9)

    def test_unused_id_beyond_the_model_is_a_warning(self):
        make_model(self.model)
        tokenizer = make_tokenizer()
        tokenizer["model"]["vocab"]["never"] = VOCAB + 9
        write_json(self.model / "tokenizer.json", tokenizer)
        result = self.check_ok(self.quantize("--no-eval"))
        self.assertIn("warning:", result.err)

    def test_sentencepiece_damaged(self):
        for blob in (b"", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x00" * 64, os.urandom(0) + bytes(range(256))):
            with self.subTest(blob[:8]):
                make_model(self.model, tokenizer=False)
                (self.model / "tokenizer.model").write_bytes(blob)
                self.refused(BAD_INPUT, "tokenizer.model")


class Calibration(Refusals):
    def setUp(self):
        super().setUp()
        make_model(self.model)

    def refused_text(self, blob, *words, name="bad.txt", status=BAD_INPUT, flags=()):
        path = self.folder / name
        path.write_bytes(blob)
        self.text = path
        self.refused(status, *words, flags=flags)

    def test_missing(self):
        self.text = self.folder / "nowhere.txt"
        self.refused(BAD_INPUT, "nowhere.txt")

    def test_folder(self):
        self.text = self.folder
        self.refused(BAD_INPUT, self.folder)

    def test_empty(self):
        self.refused_text(b"", "bad.txt", "no text")
        self.refused_text(b"", "bad.jsonl", "no text", name="bad.jsonl")

    def test_blanks(self):
        self.refused_text(b" \n\t\n" * 1000, "bad.txt", "no text")
        self.refused_text(b'{"text": "  "}\n' * 100, "bad.jsonl", "no text", name="bad.jsonl")
        self.refused_text(b"<|endoftext|>\n" * 100, "bad.txt", "no text")

    def test_not_utf8(self):
        self.refused_text(make_text(100).encode() + b"\xff\xfe" + make_text(100).encode(), "bad.txt", "UTF-8")
        self.refused_text(make_text(1500).encode("utf-16"), "bad.txt", "UTF-8")

    def test_jsonl_without_text(self):
        self.refused_text(b'{"text": "good"}\n{"body": "x"}\n', "bad.jsonl", "line 2", name="bad.jsonl")
        self.refused_text(b'{"text": 5}\n', "bad.jsonl", "line 1", name="bad.jsonl")
        self.refused_text(b'{"messages": [{"role": "user"}]}\n', "bad.jsonl", "line 1", name="bad.jsonl")
        self.refused_text(b'{"text": "x"}\nnot json\n', "bad.jsonl", "line 2", name="bad.jsonl")
        self.refused_text(b'{"text": "\xff"}\n', "bad.jsonl", "line 1", name="bad.jsonl")

    def test_too_short(self):
        self.refused_text(make_text(100).encode(), "bad.txt", "16")

    def test_too_short_for_one_held_out_line(self):
        self.refused_text(b"hello", "bad.txt", "16")

    def test_samples_and_length(self):
        self.refused(USAGE, "--calib-samples", flags=["--calib-samples", "0"])
        self.refused(USAGE, "--calib-samples", flags=["--calib-samples", "-5"])
        self.refused(USAGE, "--calib-samples", flags=["--calib-samples", "15"])
        self.refused(USAGE, "--calib-seqlen", flags=["--calib-seqlen", "0"])
        self.refused(USAGE, "--calib-seqlen", flags=["--calib-seqlen", "-1"])


class Flags(Refusals):
    def setUp(self):
        super().setUp()
        make_model(self.model)

    def test_values(self):
        for flag, value in (
            ("--group-size", 7),
            ("--group-size", 0),
            ("--group-size", -2),
            ("--bits", 5),
            ("--bits", 0),
            ("--bits", -4),
            ("--method", "best"),
            ("--method", ""),
            ("--format", "gguf"),
            ("--format", "gptq"),
            ("--threads", -1),
            ("--threads", 100000),
            ("--device", "tpu"),
            ("--max-shard-size", 0),
            ("--max-shard-size", -1),
            ("--max-shard-size", "nan"),
            ("--max-shard-size", "big"),
            ("--bits", "four"),
            ("--bits", 4.5),
            ("--bits", ""),
            ("--seed", -1),
            ("--threads", 1 << 40),
            ("--bits", 1 << 40),
        ):
            with self.subTest(flag=flag, value=value):
                self.refused(USAGE, flag, flags=[f"{flag}={value}"])

    def test_instruction_set(self):
        self.refused(USAGE, "sse9", flags=["--isa", "sse9"])

    def test_device_of_commands_that_run_on_one(self):
        make_model(self.model)
        for command in (["run", self.model, "-p", "x"], ["eval", self.model], ["bench", self.model], ["serve", self.model]):
            with self.subTest(command[0]):
                self.check_message(awq(*command, "--device", "cuda:99"), 5, "--device", "cuda")
                self.check_message(awq(*command, "--device", "tpu"), USAGE, "--device", "tpu", "cuda:N")

    def test_device_that_is_not_there(self):
        self.refused(5, "--device", "cuda", flags=["--device", "cuda:7"])

    def test_bits_that_the_format_cannot_hold(self):
        for bits in (2, 3, 8):
            with self.subTest(bits):
                self.refused(USAGE, "awq", bits, flags=["--bits", str(bits)])

    def test_nothing_left(self):
        self.refused(BAD_INPUT, "nothing is left to quantize", flags=["--skip", "*"])

    def test_numbers_beyond_every_type(self):
        for flag in ("--calib-samples", "--seed", "--threads"):
            with self.subTest(flag):
                self.refused(USAGE, flag, "9" * 30, flags=[f"{flag}={'9' * 30}"])
        self.check_message(awq("run", self.model, "-p", "x", "-n", "9" * 30), USAGE, "--max-tokens", "too large")

    def test_little_memory(self):
        """No memory for the text, the tables or the threads (oneDNN dies by itself where its own code gets none)."""
        def limit(kilobytes):
            return ["bash", "-c", f'ulimit -v {kilobytes} && exec "$@"', "limit"]

        if awq("--version", prefix=limit(8_000_000)).status != 0:
            self.skipTest("this build cannot run in a limited address space (sanitizers)")
        # The program alone takes 60 MB of addresses, more with kernels for many devices in it.
        enough = next(kb for kb in range(40_000, 8_000_000, 5_000) if awq("--version", prefix=limit(kb)).status == 0)
        seen = set()
        for kilobytes in (enough, enough + 5_000, 8_000_000):
            with self.subTest(kilobytes):
                result = self.quantize(prefix=limit(kilobytes))
                if "error while loading shared libraries" in result.err:
                    continue
                seen.add(result.status)
                self.assertEqual(self.output.exists(), result.status == 0)
                if result.status != 0:
                    self.check_message(result, RESOURCE, alone=False)
                for name in leftovers(self.output):  # what was finished may be kept for --resume
                    shutil.rmtree(self.folder / name)
        self.assertEqual(seen, {0, RESOURCE})

    def test_unknown_flag(self):
        for args in (
            ["quantize", self.model, "-o", self.output, "--gruop-size", 64],
            ["eval", self.model, "--txt", "x"],
            ["run", self.model, "--nosuch"],
            ["inspect", self.model, "extra", "words"],
            ["inspect", "--frobnicate"],
        ):
            with self.subTest(args[0]):
                self.check_message(awq(*args), USAGE)
        self.assertEqual(leftovers(self.output), [])

    def test_no_command(self):
        self.check_message(awq(), USAGE, "--help")
        self.check_message(awq("frobnicate"), USAGE, "frobnicate")
        self.check_message(awq("--frobnicate"), USAGE, "--frobnicate")

    def test_missing_arguments(self):
        self.check_message(awq("quantize", self.model), USAGE, "--output")
        self.check_message(awq("quantize", "-o", self.output), USAGE, "model")
        self.check_message(awq("inspect"), USAGE, "model")
        self.check_message(awq("quantize", self.model, "-o"), USAGE, "--output")

    def test_run(self):
        for flags, words in (
            (["-n", "-1"], ["-n"]),
            (["-n", "0"], ["-n"]),
            (["-n", "many"], ["many"]),
            (["--temperature", "-1"], ["--temperature"]),
            (["--temperature", "nan"], ["--temperature"]),
            (["--temperature", "inf"], ["--temperature"]),
            (["--top-k", "-1"], ["--top-k"]),
            (["--top-p", "0"], ["--top-p"]),
            (["--top-p", "1.5"], ["--top-p"]),
            (["--min-p", "-0.1"], ["--min-p"]),
            (["--min-p", "nan"], ["--min-p"]),
            (["--repetition-penalty", "0"], ["--repetition-penalty"]),
            (["--repetition-penalty", "inf"], ["--repetition-penalty"]),
            (["--stop", ""], ["--stop"]),
            (["--threads", "-3"], ["--threads"]),
        ):
            with self.subTest(flags):
                self.check_message(awq("run", self.model, "-p", "the", *flags), USAGE, *words)

    def test_prompt(self):
        self.check_message(awq("run", self.model, "-p", "word " * 100, "-n", 4, "--json"), USAGE, "64")
        self.check_message(
            awq("run", self.model, "--prompt-ids", "1,2,9999", "-n", 4), USAGE, "--prompt-ids", "9999", VOCAB - 1
        )
        self.check_message(awq("run", self.model, "--prompt-ids=-1", "-n", 4), USAGE, "--prompt-ids", "-1")
        self.check_message(awq("run", self.model, "--prompt-ids", "one", "-n", 4), USAGE, "one")
        self.check_message(awq("run", self.model, "-f", self.folder / "nowhere", "-n", 4), BAD_INPUT, "nowhere")
        self.check_message(awq("run", self.model, "-f", self.folder, "-n", 4), BAD_INPUT, self.folder)
        self.check_message(awq("run", self.model, "-p", "a", "--prompt-ids", "1"), USAGE, "--prompt")
        self.check_message(awq("run", self.model, "-f", self.text, "--prompt-ids", "1"), USAGE, "--prompt-file", "--prompt-ids")

    def test_variables_that_are_not_set(self):
        """An empty value is refused where leaving the flag out means something else."""
        for args in (
            ["run", self.model, "-f", ""],
            ["eval", self.model, "--text", ""],
            ["eval", self.model, "--text", self.text, "--against", ""],
            ["quantize", self.model, "-o", self.output, "--calib", ""],
            ["serve", self.model, "--port", 0, "--api-key-file", ""],
            ["serve", self.model, "--port", 0, "--tls-key", "", "--tls-cert", ""],
        ):
            with self.subTest(args[-2]):
                self.check_message(awq(*args), USAGE, "is empty", args[-2] if args[0] != "run" else "--prompt-file")
        self.check_ok(awq("run", self.model, "-p", "", "-n", 1))

    def test_lists_leave_the_model_alone(self):
        """A flag that takes a list takes one word of the command line; the next may be the model."""
        self.refused(USAGE, "--bits", flags=["--skip", "*.q_proj", "--bits", "5"])
        result = awq("quantize", "--skip", "*.q_proj", self.model, "-o", self.output, "--bits", 5)
        self.check_message(result, USAGE, "--bits 5")
        result = awq("compare", "--methods", "rtn,awq", self.model, "--text", self.folder / "nowhere")
        self.check_message(result, BAD_INPUT, "nowhere")
        result = awq("bench", "--batch", "1,2", self.model, "--prompt", 0)
        self.check_message(result, USAGE, "--prompt 0")

    def test_skip_that_names_nothing(self):
        result = awq("quantize", self.model, "-o", self.output, "--dry-run", "--calib", self.text, "--group-size", 32,
                     "--calib-samples", 16, "--calib-seqlen", 32, "--skip", "*.qproj", "--skip", "*.k_proj")
        warnings = [line for line in self.check_ok(result).err.splitlines() if line.startswith("warning: ")]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("--skip *.qproj", warnings[0])

    def test_report_in_the_place_of_a_device(self):
        """The page is renamed to its name: that of a device (as root, /dev/null) must not become a file."""
        for name, make in (("pipe", os.mkfifo), ("null", lambda path: os.symlink("/dev/null", path))):
            with self.subTest(name):
                path = self.folder / name
                make(path)
                kind = os.lstat(path).st_mode
                result = awq("quantize", self.model, "-o", self.output, "--calib", self.text, "--report", path)
                self.check_message(result, USAGE, "--report")
                self.assertEqual(os.lstat(path).st_mode, kind)
        self.assertEqual(leftovers(self.output), [])

    def test_prompt_that_is_not_utf8(self):
        # Each bad byte is read as U+FFFD, and the answer is valid JSON.
        (self.folder / "latin1.txt").write_bytes(b"caf\xe9")
        result = self.check_ok(awq("run", self.model, "-f", self.folder / "latin1.txt", "-n", 4, "--json"))
        self.assertEqual(json.loads(result.out)["prompt_tokens"], 1 + 3 + 3)

    def test_eval(self):
        one = self.folder / "one.jsonl"
        one.write_text('{"text": ""}\n{"text": " "}\n')
        self.check_message(awq("eval", self.model, "--text", one), BAD_INPUT, "one.jsonl")
        single = self.folder / "single.txt"
        single.write_text("e")
        self.check_message(awq("eval", self.model, "--text", single), BAD_INPUT, "two tokens")
        self.check_message(awq("eval", self.model, "--text", self.folder / "nowhere"), BAD_INPUT, "nowhere")
        self.check_message(awq("eval", self.model, "--text", self.text, "--ctx", 1), USAGE, "--ctx")
        self.check_message(awq("eval", self.model, "--text", self.text, "--ctx", -8), USAGE, "--ctx")
        self.check_message(awq("eval", self.model, "--text", self.text, "--max-tokens", -1), USAGE, "--max-tokens")
        self.check_message(awq("eval", self.model, "--text", self.text, "--simulate-bits", 1), USAGE, "--simulate-bits 1")
        for flags, word in (
            (["--simulate-method", "rtn"], "--simulate-bits"),
            (["--simulate-method", "nosuch"], "--simulate-method nosuch"),
            (["--simulate-method", "gguf-q4_0", "--simulate-bits", 4], "--simulate-bits 4"),
            (["--simulate-recipe", "fast"], "--simulate-bits"),
            (["--group-size", 32], "--simulate-bits"),
            (["--limit", 3], "--tasks"),
            (["--tasks", "piqa"], "--text"),
        ):
            with self.subTest(flags):
                self.check_message(awq("eval", self.model, "--text", self.text, *flags), USAGE, word)
        self.check_message(
            awq("eval", self.model, "--text", self.text, "--simulate-bits", 4, "--group-size", 5), USAGE, "--group-size"
        )

    def test_against_another_vocabulary(self):
        other = make_model(self.folder / "other", vocab_size=VOCAB + 64)
        result = awq("eval", self.model, "--text", self.text, "--against", other)
        self.check_message(result, USAGE, VOCAB, VOCAB + 64)
        self.check_message(
            awq("eval", self.model, "--text", self.text, "--against", self.folder / "nowhere"), BAD_INPUT, "nowhere"
        )


class Places(Refusals):
    """Where the output cannot or must not go."""

    def setUp(self):
        super().setUp()
        make_model(self.model)

    def refused_place(self, status, output, *words, **how):
        before = {path: path.stat().st_mtime_ns for path in self.folder.rglob("*")}
        self.check_message(self.quantize("--force", output=output, **how), status, *words)
        after = {path: path.stat().st_mtime_ns for path in self.folder.rglob("*")}
        self.assertEqual(before, after)

    def test_output_is_the_model(self):
        (self.folder / "link").symlink_to(self.model, target_is_directory=True)
        for output in (
            self.model,
            f"{self.model}/",
            self.folder / "link",
            f"{self.folder}/link/",
            f"{self.model}/../model",
            f"{self.model}/.",
        ):
            with self.subTest(output):
                self.refused_place(USAGE, output, "--output", "the model itself")
        self.refused_place(USAGE, "model", "--output", "the model itself", cwd=self.folder)
        self.refused_place(USAGE, ".", "--output", "the model itself", cwd=self.model)

    def test_output_inside_the_model(self):
        (self.folder / "link").symlink_to(self.model, target_is_directory=True)
        for output in (self.model / "out", self.folder / "link" / "out", self.model / "deep" / "out"):
            with self.subTest(output):
                self.refused_place(USAGE, output, "--output", "inside")

    def test_output_holds_the_model(self):
        self.refused_place(USAGE, self.folder, "--output", "inside")

    def test_output_empty_name(self):
        self.refused_place(USAGE, "", "--output")

    def test_output_is_a_file(self):
        self.output.write_text("precious")
        self.check_message(self.quantize(), USAGE, self.output)
        self.assertEqual(self.output.read_text(), "precious")
        self.assertEqual(leftovers(self.output), ["out"])

    def test_output_is_not_empty(self):
        self.output.mkdir()
        (self.output / "thesis.txt").write_text("precious")
        self.check_message(self.quantize(), USAGE, self.output, "--force")
        self.assertEqual(list(self.output.iterdir()), [self.output / "thesis.txt"])
        self.assertEqual(leftovers(self.output), ["out"])

    def test_force_replaces_only_outputs(self):
        self.output.mkdir()
        (self.output / "thesis.txt").write_text("precious")
        (self.output / "letters").mkdir()
        self.refused_place(USAGE, self.output, self.output, "the folder letters", "--force")
        (self.output / "letters").rmdir()
        self.refused_place(USAGE, self.output, self.output, "awq_manifest.json", "--force")
        self.assertEqual((self.output / "thesis.txt").read_text(), "precious")

    def test_force_replaces_only_folders(self):
        self.refused_place(USAGE, self.text, self.text, "--force")
        (self.folder / "link").symlink_to(self.text)
        self.refused_place(USAGE, self.folder / "link", self.folder / "link", "--force")
        self.refused_place(USAGE, "/dev/null", "/dev/null", "--force")

    @unittest.skipUnless(MOUNTS, NO_MOUNTS)
    def test_output_is_a_mount_point(self):
        # As a container's volume is: nothing can be renamed to it, and that should not show after hours.
        self.output.mkdir()
        for mount in ('mount --bind "$2" "$2"', 'mount -t tmpfs none "$2"'):
            with self.subTest(mount):
                result = shell(
                    mount + ' && exec "$0" quantize "$1" -o "$2" --group-size 32 --calib "$3" --calib-samples 16',
                    self.model,
                    self.output,
                    self.text,
                )
                self.check_message(result, USAGE, self.output, "mount point")
        self.assertEqual(leftovers(self.output), ["out"])

    def test_output_is_a_broken_link(self):
        self.output.symlink_to(self.folder / "nowhere")
        self.check_message(self.quantize(), USAGE, self.output)
        self.assertEqual(leftovers(self.output), ["out"])

    def test_parent_is_missing(self):
        output = self.folder / "no" / "such" / "out"
        self.check_message(self.quantize(output=output), STORAGE, output.parent)
        self.assertFalse((self.folder / "no").exists())

    def test_parent_is_a_file(self):
        self.check_message(self.quantize(output=self.text / "out"), STORAGE, self.text)

    def test_name_too_long(self):
        self.check_message(self.quantize(output=self.folder / ("x" * 300)), STORAGE, "x" * 300)
        self.check_message(
            self.quantize(output=self.folder / ("x" * 250)), STORAGE, "x" * 250
        )  # fits, but OUT.awq-partial does not
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["model", "text.txt"])

    @unittest.skipUnless(MOUNTS, NO_MOUNTS)
    def test_read_only_parent(self):
        place = self.folder / "place"
        place.mkdir()
        result = shell('mount --bind "$2" "$2" && mount -o remount,ro,bind "$2" && '
                       'exec "$0" quantize "$1" -o "$2/out" --group-size 32 --calib "$3" --calib-samples 16',
                       self.model, place, self.text)
        self.check_message(result, STORAGE, place, "Read-only")
        self.assertEqual(list(place.iterdir()), [])

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_unreadable_model(self):
        (self.model / "model.safetensors").chmod(0)
        self.refused(BAD_INPUT, "model.safetensors", "Permission denied")


class FullDisk(Refusals):
    """The disk fills at different moments: never an output under the final name, always the reason, and --resume goes
    on from there."""

    # Arguments: model, mount point, text, size, larger size, an output that is known to be good.
    PREPARE = """
      quantize() { "$AWQ" quantize "$MODEL" -o "$PLACE/out" --group-size 32 --calib "$TEXT" --calib-samples 16 "$@"; }
      check() {
        for file in "$GOOD"/*; do
          name=${file##*/}
          if [ $name != awq_run.json ]; then cmp "$file" "$PLACE/out/$name" || exit 99; fi
        done
      }
      AWQ="$0" MODEL="$1" PLACE="$2" TEXT="$3" GOOD="$6"
      mount -t tmpfs -o size=$4 none "$PLACE" || exit 95
    """

    def prepare(self):
        make_model(self.model, num_hidden_layers=3)
        self.place = self.folder / "place"
        self.place.mkdir()
        self.good = self.folder / "good"
        self.check_ok(
            awq(
                "quantize", self.model, "-o", self.good, "--group-size", 32, "--calib", self.text, "--calib-samples", 16
            )
        )
        hidden_states = 2 * 2 * 16 * 64 * 64 * 2  # two boundaries, two streams, blocks, tokens, width, bytes
        return sum(path.stat().st_size for path in self.good.iterdir()) + hidden_states

    def limited(self, script, size, larger):
        return shell(self.PREPARE + script, self.model, self.place, self.text, int(size), int(larger), self.good)

    @unittest.skipUnless(MOUNTS, NO_MOUNTS)
    def test_every_size(self):
        total = self.prepare()
        script = """
          quantize
          status=$?
          if [ $status != 0 ]; then
            [ ! -e "$PLACE/out" ] || exit 98
            if [ -e "$PLACE/out.awq-partial" ]; then echo kept >&2; fi
            mount -o remount,size=$5 "$PLACE"
            quantize --resume 2>/dev/null || exit 97
          fi
          check
          exit $status
        """
        seen = set()
        for share in (0.01, 0.2, 0.5, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.1, 1.2, 1.5):
            with self.subTest(share):
                # A quarter of the size is not enough for a second copy: --resume has to use what is there.
                result = self.limited(script, share * total, 1.25 * total)
                seen.add(result.status)
                self.assertIn(result.status, (0, STORAGE), result.err)
                if result.status == STORAGE:
                    ours = [line for line in result.err.splitlines() if line.startswith("awq: ")]
                    self.assertEqual(len(ours), 1, result.err)
                    self.assertIn(str(self.place), ours[0])
        self.assertEqual(seen, {0, STORAGE})

    @unittest.skipUnless(MOUNTS, NO_MOUNTS)
    def test_others_fill_the_disk(self):
        # A file takes the room that the run counted on, then goes away.
        total = self.prepare()
        script = """
          quantize & pid=$!
          while [ ! -s "$PLACE/out.awq-partial/journal" ] && kill -0 $pid 2>/dev/null; do :; done
          head -c 100m /dev/zero > "$PLACE/hog" 2>/dev/null
          wait $pid
          status=$?
          rm "$PLACE/hog"
          if [ $status != 0 ]; then
            [ ! -e "$PLACE/out" ] || exit 98
            quantize --resume 2>/dev/null || exit 97
          fi
          check
          exit $status
        """
        for _ in range(3):
            result = self.limited(script, 3 * total, 0)
            self.assertIn(result.status, (0, STORAGE), result.err)

    def test_standard_output_is_full(self):
        make_model(self.model)
        with open("/dev/full", "wb") as full:
            for args in (
                ["inspect", self.model, "--json"],
                ["inspect", self.model],
                ["run", self.model, "-p", "x", "-n", 2],
                ["run", self.model, "-p", "x", "-n", 2, "--json"],
                ["--version"],
                ["inspect", "--help"],
            ):
                with self.subTest(args):
                    done = subprocess.run(command(*args), stdout=full, stderr=subprocess.PIPE, check=False)
                    said = [line for line in done.stderr.decode().splitlines() if line.startswith("awq: ")]
                    self.assertEqual((done.returncode, len(said)), (STORAGE, 1), done.stderr)
                    self.assertIn("standard output", said[0])

    def test_standard_output_is_closed(self):
        make_model(self.model)
        for args in (
            ["inspect", self.model, "--json"],
            ["run", self.model, "-p", "x", "-n", 2],
            [
                "quantize",
                self.model,
                "-o",
                self.output,
                "--group-size",
                32,
                "--calib",
                self.text,
                "--calib-samples",
                16,
                "--json",
            ],
        ):
            with self.subTest(args[0]):
                done = subprocess.run(
                    ["sh", "-c", 'exec "$0" "$@" >&-', *command(*args)], stderr=subprocess.PIPE, check=False
                )
                said = [line for line in done.stderr.decode().splitlines() if line.startswith("awq: ")]
                self.assertEqual((done.returncode, len(said)), (STORAGE, 1), done.stderr)
        # What was written to files is whole: nothing that was meant for standard output went into one of them.
        self.check_ok(awq("inspect", self.output, "--deep"))

    def test_all_streams_closed(self):
        make_model(self.model)
        done = subprocess.run(
            [
                "sh",
                "-c",
                'exec "$0" "$@" <&- >&- 2>&-',
                *command(
                    "quantize",
                    self.model,
                    "-o",
                    self.output,
                    "--group-size",
                    32,
                    "--calib",
                    self.text,
                    "--calib-samples",
                    16,
                ),
            ],
            check=False,
        )
        self.assertIn(done.returncode, (0, STORAGE))
        self.check_ok(awq("inspect", self.output, "--deep"))

    def test_reader_goes_away(self):
        make_model(self.model)
        done = subprocess.run(["sh", "-c", '"$0" "$@" | head -c 1', *command("inspect", self.model, "--tensors")],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual((done.returncode, len(done.stdout)), (0, 1))


if __name__ == "__main__":
    run_tests()
