#!/usr/bin/env bash
# engine_emulated.sh AWQ MAKE_RANDOM_MODEL ENGINE_EMULATED_CHECK DEVICE: a random model in 4 bits whose heads are as wide as
# the tensor cores' attention kernels take, and whose widest linear is summed in two leaves, on the emulated device.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/config.json" <<'JSON'
{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 256, "head_dim": 128,
 "intermediate_size": 1664, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 1,
 "vocab_size": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 512,
 "tie_word_embeddings": false, "torch_dtype": "bfloat16", "eos_token_id": 0, "attention_bias": false,
 "hidden_act": "silu"}
JSON
"$2" "$work/config.json" "$work/model"
"$1" quantize "$work/model" -o "$work/awq" --method rtn --no-eval
"$3" "$4" "$work/awq"
