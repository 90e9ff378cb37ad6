#!/usr/bin/env bash
# bundle.sh BUILD_FOLDER OUT_FOLDER [SHARED_DATA]: a folder that runs awq and engine_check on a machine that has nothing
# but the NVIDIA driver (and cublasLt for 16-bit weights): programs, every library they load, the loader itself, small
# models. OUT_FOLDER/run PROGRAM ARGUMENTS... starts them.
set -euo pipefail
build=$(readlink -f "$1")
out=$2
source_folder=$(cd "$(dirname "$0")/../.." && pwd)
shared=$(readlink -m "${3:-$source_folder/../shared/data}")

rm -rf "$out"
mkdir -p "$out/bin" "$out/lib" "$out/models" "$out/configs"
programs=("$build/awq" "$build/tests/gpu/engine_check")
# Checks of the kernels alone, where the build has them.
for program in "$build"/tests/gpu/*_check; do
  [[ $program == *_emulated_check ]] && continue
  [ -x "$program" ] && [ "$program" != "$build/tests/gpu/engine_check" ] && programs+=("$program")
done
for program in bench/make_random_model unit_kernels; do
  [ -x "$build/tests/$program" ] && programs+=("$build/tests/$program")
done
for program in "${programs[@]}"; do
  strip -o "$out/bin/$(basename "$program")" "$program"
  ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }'
done | sort -u | while read -r library; do
  cp -L "$library" "$out/lib/"
  strip --strip-unneeded "$out/lib/$(basename "$library")" 2>/dev/null || true
done
loader=$(basename "$(ls "$out"/lib/ld-linux* | head -1)")
cat >"$out/run" <<RUN
#!/usr/bin/env bash
# run PROGRAM ARGUMENTS...: with the libraries of this folder. AWQ_CUBLASLT names cublasLt where it is in no usual place.
here=\$(cd "\$(dirname "\$0")" && pwd)
if [ -z "\${AWQ_CUBLASLT:-}" ]; then
  for file in /usr/local/cuda*/lib64/libcublasLt.so.1[23] /usr/local/cuda*/targets/*/lib/libcublasLt.so.1[23] \\
    /usr/lib/*-linux-gnu/libcublasLt.so.1[23] /usr/lib/python3*/site-packages/nvidia/*/lib/libcublasLt.so.1[23] \\
    /usr/local/lib/python3*/*-packages/nvidia/*/lib/libcublasLt.so.1[23] /opt/*/lib/python3*/site-packages/nvidia/*/lib/libcublasLt.so.1[23]; do
    [ -e "\$file" ] && export AWQ_CUBLASLT=\$file
  done
fi
program=\$1
shift
# awq starts itself once more to set how long threads spin, which would lose the loader: it is told here.
export GOMP_SPINCOUNT=\${GOMP_SPINCOUNT:-2000}
exec "\$here/lib/$loader" --library-path "\$here/lib:\${LD_LIBRARY_PATH:-}" "\$here/bin/\$program" "\$@"
RUN
chmod +x "$out/run"
cp "$source_folder"/tests/gpu/{engine_check,quantize_check,serve_check,host_check,random_model}.sh "$out/"

add_model() { if [ -d "$1" ]; then mkdir -p "$out/models/$2" && cp -r "$1"/*.json "$1"/*.safetensors "$out/models/$2/"; fi; }
# 25 MB of BF16 weights that compress badly: only where there is room.
[ -n "${AWQ_BUNDLE_LARGE:-}" ] && add_model "$source_folder/models/books-12m" books-12m
add_model "$shared/models/stories-3m" stories-3m
add_model "$shared/models/tinystories-656k" tinystories-656k
for model in stories-3m-rtn-awq-g64 tinystories-656k-rtn-awq-g128 tinystories-656k-rtn-gptq-g128; do
  folder=$shared/quantized/$model
  [ -d "$folder/model" ] && folder=$folder/model
  add_model "$folder" "$model"
done
# The largest one again with 4 bits, by this build.
if "$build/awq" quantize "$source_folder/models/books-12m" -o "$out/models/books-12m-awq" --method rtn --no-eval >/dev/null 2>&1; then
  rm -f "$out"/models/books-12m-awq/*.html "$out"/models/books-12m-awq/README.md
fi
for config in llama-3.1-8b llama-3.1-70b qwen2.5-0.5b qwen3-8b; do
  [ -f "$shared/configs/$config.json" ] && cp "$shared/configs/$config.json" "$out/configs/"
done
du -sh "$out" | cut -f1
