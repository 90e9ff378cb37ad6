#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/memory.h"
#include "kernels/api/cuda_linear.h"

namespace awq::bench {

/// Weights, activations and results of the products of one linear on the device.
class KernelOperands {
 public:
  /// Random weights, more of them than `cache_bytes`, and `rows` tokens. Throws kOutOfMemory.
  KernelOperands(const kernels::cuda::W4Layout& layout, kernels::cuda::Half type, std::int64_t rows,
                 std::uint64_t cache_bytes, const device::Stream& stream);

  /// The first `m` tokens times copy `copy` (of any number: they come round) of the packed weight.
  kernels::cuda::W4Problem problem(std::int64_t m, int copy, const device::Buffer& y) const;
  /// The 16-bit weights of another matrix of this shape.
  const void* halves(int copy) const;
  const void* x() const { return x_.data(); }
  std::byte* panel() const { return panel_.data(); }          ///< kernels::cuda::w4_panel_bytes()
  const device::Buffer& y() const { return y_; }              ///< [rows, n]
  const device::Buffer& other_y() const { return other_y_; }  ///< [rows, n]

  /// Poisons `y` before a checked product.
  void poison(const device::Buffer& y, std::int64_t m, const device::Stream& stream) const;
  /// Elements of the first m tokens in which y and other_y differ.
  std::uint32_t different(std::int64_t m, const device::Stream& stream) const;
  /// Relative error (Frobenius norm) of some outputs of y, from the codes of the stream in binary64.
  double sampled_error(std::int64_t m) const;

 private:
  void sample_weights();

  kernels::cuda::W4Layout layout_;
  kernels::cuda::Half type_;
  std::int64_t copies_ = 1, dense_copies_ = 1;
  device::Buffer stream_, halves_, x_, y_, other_y_, workspace_, panel_, counter_;
  std::vector<std::int64_t> sampled_rows_;
  std::vector<double> sampled_;  ///< [sampled_rows_, k] of copy 0
};

}  // namespace awq::bench
