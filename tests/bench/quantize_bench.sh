#!/usr/bin/env bash
# Times and memory of quantizing, measuring and running, from the program's own JSON. Prints one row per model.
#
#   quantize_bench.sh AWQ [MODEL ...]      default: the bundled model
set -euo pipefail
awq=$1
shift
models=("$@")
[ ${#models[@]} -gt 0 ] || models=(models/books-12m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number() { sed -n "s/^  \"$2\": \([-+0-9.eE]*\),\{0,1\}$/\1/p" "$1"; }
printf '%-24s %10s %10s %10s %12s %12s %12s\n' model 'quantize s' 'peak MB' 'planned MB' 'prefill t/s' '16 bit t/s' '4 bit t/s'
for model in "${models[@]}"; do
  "$awq" quantize "$model" -o "$work/out" --force --json >"$work/q.json" 2>/dev/null
  "$awq" run "$model" -p 'It was a dark and stormy night' -n 64 --ignore-eos --json >"$work/base.json" 2>/dev/null
  "$awq" run "$work/out" -p 'It was a dark and stormy night' -n 64 --ignore-eos --json >"$work/awq.json" 2>/dev/null
  printf '%-24s %10.1f %10.0f %10.0f %12.1f %12.1f %12.1f\n' "$(basename "$model")" "$(number "$work/q.json" seconds)" \
    "$(($(number "$work/q.json" peak_rss_bytes) / 1000000))" "$(($(number "$work/q.json" planned_peak_bytes) / 1000000))" \
    "$(number "$work/awq.json" prefill_tokens_per_s)" "$(number "$work/base.json" decode_tokens_per_s)" "$(number "$work/awq.json" decode_tokens_per_s)"
done
