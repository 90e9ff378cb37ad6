"""What the end-to-end tests share: running the program, tiny checkpoints, judging failures. Standard library only.

Environment: AWQ_BINARY (the program), AWQ_SOURCE_DIR (the checkout), AWQ_SHARED_DATA (larger test data; may be absent).
"""
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from array import array
from collections import namedtuple
from pathlib import Path

SOURCE = Path(os.environ.get("AWQ_SOURCE_DIR") or Path(__file__).resolve().parents[2])
BINARY = Path(os.environ.get("AWQ_BINARY") or SOURCE / "build" / "release" / "awq").resolve()
SKIPPED = 77  # exit status that ctest counts as "not run"

USAGE, BAD_INPUT, STORAGE, RESOURCE = 2, 3, 4, 5

# ---------------------------------------------------------------------------------------------------- the program

Result = namedtuple("Result", "status out err")


def command(*args):
    return [str(BINARY), *map(str, args)]


def awq(*args, stdin=b"", cwd=None, prefix=(), timeout=900):
    """Runs the program to its end; `prefix` goes before it ("unshare", ...)."""
    done = subprocess.run([*prefix, *command(*args)], input=stdin, cwd=cwd, timeout=timeout, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def shell(script, *args, timeout=900):
    """Runs `script` with $0 = the program and $1... = args, as root of a user and mount namespace of its own."""
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, str(BINARY), *map(str, args)], timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def can_mount():
    """Whether this machine lets a test mount file systems of its own."""
    if shutil.which("unshare") is None:
        return False
    try:
        return shell('mount -t tmpfs -o size=64k none "$1"', tempfile.gettempdir()).status == 0
    except (OSError, subprocess.SubprocessError):
        return False


# ------------------------------------------------------------------------------------------------ tiny checkpoints

VOCAB = 320
MERGES = ["t h", "i n", "e r", "a n", "o n", "r e", "Ġ th", "Ġ a", "Ġth e", "in g", "an d"]
BOS, EOS = 256 + len(MERGES), 257 + len(MERGES)


def byte_alphabet():
    """The character that byte-level BPE writes for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, spare = {b: chr(b) for b in plain}, 256
    for b in range(256):
        if b not in letters:
            letters[b] = chr(spare)
            spare += 1
    return [letters[b] for b in range(256)]


def make_tokenizer():
    """tokenizer.json of a byte-level BPE with a few merges, a BOS that is put before every text, and an EOS."""
    vocab = {letter: i for i, letter in enumerate(byte_alphabet())}
    for merge in MERGES:
        vocab[merge.replace(" ", "")] = len(vocab)
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, text in ((BOS, "<s>"), (EOS, "</s>"))]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": list(MERGES),
        },
    }


def make_config(**changes):
    """config.json of the smallest Llama that groups of 32 and 64 fit; a change to None removes the key."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "vocab_size": VOCAB, "bos_token_id": BOS, "eos_token_id": EOS, "torch_dtype": "float32",
    }
    config.update(changes)
    return {key: value for key, value in config.items() if value is not None}


def tensor_shapes(config):
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    queries, values = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        for name, shape in {"input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
                            "self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (values, hidden),
                            "self_attn.v_proj": (values, hidden), "self_attn.o_proj": (hidden, queries),
                            "mlp.gate_proj": (ffn, hidden), "mlp.up_proj": (ffn, hidden),
                            "mlp.down_proj": (hidden, ffn)}.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    return shapes


def elements(shape):
    count = 1
    for extent in shape:
        count *= extent
    return count


def encode(values, dtype):
    if dtype == "F32":
        return array("f", values).tobytes()
    if dtype == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    assert dtype == "BF16"
    bits = array("I", array("f", values).tobytes())
    return array("H", (min(b + 0x7FFF + (b >> 16 & 1), 0xFFFFFFFF) >> 16 for b in bits)).tobytes()


_drawn = {}


def random_tensors(config, dtype, seed):
    """name -> (dtype, shape, bytes). Norms are near 1; a few large input channels give the search something to do."""
    key = (json.dumps(config, sort_keys=True), dtype, seed)
    if key not in _drawn:
        tensors = {}
        for name, shape in tensor_shapes(config).items():
            draw = random.Random(f"{seed} {name}").gauss
            if len(shape) == 1:
                values = [1 + 0.3 * draw(0, 1) + (6 if i % 29 == 3 else 0) for i in range(shape[0])]
            else:
                # A small head keeps the probabilities those of a text model: neither flat nor certain.
                spread = 0.5 if "embed" in name else 0.05 if "lm_head" in name else 2.0 / shape[1] ** 0.5
                values = [spread * draw(0, 1) for _ in range(elements(shape))]
            tensors[name] = (dtype, shape, encode(values, dtype))
        _drawn[key] = tensors
    return dict(_drawn[key])


def write_safetensors(path, tensors, edit_header=None):
    """edit_header may change the header object before it is written (with or without returning a new one)."""
    header, data = {}, []
    offset = 0
    for name, (dtype, shape, blob) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(blob)]}
        data.append(blob)
        offset += len(blob)
    if edit_header is not None:
        header = edit_header(header) or header
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def write_json(path, value):
    Path(path).write_text(json.dumps(value, indent=1), encoding="utf-8")


