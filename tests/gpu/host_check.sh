#!/usr/bin/env bash
# host_check.sh [THREADS]: in a folder that bundle.sh made, the processor beside the device, which may have what the
# developers' machines have not (AMX): its kernels against the reference, then the speeds that docs/benchmarks.md
# quotes, with each instruction set that it has. THREADS: 2. Status 0 when all is well.
set -uo pipefail
cd "$(dirname "$0")"
threads=${1:-2}
status=0
lscpu | grep -E 'Model name|^CPU\(s\)|L2|L3'
grep -o -w -E 'amx_int8|amx_bf16|amx_fp16|avx512_vnni|avx512_bf16|avx_vnni' /proc/cpuinfo | sort -u | tr '\n' ' '
echo
if [ -x bin/unit_kernels ]; then
  ./run unit_kernels --gtest_brief=1 || status=1
fi
shape=$(mktemp)
trap 'rm -f "$shape"' EXIT
# TinyLlama-1.1B
cat >"$shape" <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 5632,
 "num_attention_heads": 32, "num_key_value_heads": 4, "num_hidden_layers": 22, "vocab_size": 32000,
 "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "max_position_embeddings": 2048, "tie_word_embeddings": false,
 "torch_dtype": "bfloat16", "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}
JSON
for isa in amx avx512vnni avx2; do
  [ $isa = amx ] && ! grep -q -w amx_int8 /proc/cpuinfo && continue
  echo "== at most $isa"
  ./run awq bench --config "$shape" --prompt 512 --gen 48 --batch 1,8,32 --head int8 --threads "$threads" \
    --repetitions 2 --isa $isa 2>/dev/null | grep -v '^kernel for' || status=1
done
exit $status
