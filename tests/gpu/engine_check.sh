#!/usr/bin/env bash
# engine_check.sh: in a folder that bundle.sh made, everything about models on a device, within a minute. Status 0 when
# all is well.
set -uo pipefail
cd "$(dirname "$0")"
status=0
begin=$SECONDS
note() { printf '== %3d s  %s\n' $((SECONDS - begin)) "$*"; }

models=(models/tinystories-656k-rtn-awq-g128 models/stories-3m-rtn-awq-g64 models/books-12m-awq models/tinystories-656k
  models/stories-3m models/books-12m)
present=()
for model in "${models[@]}"; do [ -d "$model" ] && present+=("$model"); done
note "chain_check"
if [ -x bin/chain_check ]; then timeout 60 ./run chain_check cuda || status=1; fi
note "engine_check"
timeout 40 ./run engine_check cuda "${present[@]}" || status=1

perplexity() { ./run awq eval "$@" --json 2>/dev/null | sed -n 's/^  "perplexity": \([0-9.e+-]*\),*$/\1/p'; }
for model in models/tinystories-656k-rtn-awq-g128 models/books-12m-awq models/books-12m; do
  [ -d "$model" ] || continue
  flags=(--ctx 256 --max-tokens 4096)
  here=$(perplexity "$model" "${flags[@]}")
  device=$(timeout 20 ./run awq eval "$model" "${flags[@]}" --device cuda --json 2>/dev/null |
    sed -n 's/^  "perplexity": \([0-9.e+-]*\),*$/\1/p')
  note "perplexity of $model: processor $here, device $device"
  # A perplexity averages the errors of thousands of rows (docs/numerics.md, "On NVIDIA devices").
  awk -v a="$here" -v b="$device" 'BEGIN { exit !(a > 0 && b > 0 && (a - b < 0 ? b - a : a - b) <= 0.01 * a) }' || {
    echo "FAIL perplexity of $model"
    status=1
  }
done

note "run, with and without recorded steps"
model=models/books-12m-awq
[ -d "$model" ] || model=models/stories-3m-rtn-awq-g64
say() { timeout 20 ./run awq run "$model" -p "The old man looked at the sea and" -n 40 --ignore-eos --device cuda "$@" 2>/dev/null; }
a=$(say) || status=1
b=$(AWQ_CUDA_GRAPHS=0 say) || status=1
c=$(say --spec-ngram 6) || status=1
d=$(AWQ_CUDA_FUSE=0 say) || status=1
echo "$a"
[ "$a" = "$b" ] || { echo "FAIL recorded steps change the text: $b"; status=1; }
[ "$a" = "$c" ] || { echo "FAIL guessed tokens change the text: $c"; status=1; }

[ "$a" = "$d" ] || { echo "FAIL separate launches change the text: $d"; status=1; }

note "a device that is not there"
./run awq run "$model" -p x --device cuda:99
[ $? -eq 5 ] || { echo "FAIL exit status"; status=1; }
note "status $status"
exit $status
