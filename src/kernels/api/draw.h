#pragma once

#include <cstdint>

namespace awq::kernels {

/// How a token is drawn from one row of logits, on a processor and on a device with the same result:
///
///   share[i]  = exp_nonpositive((logit[i] - largest) * factor)   binary32, each operation rounded (attention.h)
///   weight[i] = floor(2^40 share[i])                             an integer: its sums do not depend on their order
///   kept      = ids with share >= smallest; of them the top_k likeliest; of those the fewest likeliest that hold
///               top_p of their weight. By share, the lower id first among equals; at least one.
///   drawn     = the first id whose weight, together with those of the kept ids before it, is more than
///               floor(bits * W / 2^64), W the weight of all that are kept
struct DrawRule {
  float factor = 0;           ///< 1 / temperature; 0: the likeliest id, the lowest among equals
  float smallest = 0x1p-40F;  ///< min_p, at least 2^-40
  std::int32_t top_k = 0;     ///< 0: all
  double top_p = 1;           ///< above 0, at most 1
  std::uint64_t bits = 0;     ///< 64 random ones
};

/// The vocabulary of a row has fewer ids than this: all their weights fit into 64 bits.
inline constexpr std::int64_t kMaxDrawnIds = std::int64_t{1} << 23;

}  // namespace awq::kernels