def make_model(
    folder, *, dtype="F32", seed=1, shards=1, tokenizer=True, edit_tensors=None, edit_header=None, **changes
):
    """A valid checkpoint with random weights: Llama, vocabulary 320, width 64, 2 layers. `changes` go to config.json,
    edit_tensors(dict of name -> (dtype, shape, bytes)) to the weights, edit_header to the safetensors header."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = make_config(torch_dtype={"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype], **changes)
    write_json(folder / "config.json", config)
    tensors = random_tensors(config, dtype, seed)
    if edit_tensors is not None:
        edit_tensors(tensors)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, edit_header)
    else:
        weight_map = {}
        for shard in range(shards):
            file_name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
            part = {name: tensor for i, (name, tensor) in enumerate(tensors.items()) if i % shards == shard}
            write_safetensors(folder / file_name, part, edit_header)
            weight_map.update({name: file_name for name in part})
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    if tokenizer:
        write_json(folder / "tokenizer.json", make_tokenizer())
        write_json(folder / "tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>", "model_max_length": 64})
    return folder


def read_tensors(folder):
    """name -> (dtype, shape, bytes, file name) of a checkpoint folder, with or without an index."""
    folder = Path(folder)
    names = [path.name for path in sorted(folder.glob("*.safetensors"))]
    tensors = {}
    for name in names:
        blob = (folder / name).read_bytes()
        size = struct.unpack("<Q", blob[:8])[0]
        for tensor, entry in json.loads(blob[8:8 + size]).items():
            if tensor == "__metadata__":
                continue
            assert tensor not in tensors, f"{tensor} is stored twice"
            begin, end = entry["data_offsets"]
            tensors[tensor] = (entry["dtype"], tuple(entry["shape"]), blob[8 + size + begin:8 + size + end], name)
    return tensors


WORDS = ("the and of to in a is that for it was on with as his they be at one have this from or had by hot word but "
         "what some we can out other were all there when up use your how said an each she which their").split()


def make_text(words=4000, seed=5):
    """Plain text in lines of about a dozen words."""
    draw = random.Random(seed)
    lines = []
    for _ in range(words // 12):
        lines.append(" ".join(draw.choice(WORDS) for _ in range(12)).capitalize() + ".")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------------------------- judging runs

def leftovers(output):
    """What a run left under the output's name or beside it."""
    output = Path(output)
    if not output.parent.is_dir():
        return []
    return sorted(entry.name for entry in output.parent.iterdir() if entry.name.startswith(output.name))


def hashes(folder, but=("awq_run.json",)):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name not in but}


def manifest_problems(folder):
    """Words for everything that contradicts the folder's own manifest; empty when it is complete."""
    manifest = Path(folder) / "awq_manifest.json"
    if not manifest.is_file():
        return ["awq_manifest.json is missing"]
    rows = json.loads(manifest.read_text())["files"]
    problems = []
    for name, row in rows.items():
        path = Path(folder) / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif path.stat().st_size != row["size_bytes"] or hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
            problems.append(f"{name} differs from the manifest")
    present = {path.name for path in Path(folder).iterdir()} - {"awq_manifest.json", "awq_run.json"}
    return problems + [f"{name} is not in the manifest" for name in sorted(present - set(rows))]


class Case(unittest.TestCase):
    """A test with a folder of its own in self.folder."""
    maxDiff = None

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="awq-e2e-")).resolve()
        self.addCleanup(shutil.rmtree, self.folder, True)

    def check_ok(self, result):
        self.assertEqual(result.status, 0, result.err)
        self.assertNotIn("runtime error:", result.err)
        return result

    def check_message(self, result, status, *words, alone=True):
        """The run ended with `status` and said why in one line of standard error that holds all `words`; `alone`: the
        line is all that it said, warnings apart."""
        said = [line for line in result.err.splitlines() if not line.startswith("warning: ")]
        self.assertEqual(result.status, status, f"stderr: {result.err!r}")
        ours = [line for line in said if line.startswith("awq: ")]
        self.assertEqual(len(ours), 1, f"expected one line that starts with \"awq: \": {result.err!r}")
        self.assertEqual(said[-1], ours[0], f"the reason should come last: {result.err!r}")
        if alone:
            self.assertEqual(len(said), 1, f"expected nothing but the reason: {result.err!r}")
        self.assertNotIn("internal error", ours[0])
        self.assertEqual(result.out, "", "a failed run should print nothing on standard output")
        for word in words:
            self.assertIn(str(word), ours[0])
        return ours[0]


def run_tests():
    """Runs the calling program's tests; ends it with ctest's status."""
    class Names(unittest.TextTestResult):
        def getDescription(self, test):
            return str(test).split(" ", maxsplit=1)[0]

    if not BINARY.is_file():
        print(f"skipped: {BINARY} is not there (AWQ_BINARY)")
        sys.exit(SKIPPED)
    program = unittest.main(module="__main__", exit=False, testRunner=unittest.TextTestRunner(
        stream=sys.stdout, verbosity=2 if "-v" in sys.argv else 1, resultclass=Names))
    result = program.result
    for test, reason in result.skipped:
        print(f"skipped {test.id().split('.')[-1]}: {reason}")
    bad = len(result.failures) + len(result.errors)
    ran = result.testsRun - len(result.skipped)
    print(f"{Path(sys.argv[0]).name}: {ran} tests run, {bad} failed, {len(result.skipped)} skipped", flush=True)
    if bad:
        sys.exit(1)
    sys.exit(0 if ran or not result.skipped else SKIPPED)


def stop(process, number=signal.SIGKILL):
    """Sends a signal to a process that may have ended already, and waits for it."""
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(timeout=300)
