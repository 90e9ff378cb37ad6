#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace awq::cli {

/// Flags that every command takes.
struct CommonFlags {
  bool json = false;
  int threads = 0;
  std::string device = "cpu";
  std::string isa;
};

/// CLI11 turns "-1" for an unsigned option into a large number; this check, given to such an option, refuses it.
inline std::string refuse_sign(const std::string& value) {
  return value.starts_with("-") ? value + ": expected 0 or more" : std::string();
}

/// CLI11 turns a number beyond 64 bits into the largest one that fits; main() gives this check to every integer option.
inline std::string refuse_overflow(const std::string& value) {
  std::int64_t number = 0;
  std::uint64_t large = 0;
  const char* end = value.data() + value.size();
  const bool fits = std::from_chars(value.data(), end, number).ec != std::errc::result_out_of_range ||
                    std::from_chars(value.data(), end, large).ec != std::errc::result_out_of_range;
  return fits ? std::string() : value + ": too large a number";
}

/// An empty text is a variable of a script that was not set. Left out, the flag has a meaning of its own: no keys, no
/// encryption, another text. main() gives this check to every option that takes a text, but for those that may be
/// empty.
inline std::string refuse_empty(const std::string& value) {
  return value.empty() ? "is empty, expected a value" : std::string();
}

inline std::string refuse_other_than_share(const std::string& value) {
  double share = 0;
  const char* end = value.data() + value.size();
  const auto read = std::from_chars(value.data(), end, share);
  const bool within = read.ec == std::errc() && read.ptr == end && share > 0 && share <= 1;
  return within ? std::string() : value + ": expected more than 0, at most 1";
}

/// Decoding waits for memory, which fewer threads may saturate than a prompt can use.
inline void add_threads_decode_flag(CLI::App& app, int& threads) {
  app.add_option("--threads-decode", threads, "Threads of steps of one token per sequence (0: those of --threads)")
      ->capture_default_str();
}

/// How much memory of a device, and of that or of the processor, keys and values may take.
inline void add_device_memory_flags(CLI::App& app, double& utilization, std::uint64_t& kv_cache_bytes) {
  app.add_option("--gpu-memory-utilization", utilization, "Share of a device's memory that may be in use")
      ->capture_default_str()
      ->check(refuse_other_than_share, "");
  app.add_option("--kv-cache-memory-bytes", kv_cache_bytes, "Memory of the KV cache (0: from what is free)")
      ->capture_default_str()
      ->check(refuse_sign, "");
}

/// Of cached keys and values. Servers have the first name.
inline void add_kv_dtype_flag(CLI::App& app, std::string& kv_dtype) {
  app.add_option("--kv-cache-dtype,--kv-dtype", kv_dtype,
                 "Type of cached keys and values: auto, f32, bf16, f16, int8 or fp8; on a device auto, int8 or fp8")
      ->capture_default_str();
}
inline void add_dtype_flag(CLI::App& app, std::string& dtype) {
  app.add_option("--dtype", dtype, "Type of activations on a device: auto (the model's), f16 or bf16")
      ->capture_default_str();
}
inline void add_cuda_linear_flag(CLI::App& app, std::string& name) {
  app.add_option("--cuda-linear", name,
                 "4-bit linears on a device: exact, or fast: many tokens by way of 16-bit weights, which are rounded; "
                 "tokens may then depend on what else is in a step")
      ->capture_default_str();
}

/// One command of the program. add() declares its flags on `app`; the returned function does the work and gives the
/// exit status.
struct Command {
  const char* name;
  const char* summary;
  std::function<int()> (*add)(CLI::App& app, CommonFlags& common);
  bool on_device = false;  ///< takes --device cuda
};

/// All commands, in the order of the help text (commands.cpp).
std::span<const Command> commands();

}  // namespace awq::cli
