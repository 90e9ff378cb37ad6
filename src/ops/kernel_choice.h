#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/linear.h"

namespace awq::ops {

/// What decides which kernel a linear runs.
struct LinearKind {
  int bits = 0;               ///< of packed codes; 0: dense weights
  DType dtype = DType::kF32;  ///< of dense weights
};

/// A row of the kernel tables that multiplies such weights.
struct KernelChoice {
  std::string name;
  std::string objection;  ///< why it does not run; empty for the one that does
};

/// All rows for weights of a kind, in order of preference, on this processor with `m` rows of inputs and the process's
/// activation precision. Exactly one has no objection: what Linear::forward() runs in binary32.
std::vector<KernelChoice> kernel_choices(const LinearKind& kind, std::int64_t m);
/// The name of that one.
std::string kernel_name(const LinearKind& kind, std::int64_t m);

}  // namespace awq::ops
