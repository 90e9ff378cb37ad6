#pragma once

#include <string_view>

namespace awq {

/// Instruction sets in rising order; each includes the ones before it on x86-64.
enum class Isa { kScalar, kAvx2, kAvx512, kAvx512Vnni, kAmx };

/// What kernels may use: what the processor has, capped by AWQ_ISA or cap_isa().
Isa active_isa();
/// Lowers the cap ("scalar", "avx2", "avx512", "avx512vnni", "amx"). Call before the first kernel is chosen.
/// Throws kInvalidArgument for another name.
void cap_isa(std::string_view name);
std::string_view isa_name(Isa isa);
/// True when an x86-64 processor has no AVX2 (with FMA and F16C): kernels are scalar though the cap allows more.
bool lacks_vector_instructions();
/// True when bf16 dot products run in hardware and the cap allows them.
bool has_native_bf16();
/// Instructions outside the rising order: VNNI on 256 bits without AVX-512, the two of Arm's byte dot products.
bool has_avx_vnni();
/// True where additions of bytes run in vector ports that products do not use, and reading keeps up with them: AMD's
/// Zen 4. (Zen 5 does twice as much a cycle in its ports and reads no more.)
bool has_free_additions();
bool has_arm_dot_product();
bool has_arm_int8_matrix();
/// Processors this process may use: affinity mask and container quota, at least 1.
int usable_processors();

}  // namespace awq
