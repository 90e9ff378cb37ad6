#pragma once

#include <string>

namespace awq::api {

/// Sets the number of threads (0: all that the process may use) for the work that follows; returns it. Steps that
/// decode run with `decode_threads` (0: as many).
int set_up_threads(int threads, int decode_threads = 0);

/// Sets how quantized linears take their inputs: "f32", "int8" or "int15". Throws Error{kInvalidArgument} for another
/// name.
void set_up_activations(const std::string& name);
/// True for a head of "int8", false for "stored"; throws Error{kInvalidArgument} for another name.
bool wants_int8_head(const std::string& name);
/// Opens the device that --device names and gives its number, -1 for the processor. Throws kInvalidArgument for another
/// name and for a `head` that a device does not have, kDevice where the device cannot be used.
int open_device(const std::string& name, const std::string& head);

}  // namespace awq::api
