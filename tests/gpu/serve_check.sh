#!/usr/bin/env bash
# serve_check.sh [LAYERS [REQUESTS]]: in a folder that bundle.sh made, the server on a device under load: random weights in
# the shape of Llama-3-8B with LAYERS layers (32), in 16 bits and rounded to 4; REQUESTS (256) at a time of 512 tokens, 128
# answered; then what does not fit is refused. Status 0 when all is well. DEVICE (cuda): cpu tries the script itself.
set -uo pipefail
cd "$(dirname "$0")"
. ./random_model.sh
layers=${1:-32}
requests=${2:-256}
device=${DEVICE:-cuda}
status=0
begin=$SECONDS
work=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
note() { printf '== %3d s  %s\n' $((SECONDS - begin)) "$*"; }
fail() {
  echo "FAIL $*"
  status=1
}
number() { sed -n "s/^ *\"$2\": \([-+0-9.eE]*\),\{0,1\}$/\1/p" "$1" | head -1; }

random_model "$layers" "$work/16" || exit 1
note "a model of $layers layers is made"
./run awq quantize "$work/16" -o "$work/4" --method rtn --no-eval >"$work/log" 2>&1 || fail "quantize: $(tail -1 "$work/log")"
note "and rounded to 4 bits"

declare -A speed
for bits in 16 4; do
  ./run awq serve "$work/$bits" --device "$device" --port 0 --max-num-seqs "$requests" >"$work/log" 2>&1 &
  server=$!
  url=
  for _ in $(seq 600); do
    url=$(sed -n 's/.*ready at \(http[^ ]*\) after.*/\1/p' "$work/log")
    [ -n "$url" ] && break
    kill -0 $server 2>/dev/null || break
    sleep 0.1
  done
  if [ -z "$url" ]; then
    fail "$bits bits: $(tail -1 "$work/log")"
    continue
  fi
  grep -o 'KV cache [^,]*, [^;]*;\|KV cache [^;]*' "$work/log" | head -1
  if timeout 120 ./run awq bench-serve "$url" --concurrency "$requests" --requests "$requests" --prompt 512 --gen 128 --json \
    >"$work/load.json" 2>"$work/load.log"; then
    speed[$bits]=$(number "$work/load.json" output_tokens_per_s)
    [ "$(number "$work/load.json" requests)" = "$requests" ] || fail "$bits bits: $(grep -A 5 '"errors"' "$work/load.json")"
  else
    fail "$bits bits: $(tail -1 "$work/load.log")"
  fi
  kill -TERM $server
  wait $server
  [ $? -eq 143 ] || fail "$bits bits: the server did not end as one does that SIGTERM stopped"
  server=
  note "$bits bits: ${speed[$bits]:-?} tokens/s with $requests requests at a time"
done
awk -v a="${speed[4]:-0}" -v b="${speed[16]:-0}" 'BEGIN { if (b > 0) printf "4 bits: %.2f times as fast\n", a / b }'

# refused STATUS FLAGS...: the server does not start, and says why on one line.
refused() {
  local expected=$1
  shift
  timeout 60 ./run awq serve "$work/4" --device "$device" --port 0 "$@" >"$work/log" 2>&1
  local found=$?
  tail -1 "$work/log"
  [ $found -eq "$expected" ] || fail "$*: status $found, expected $expected"
}
if [ "$device" != cpu ]; then
  refused 5 --kv-cache-memory-bytes 1000000000000000
  refused 5 --gpu-memory-utilization 0.001
fi
note "status $status"
exit $status
