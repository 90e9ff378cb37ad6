#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace awq {

/// What one client, or all of them together, may ask of the server. Every field is a row of serve_limits(): that is
/// where its flag, range, status and meaning are written.
struct ServeLimits {
  // Connections and HTTP framing.
  std::int64_t max_connections = 4096;
  std::int64_t max_connections_per_address = 2048;
  std::int64_t max_request_line_bytes = 8192;
  std::int64_t max_header_bytes = 32768;
  std::int64_t max_headers = 100;
  std::int64_t max_body_bytes = 8 << 20;
  std::int64_t max_total_body_bytes = 256 << 20;
  std::int64_t max_pipelined_bytes = 64 << 10;
  std::int64_t max_stream_buffer_bytes = 1 << 20;
  std::int64_t max_json_depth = 32;
  std::int64_t max_json_values = 1'000'000;
  // Deadlines, in milliseconds.
  std::int64_t head_timeout_ms = 10'000;
  std::int64_t body_timeout_ms = 30'000;
  std::int64_t idle_timeout_ms = 75'000;
  std::int64_t write_timeout_ms = 20'000;
  std::int64_t queue_timeout_ms = 120'000;
  std::int64_t request_timeout_ms = 3'600'000;
  std::int64_t drain_timeout_ms = 30'000;
  // Work.
  std::int64_t max_requests = 1024;
  std::int64_t max_queued_tokens = 1 << 22;
  std::int64_t max_prompt_tokens = 1 << 20;
  std::int64_t max_output_tokens = 1 << 20;
  std::int64_t max_prompts = 1024;
  std::int64_t max_n = 128;
  std::int64_t max_choices_per_request = 1024;
  std::int64_t max_logprobs = 20;
  std::int64_t max_stop_strings = 16;
  std::int64_t max_stop_bytes = 1024;
  std::int64_t max_stop_token_ids = 128;
  std::int64_t max_logit_bias = 1024;
  std::int64_t max_bad_words = 128;
  std::int64_t max_messages = 4096;
  std::int64_t max_tools = 128;
  std::int64_t max_schema_bytes = 64 << 10;
  std::int64_t max_pattern_bytes = 8 << 10;
  std::int64_t max_grammar_bytes = 64 << 10;
  std::int64_t max_choices = 1024;
  std::int64_t max_grammar_states = 400'000;
  std::int64_t max_grammar_work = 2'000'000;
  std::int64_t max_template_steps = 10'000'000;
  std::int64_t max_template_bytes = 32 << 20;
};

/// One row of the table of limits.
struct ServeLimitInfo {
  const char* name;  ///< the flag without its dashes, and the label `limit` of the metrics
  std::int64_t ServeLimits::*field;
  std::int64_t min, max;  ///< of a setting; `max` is the hard cap
  int status;             ///< of the answer to a request beyond it; 0: the connection is closed
  const char* help;
};

std::span<const ServeLimitInfo> serve_limits();

struct ServeOptions {
  std::filesystem::path model;
  std::string host = "127.0.0.1";
  int port = 8000;                                 ///< 0: any that is free
  std::filesystem::path api_key_file;              ///< one key per line; AWQ_API_KEY in the environment is one more
  bool allow_no_key = false;                       ///< listen beyond loopback without a key
  bool open_metrics = false;                       ///< /metrics without the key
  std::filesystem::path tls_certificate, tls_key;  ///< PEM; both or none
  std::vector<std::string> served_model_names;     ///< empty: the folder's name
  std::filesystem::path chat_template;             ///< a file that replaces the model's template
  std::string tool_call_parser = "auto";           ///< auto, none, or a format of docs/chat.md
  std::string reasoning_parser = "auto";           ///< auto, none, think
  std::string generation_config = "auto";          ///< auto: the model's file; none; or a folder
  std::string override_generation_config;          ///< a JSON object, or empty
  std::int64_t max_model_len = 0;                  ///< 0: the model's context, or what fits
  std::int64_t max_num_seqs = 64;
  std::int64_t max_num_batched_tokens = 0;  ///< 0: 512, on a device 2048
  std::string device = "cpu";               ///< "cpu", "cuda", "cuda:N", or "auto": a device where there is one
  double gpu_memory_utilization = 0.9;      ///< share of a device's memory that may be in use
  std::uint64_t kv_cache_memory_bytes = 0;  ///< 0: within half of the free memory, or by gpu_memory_utilization
  std::string dtype = "auto";               ///< of activations on a device: the model's ("auto"), "f16" or "bf16"
  /// 4-bit linears on a device: "exact", or "fast": many tokens by way of 16-bit weights, whose results then depend on
  /// how many there are.
  std::string cuda_linear = "exact";
  std::string kv_dtype = "auto";     ///< of the cache, as in GenerateOptions
  std::string activations = "int8";  ///< inputs of quantized linears: int8 (one scale per 32), int15 or f32
  std::string head = "stored";       ///< output matrix as stored, or rounded to int8 at load
  bool prefix_caching = true;
  std::int64_t spec_tokens = 0;       ///< guessed per step by prompt lookup; 0: off
  bool prompt_tokens_details = true;  ///< usage names the cached tokens
  bool page = true;                   ///< the chat page at /
  int worker_threads = 2;             ///< that parse, tokenize and format
  int threads = 0;                    ///< of the kernels
  int threads_decode = 0;             ///< of steps of one token per sequence; 0: as many
  std::string log_level = "info";     ///< debug, info, warning, error, off
  ServeLimits limits;
  std::function<void(const std::string& url, int port)> on_ready;  ///< once it accepts connections
};

/// Serves a model over HTTP until a stop is requested (awq/runtime.h), then drains. Throws awq::Error: for what cannot
/// be started, kDevice when the engine failed, and kInterrupted after a drain that a signal asked for.
void serve_model(const ServeOptions& options);

}  // namespace awq
