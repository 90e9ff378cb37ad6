#!/usr/bin/env bash
# Builds the programs that check and profile kernels on a device, for one target, without the rest of the project.
#   tests/gpu/build_lab.sh OUT_FOLDER [ARCHITECTURE [FLAGS...]]
# For compute-sanitizer --tool racecheck: -DAWQ_EVERY_LANE_ARRIVES (hopper.cuh), in a folder of its own.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
out=$1
arch=${2:-90a}
mkdir -p "$out/objects"
flags=(-std=c++20 -O3 "-gencode=arch=compute_$arch,code=sm_$arch" -I src -I include -I tests/gpu "${@:3}")
jobs=()
objects=()
token_objects=()
for source in src/kernels/cuda/*.cu; do
  object=$out/objects/$(basename "$source" .cu).o
  case $(basename "$source") in
    w4_* | dense* | measure*) objects+=("$object") ;;
    *) token_objects+=("$object") ;;
  esac
  [ "$object" -nt "$source" ] && [ -z "$(find src/kernels tests/gpu -newer "$object" \( -name '*.cuh' -o -name '*.h' \) -print -quit)" ] && continue
  nvcc "${flags[@]}" -c "$source" -o "$object" &
  jobs+=($!)
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
done
for job in "${jobs[@]}"; do wait "$job"; done
for source in src/kernels/cuda/w4_pack.cpp src/kernels/cuda/w4_choose.cpp src/kernels/cuda/overlap.cpp src/kernels/pack.cpp; do
  object=$out/objects/$(basename "$source" .cpp)_host.o
  g++ -std=c++20 -O2 -I src -I include -c "$source" -o "$object"
  objects+=("$object")
done
for source in src/kernels/cuda/overlap.cpp src/kernels/ref/attention_ref.cpp src/kernels/ref/draw_ref.cpp; do
  object=$out/objects/$(basename "$source" .cpp)_host.o
  g++ -std=c++20 -O2 -I src -I include -c "$source" -o "$object"
  token_objects+=("$object")
done
nvcc "${flags[@]}" tests/gpu/token_kernels_check.cu "${token_objects[@]}" -ldl -o "$out/token_kernels_check"
for program in w4_check w4_profile; do
  nvcc "${flags[@]}" "tests/gpu/$program.cu" "${objects[@]}" -ldl -o "$out/$program"
done
