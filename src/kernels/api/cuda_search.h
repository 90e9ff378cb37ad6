#pragma once

#include <cstdint>

#include "kernels/api/cuda_types.h"

/// The searches of the quantizer on an NVIDIA device, except for their matrix products: the steps of layer `quantize`
/// with the same numbers in the same order wherever a code hangs on them. All pointers are device memory, row-major.
/// Every function enqueues on `stream`, allocates nothing and returns a cudaError_t as a number (0: enqueued). Results
/// depend on the arguments alone.
namespace awq::kernels::cuda::search {

/// How scales are stored.
enum class ScaleType : std::uint8_t { kF32, kF16, kBf16 };

/// Codes of a weight [rows, width] in groups of neighbouring columns: a multiple of 32, or the whole row.
struct Codes {
  std::int64_t rows = 0, width = 0, group_size = 0;
  int bits = 4;
  bool symmetric = false;
  ScaleType scale_type = ScaleType::kF16;
  std::uint8_t* codes = nullptr;        ///< [rows, width]
  float* scales = nullptr;              ///< [rows, width / group_size], with the precision of the stored type
  std::uint8_t* zero_points = nullptr;  ///< [rows, width / group_size]

  constexpr std::int64_t groups() const { return width / group_size; }
  constexpr std::int64_t all_groups() const { return rows * groups(); }
};

/// Ranges from the weights [rows, width] and codes to the nearest.
int round_groups(const float* weights, const Codes& codes, Stream stream);
/// Codes to the nearest from the scales and zero points.
int encode(const float* weights, const Codes& codes, Stream stream);
/// The numbers that codes stand for, bf16 or binary32.
int expand(const Codes& codes, bool bf16, void* out, Stream stream);
/// count[0] += groups that cannot hold one of their weights.
int count_clipped(const float* weights, const Codes& codes, std::int32_t* count, Stream stream);

/// A change of weights D [rows, width] as a product takes it: binary32, or with `diagonal` [width] bf16(D diag(d)).
struct Change {
  const float* diagonal = nullptr;
  void* out = nullptr;
};
/// D = W
int take_weights(const float* weights, std::int64_t rows, std::int64_t width, const Change& change, Stream stream);
/// D = dequantized - W, of rows [first, first + rows) of the codes; `weights` is that of row `first`.
int take_change(const float* weights, const Codes& codes, std::int64_t first, std::int64_t rows, const Change& change,
                Stream stream);
/// D = round(W diag(s)) diag(1/s) - W; `like` says how to round, its pointers and rows are not used.
int take_scaled_change(const float* weights, const float* channel_scale, std::int64_t rows, const Codes& like,
                       const Change& change, Stream stream);
/// sums[n] = D[n] . product[n], in binary64; D bf16 or binary32 [rows, width].
int row_dots(const void* change, bool bf16, const float* product, std::int64_t rows, std::int64_t width, double* sums,
             Stream stream);
/// diagonal[k] = sqrt(H[k, k]), 1 where that is not positive; normalised = bf16(H[i, j] / (d[i] d[j])).
int normalise(const float* gram, std::int64_t width, float* diagonal, void* normalised, Stream stream);
/// out[k] = H[k, k]
int take_diagonal(const float* gram, std::int64_t width, float* out, Stream stream);

/// sums[k] += over rows of |w| / (largest |w| of its group + 1e-6); `partial` [magnitude_parts(rows), width] scratch.
std::int64_t magnitude_parts(std::int64_t rows);
int add_relative_magnitudes(const float* weights, std::int64_t rows, std::int64_t width, std::int64_t group_size,
                            double* partial, double* sums, Stream stream);
/// W[n, k] *= s[k]
int scale_columns(float* weights, std::int64_t rows, std::int64_t width, const float* channel_scale, Stream stream);
/// H[i, j] /= s[i] s[j]
int scale_gram(float* gram, std::int64_t width, const float* channel_scale, Stream stream);

/// Range search: the candidates of one group of columns for many rows.
inline constexpr int kMostShrinks = 36;
struct Shrinks {
  int count = 0;
  float low[kMostShrinks] = {}, high[kMostShrinks] = {};
};
struct RangeBest {
  double loss;
  float low, high;  ///< of the range that is left
  float scale;
  std::int32_t zero_point;  ///< -1: no candidate so far
};
struct RangeTask {
  const float* weights = nullptr;  ///< of the first row
  std::int64_t rows = 0;
  std::int64_t begin = 0;     ///< first column of the group
  Codes like;                 ///< of the whole weight, its arrays from the first row on
  float* change = nullptr;    ///< [rows, candidates, group_size]
  RangeBest* best = nullptr;  ///< [rows]
};
/// Fills `change`: of the shrinks on every row (best is cleared), or of the neighbours of each row's best.
int fill_coarse(const RangeTask& task, const Shrinks& shrinks, Stream stream);
int fill_fine(const RangeTask& task, int count, float step, float smallest, Stream stream);
/// Takes what is better in change . product; candidates as they were filled.
int take_coarse(const RangeTask& task, const Shrinks& shrinks, const float* product, Stream stream);
int take_fine(const RangeTask& task, int count, float step, float smallest, const float* product, Stream stream);
/// Scale and zero point of the group in `like`.
int store_best(const RangeTask& task, Stream stream);

/// Columns that the kernels below work on with plain loops; everything outside of them is matrix products.
inline constexpr std::int64_t kBlock = 128;

/// out[i, j] = gram[order[i], order[j]] (order null: as they are), with `extra` on the diagonal, where what is not
/// positive counts as 1.
int gather_damped(const float* gram, const std::int32_t* order, std::int64_t width, float extra, float* out,
                  Stream stream);
/// B B^T of the diagonal block at `block` (stride from row to row), in place, in binary64, zeros below the diagonal;
/// its transpose goes to `lower` [size, size]. failed[0] = 1 when a pivot is not positive. `scratch` holds kBlock^2.
int factorize_block(float* block, std::int64_t size, std::int64_t stride, double* scratch, float* lower,
                    std::int32_t* failed, Stream stream);
/// lower [size, size] = the transpose of an upper triangular block.
int transpose_block(const float* block, std::int64_t size, std::int64_t stride, float* lower, Stream stream);
/// x <- x B^-T for rows of `size` columns, B upper triangular with transpose `lower`.
int divide_by_transposed(float* x, std::int64_t rows, std::int64_t stride, const float* lower, std::int64_t size,
                         Stream stream);
/// x <- x B^-1, B upper triangular.
int divide_by(float* x, std::int64_t rows, std::int64_t stride, const float* block, std::int64_t block_stride,
              std::int64_t size, Stream stream);
/// Zeros below the diagonal.
int clear_lower(float* matrix, std::int64_t width, Stream stream);

/// GPTQ's rounding of kBlock positions (or what is left) in the order of channels.
struct FeedbackBlock {
  const float* weights = nullptr;        ///< of the first row [rows, width]
  Codes codes;                           ///< from the first row on
  const float* factor = nullptr;         ///< R [width, width]
  const std::int32_t* order = nullptr;   ///< [width]
  const std::uint8_t* zeroed = nullptr;  ///< [width] by position
  std::int64_t begin = 0, size = 0;
  const float* carried = nullptr;  ///< [rows, kBlock] (change so far) R at these columns; null: nothing so far
  float* change = nullptr;         ///< [rows, width] by position
};
int feed_back(const FeedbackBlock& block, Stream stream);

/// Sums of the rows of every group's own block of H [width], and of each whole block [groups]. `scratch` [width].
int group_sums(const float* gram, std::int64_t width, std::int64_t group_size, double* scratch, float* rows,
               double* totals, Stream stream);

/// Coordinate descent on kBlock columns (or what is left), exact but for what other columns do meanwhile.
inline constexpr std::int64_t kDescentRows = 512;  ///< rows that stop together when hardly a code changes
struct DescentBlock {
  const float* weights = nullptr;  ///< of the first row [rows, width]
  Codes codes;                     ///< from the first row on; scales and zero points change with `refit`
  const float* gram = nullptr;     ///< H [width, width]
  const float* row_sums = nullptr;
  const double* totals = nullptr;
  bool refit = false;
  std::int64_t begin = 0, size = 0;
  const float* gradient = nullptr;        ///< [rows, kBlock] D H at these columns
  float* change = nullptr;                ///< D [rows, width]
  std::int32_t* moved = nullptr;          ///< [rows / kDescentRows, rounded up] codes that changed
  const std::int32_t* settled = nullptr;  ///< the same; rows of settled ones stay as they are
};
int descend(const DescentBlock& block, Stream stream);
/// Settles the chunks where fewer than one code in `settles_at` moved, and starts to count anew. active[0] = those
/// left.
int settle(std::int64_t rows, std::int64_t width, std::int64_t settles_at, std::int32_t* moved, std::int32_t* settled,
           std::int32_t* active, Stream stream);

}  // namespace awq::kernels::cuda::search
