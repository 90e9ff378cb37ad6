#pragma once

#include <cstdint>

namespace awq::ops {

/// How the inputs of quantized linears enter the product (docs/numerics.md): as they are, or as integers of 8 or 15
/// bits with one scale per 32 inputs. With integers a result does not depend on the batch, the threads or the
/// processor. kInt8 also rounds to bf16 what meets BF16 weights, and queries, keys, values and weights in attention,
/// where the processor has bf16 products; then a result does not depend on the batch or the threads.
enum class ActivationPrecision { kF32, kInt8, kInt15 };
/// Of all products of this process; kF32 until set. Not to be called while a product runs.
void set_activation_precision(ActivationPrecision precision);
ActivationPrecision activation_precision();
/// True when what meets other numbers than packed codes is rounded to bf16: kInt8, and bf16 products in the processor.
bool rounds_to_bf16();

}  // namespace awq::ops
