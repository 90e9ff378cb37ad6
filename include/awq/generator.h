#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace awq {

struct GenerateOptions {
  std::filesystem::path model;
  std::string prompt;
  std::vector<std::int32_t> prompt_ids;  ///< used instead of `prompt` when not empty
  std::int64_t max_tokens = 128;
  double temperature = 0;  ///< 0: greedy
  std::int64_t top_k = 0;  ///< 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  std::string device = "cpu";               ///< "cpu", "cuda", "cuda:N", or "auto": a device where there is one
  double gpu_memory_utilization = 0.9;      ///< share of a device's memory that may be in use
  std::uint64_t kv_cache_memory_bytes = 0;  ///< of a device; 0: what gpu_memory_utilization leaves
  std::string dtype = "auto";               ///< of activations on a device: the model's ("auto"), "f16" or "bf16"
  /// 4-bit linears on a device: "exact", or "fast": many tokens by way of 16-bit weights, whose results then depend on
  /// how many there are.
  std::string cuda_linear = "exact";
  /// Of cached keys and values: auto, f32, bf16, f16, int8 or fp8. "auto" is f16; on a device it is the type of
  /// activations, beside which there are int8 and fp8.
  std::string kv_dtype = "auto";
  std::int64_t spec_ngram = 0;  ///< tokens guessed per step from earlier text, at most 15; changes the speed alone
  int threads = 0;
  int threads_decode = 0;  ///< of steps of one token; 0: as many
  /// Inputs of quantized linears: "int8" (one scale per 32), "int15" or "f32".
  std::string activations = "int8";
  std::string head = "stored";                      ///< output matrix as "stored", or rounded to "int8" at load
  std::function<void(const std::string&)> on_text;  ///< pieces as they come
};

struct GenerateSummary {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  ///< of the prompt, kept from earlier turns of a conversation and not computed again
  std::int64_t completion_tokens = 0;
  std::string text;
  std::vector<std::int32_t> token_ids;  ///< the new tokens
  std::string finish_reason;            ///< "stop", "length" or "interrupted"
  double load_seconds = 0;
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;
  std::uint64_t peak_rss_bytes = 0;
};

/// Continues a prompt with any checkpoint that this program reads. Throws awq::Error.
GenerateSummary generate_text(const GenerateOptions& options);

}  // namespace awq
