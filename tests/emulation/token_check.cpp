// Rotation, the cache of keys and values and attention (tests/gpu/token_*_check.cuh) on the emulated device, in
// shapes that it takes seconds for. Exit status 1 when a check failed.

#include "gpu/token_attention_check.cuh"
#include "gpu/token_rope_check.cuh"

namespace check {
namespace {

void check_emulated() {
  const std::vector<int> lengths = {37, 1, 70, 290};
  for (const Half type : {Half::kBf16, Half::kF16}) {
    for (const cuda::CacheType cache : {cuda::CacheType::kHalf, cuda::CacheType::kE4M3, cuda::CacheType::kInt8}) {
      check_rope_shape({type, 3, 1, 64, 0, cache}, false);
      check_rope_shape({type, 2, 2, 128, 0, cache}, true);
      check_rope_shape({type, 2, 1, 6, 0, cache}, true);
      check_rope_shape({type, 3, 1, 80, 0, cache}, false);
      check_rope_shape({type, 2, 1, 256, 0, cache}, false);
      check_shape({type, 4, 2, 64, 0, cache}, lengths, true);
      check_shape({type, 3, 1, 128, 0, cache}, lengths, true);
      check_shape({type, 2, 1, 64, 77, cache}, lengths, true);
      check_shape({type, 2, 1, 128, 20, cache}, {130, 17}, true);
      check_shape({type, 2, 1, 16, 0, cache}, {70, 17}, true);
      check_shape({type, 2, 2, 256, 9, cache}, {40, 3}, false);
      for (const int dim : {64, 80, 128}) check_nan({type, 2, 1, dim, 0, cache});
    }
  }
}

}  // namespace
}  // namespace check

int main() {
  check::check_emulated();
  std::printf("%s: %d failed\n", check::failures == 0 ? "PASSED" : "FAILED", check::failures);
  return check::failures == 0 ? 0 : 1;
}
