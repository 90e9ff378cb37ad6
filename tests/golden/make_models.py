#!/usr/bin/env python3
"""Makes the tiny random checkpoints in models/ and their golden.json.

Each folder is a Hugging Face checkpoint with random weights, saved by transformers itself. golden.json holds what
transformers computes from the stored (rounded) weights in float64, for config.json and for overrides of it.

    pip install torch transformers==4.57.6 safetensors numpy
    python make_models.py [FAMILY...]
"""
import base64
import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

MODELS = Path(__file__).resolve().parent / "models"
GREEDY_TOKENS = 16
FOLDER_LIMIT = 200_000   # bytes, all files of a folder together
MIN_GREEDY_MARGIN = 0.005  # best minus second-best logit; 100 times the float32 noise, so greedy ids cannot flip
EVERY = None              # store the logits of every position

# Standard deviations are large on purpose: logits must react to position, rope and window.
STD = {"embed_tokens": 1.0, "lm_head": 0.4, "bias": 0.3, "norm": 0.3, "linear": 0.3}


def variant(name, tokens, overrides=None, positions=EVERY):
    """One golden run on the first `tokens` ids of the family. overrides: merged over config.json."""
    return {"name": name, "tokens": tokens, "overrides": overrides or {}, "positions": positions}


def rope(name, rope_scaling, max_positions, tokens=32):
    """A variant with another rope_scaling; a few positions keep the file small."""
    overrides = {"rope_scaling": rope_scaling, "max_position_embeddings": max_positions}
    return variant(name, tokens, overrides, positions=[0, 1, tokens // 2, tokens - 1])


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}

FAMILIES = {
    "llama": {
        "seed": 13, "classes": (LlamaConfig, LlamaForCausalLM), "dtype": torch.float32,
        "config": dict(vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                       num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-5,
                       rope_theta=500.0, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
        "variants": [
            variant("default", 32),
            variant("rms_norm_eps", 32, {"rms_norm_eps": 0.05}, positions=[0, 1, 16, 31]),
            rope("linear", {"rope_type": "linear", "factor": 4.0}, 512),
            rope("dynamic_exceeds", {"rope_type": "dynamic", "factor": 2.0}, 16),
            # "type" is the old name of "rope_type"; 24 + 16 tokens stay below 64, so nothing is scaled
            rope("dynamic_within", {"type": "dynamic", "factor": 2.0}, 64, tokens=24),
            # 24 tokens fit into 28 positions, the greedy continuation does not
            rope("dynamic_crosses", {"rope_type": "dynamic", "factor": 2.0}, 28, tokens=24),
            # wavelengths 6..30 are kept, 65 is blended, 140..1443 are divided by 8
            rope("llama3", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                            "original_max_position_embeddings": 128}, 1024),
            rope("yarn", YARN, 256),
            rope("yarn_attention_factor", YARN | {"attention_factor": 1.5}, 256),
            rope("yarn_mscale", YARN | {"mscale": 3.0, "mscale_all_dim": 0.5}, 256),
            rope("yarn_betas_no_truncate", YARN | {"beta_fast": 8.0, "beta_slow": 2.0, "truncate": False}, 256),
            # no original_max_position_embeddings: max_position_embeddings takes its place
            rope("yarn_original_from_max", {"rope_type": "yarn", "factor": 4.0}, 64),
        ],
    },
    "mistral": {
        "seed": 1, "classes": (MistralConfig, MistralForCausalLM), "dtype": torch.bfloat16,
        "config": dict(vocab_size=128, hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                       num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5,
                       rope_theta=10000.0, sliding_window=8, tie_word_embeddings=False),
        "variants": [
            variant("default", 32),
            variant("no_window", 32, {"sliding_window": None}),
        ],
    },
    "qwen2": {
        "seed": 1, "classes": (Qwen2Config, Qwen2ForCausalLM), "dtype": torch.float32,
        "config": dict(vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                       num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-6,
                       rope_theta=1000000.0, max_window_layers=3, tie_word_embeddings=True),
        "variants": [
            variant("default", 28),
            # config.json has an explicit layer_types, which would win over max_window_layers: null removes it
            variant("window_from_layer_1", 28, {"use_sliding_window": True, "sliding_window": 8,
                                                "max_window_layers": 1, "layer_types": None},
                    positions=[0, 7, 8, 14, 27]),
            variant("window_by_layer_types", 28,
                    {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1,
                     "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
                    positions=[0, 5, 6, 14, 27]),
            # the layer_types of config.json say full_attention everywhere, so no layer slides
            variant("window_overruled_by_layer_types", 28,
                    {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
                    positions=[0, 14, 27]),
            # a window without use_sliding_window means nothing, as in the published Qwen2.5 configs
            variant("window_not_used", 28, {"sliding_window": 8, "max_window_layers": 1, "layer_types": None},
                    positions=[0, 14, 27]),
        ],
    },
    "qwen3": {
        "seed": 1, "classes": (Qwen3Config, Qwen3ForCausalLM), "dtype": torch.float16,
        "config": dict(vocab_size=160, hidden_size=32, intermediate_size=96, num_hidden_layers=3,
                       num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=256,
                       rms_norm_eps=1e-6, rope_theta=1000000.0, max_window_layers=3, tie_word_embeddings=True),
        "variants": [
            variant("default", 40),
            variant("yarn", 40, {"rope_scaling": YARN}, positions=[0, 20, 39]),
            variant("window_from_layer_1", 40, {"use_sliding_window": True, "sliding_window": 8,
                                                "max_window_layers": 1, "layer_types": None},
                    positions=[0, 7, 8, 20, 39]),
        ],
    },
}


def randomize(model):
    """Random weights in place. Norm weights lie around 1."""
    for name, parameter in model.named_parameters():
        kind = next((k for k in STD if k in name), "linear")
        mean = 1.0 if kind == "norm" else 0.0
        parameter.data = mean + STD[kind] * torch.randn(parameter.shape)


def load(folder, family, overrides, dtype):
    config_class, model_class = family["classes"]
    config = config_class.from_dict(json.loads((folder / "config.json").read_text()) | overrides)
    return model_class.from_pretrained(folder, config=config, dtype=dtype, attn_implementation="eager").eval()


def forward(model, ids):
    """Logits [T, V] of a full forward pass without a cache."""
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def greedy(model, ids):
    """Continuation ids and the smallest distance between the best two logits on the way."""
    sequence, margins = list(ids), []
    for _ in range(GREEDY_TOKENS):
        best = torch.topk(forward(model, sequence)[-1], 2)
        margins.append(float(best.values[0] - best.values[1]))
        sequence.append(int(best.indices[0]))
    return sequence[len(ids):], min(margins)


def run_variant(folder, family, spec, ids):
    model = load(folder, family, spec["overrides"], torch.float64)
    logits = forward(model, ids)
    greedy_ids, margin = greedy(model, ids)
    float32_diff = float((forward(load(folder, family, spec["overrides"], torch.float32), ids) - logits).abs().max())
    eos = model.config.eos_token_id
    if margin < MIN_GREEDY_MARGIN or eos in greedy_ids:
        raise SystemExit(f"{folder.name}/{spec['name']}: margin {margin:.4f}, eos {eos} in {greedy_ids}: other seed")
    result = {"name": spec["name"], "config_overrides": spec["overrides"], "ids": ids}
    if spec["positions"] is not EVERY:
        result["positions"] = spec["positions"]
        logits = logits[spec["positions"]]
    result |= {
        "logits_shape": list(logits.shape),
        "logits": base64.b64encode(logits.to(torch.float32).numpy().astype("<f4").tobytes()).decode(),
        "greedy_ids": greedy_ids,
        "greedy_min_margin": float(f"{margin:.4g}"),
        "float32_max_abs_diff": float(f"{float32_diff:.2g}"),
    }
    print(f"  {spec['name']:32} std {logits.std():.2f}  margin {margin:.3f}  float32 {float32_diff:.1e}  {greedy_ids}")
    return result


def make(name, family):
    config_class, model_class = family["classes"]
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(family["seed"])
    model = model_class(config_class(**family["config"]))
    randomize(model)
    model.to(family["dtype"]).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    all_ids = torch.randint(3, family["config"]["vocab_size"], (max(v["tokens"] for v in family["variants"]),)).tolist()

    print(name)
    variants = [run_variant(folder, family, spec, all_ids[:spec["tokens"]]) for spec in family["variants"]]
    torch_version = torch.__version__.split("+")[0]
    made_with = f"transformers {transformers.__version__}, torch {torch_version}, float64 eager attention"
    lines = ",\n".join(json.dumps(v) for v in variants)  # one line per variant
    (folder / "golden.json").write_text(f'{{"made_with": "{made_with}",\n"variants": [\n{lines}\n]}}\n')
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"  {size} bytes")
    if size > FOLDER_LIMIT:
        raise SystemExit(f"{name}: {size} bytes is over the limit of {FOLDER_LIMIT}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for family_name in sys.argv[1:] or FAMILIES:
        make(family_name, FAMILIES[family_name])
