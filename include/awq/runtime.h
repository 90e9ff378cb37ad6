#pragma once

#include <string>

namespace awq {

/// Caps the instruction set that kernels may use: "scalar", "avx2", "avx512", "avx512vnni" or "amx". Call before any
/// other work. Throws Error{kInvalidArgument} for another name.
void set_instruction_set(const std::string& name);
/// What is wrong with this machine for speed, as a line for the user: an x86-64 processor without AVX2. Empty where all
/// is well or the cap asks for it. Call after set_instruction_set().
std::string processor_warning();

/// Asks running work to stop at its next safe point; it then throws Error{kInterrupted}. Safe in a signal handler, but
/// no handler may run on a thread that computes: oneDNN's f32 kernels point the stack pointer into a heap buffer, which
/// the handler's frame would overwrite. Block signals in those threads and wait for them in another (src/cli/main.cpp).
void request_stop(int signal_number) noexcept;
/// Number given to request_stop(), 0 when no stop was asked for.
int requested_stop() noexcept;
/// Takes the request back, for a caller that ends one piece of work and goes on with the next.
void clear_stop() noexcept;

}  // namespace awq
