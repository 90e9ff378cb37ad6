// All kernels of the Arm table against the scalar reference, as one program without libraries: cross-compiled, and run
// under qemu-user. Its only argument is the number of vector rows that must have been tried.

#include <sys/auxv.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/api/linear.h"
#include "kernels/api/packed.h"
#include "kernels/packed_test_support.h"
#include "kernels/ref/packed_ref.h"

namespace awq {

// What AlignedBuffer needs of the base layer, whose other half formats error messages with a library.
void* allocate_pages(std::size_t bytes) {
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, rounded);
  if (memory == nullptr) std::abort();
  return std::memset(memory, 0, rounded);
}
void release_pages(void* memory, std::size_t) noexcept { std::free(memory); }

namespace kernels {
namespace {

bool has(CpuFeature feature) {
  const bool dot_product = (getauxval(AT_HWCAP) & (1UL << 20)) != 0;
  const bool int8_matrix = (getauxval(AT_HWCAP2) & (1UL << 13)) != 0;
  if (feature == CpuFeature::kDotProduct) return dot_product;
  if (feature == CpuFeature::kInt8Matrix) return dot_product && int8_matrix;
  return feature == CpuFeature::kNone;
}

const PackedKernel& reference(const PackedKernel& row) {
  if (row.bits == 4) return row.planes == 1 ? ref::kI8U4 : ref::kI15U4;
  return row.planes == 1 ? ref::kI8U8 : ref::kI15U8;
}

int check() {
  const test::PackedShape shapes[] = {{16, 128, 128, 4}, {33, 172, 172, 4}, {80, 256, 64, 4},  {7, 40, 8, 4},
                                      {18, 15, 5, 4},    {130, 128, 32, 4}, {16, 128, 128, 8}, {33, 172, 172, 8},
                                      {80, 256, 64, 8},  {7, 40, 8, 8},     {18, 15, 5, 8}};
  int rows = 0;
  for (const PackedKernel* row = packed_kernels_cpu(); row->name != nullptr; ++row) {
    if (!has(row->feature)) {
      std::printf("%s: not on this processor\n", row->name);
      continue;
    }
    int problems = 0;
    for (const test::PackedShape& shape : shapes) {
      if (shape.bits != row->bits) continue;
      for (const std::int64_t m : {1, 2, 3, 4, 5, 9, 17}) {
        const test::PackedProblem p(shape, m % 2 == 0, static_cast<std::uint64_t>(m));
        const std::vector<float> x = test::random_inputs(m, shape.k, 7);
        const test::ActivationMemory a(shape, m, row->panel_rows, row->planes, row->row_major, x,
                                       ref::kQuantizeActivations);
        for (const int parts : {1, 3}) {
          if (p.run(*row, a, m % 2 == 1, parts) == p.run(reference(*row), a, m % 2 == 1)) continue;
          std::printf("%s differs from the reference: m %d n %d k %d\n", row->name, static_cast<int>(m),
                      static_cast<int>(shape.n), static_cast<int>(shape.k));
          return -1;
        }
        ++problems;
      }
    }
    std::printf("%s: %d problems agree bit for bit\n", row->name, problems);
    if (row->feature != CpuFeature::kNone) ++rows;
  }
  return rows;
}

}  // namespace
}  // namespace kernels
}  // namespace awq

int main(int argc, char** argv) {
  const int rows = awq::kernels::check();
  if (argc != 2 || std::to_string(rows) != argv[1]) {
    std::printf("%d vector rows were tried, expected %s\n", rows, argc == 2 ? argv[1] : "an argument");
    return 1;
  }
  return 0;
}
