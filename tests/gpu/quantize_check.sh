#!/usr/bin/env bash
# quantize_check.sh [LAYERS]: in a folder that bundle.sh made, quantizing on a device against the processor, then time and
# memory on random weights in the shape of Llama-3-8B with LAYERS layers (4). Status 0 when all is well.
set -uo pipefail
cd "$(dirname "$0")"
. ./random_model.sh
layers=${1:-4}
status=0
begin=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
note() { printf '== %3d s  %s\n' $((SECONDS - begin)) "$*"; }

note "quantize_check"
timeout 60 ./run quantize_check cuda models/books-12m || status=1

number() { sed -n "s/^  \"$2\": \([-+0-9.eE]*\),\{0,1\}$/\1/p" "$1"; }
for flags in "--recipe best" "--recipe fast" "--method gptq"; do
  for device in cpu cuda; do
    # shellcheck disable=SC2086
    timeout 90 ./run awq quantize models/books-12m -o "$work/$device" --force $flags --device $device --json \
      >"$work/$device.json" 2>"$work/log" || { cat "$work/log"; status=1; }
  done
  note "books-12m $flags: $(./run quantize_check cuda --compare "$work/cpu" "$work/cuda" | tail -1); KL" \
    "$(number "$work/cpu.json" kl_mean) and $(number "$work/cuda.json" kl_mean);" \
    "$(number "$work/cpu.json" seconds) s and $(number "$work/cuda.json" seconds) s"
done

random_model "$layers" "$work/big" || status=1
note "a model of $layers layers is made"
for flags in "--recipe best" "--recipe fast"; do
  # shellcheck disable=SC2086
  AWQ_TIMES=1 timeout 200 ./run awq quantize "$work/big" -o "$work/out" --force $flags --device cuda --no-eval --json \
    --calib-samples 128 --calib-seqlen 512 >"$work/big.json" 2>"$work/log" || { cat "$work/log"; status=1; }
  grep -v '^kept' "$work/log"
  note "8B shape, $layers layers, $flags: $(number "$work/big.json" seconds) s, device memory" \
    "$(number "$work/big.json" peak_device_bytes) of $(number "$work/big.json" planned_device_bytes) planned, host" \
    "$(number "$work/big.json" peak_rss_bytes) of $(number "$work/big.json" planned_peak_bytes) planned"
done
exit $status
