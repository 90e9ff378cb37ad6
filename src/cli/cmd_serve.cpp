#include <fmt/format.h>

#include <memory>

#include "awq/server.h"
#include "cli/commands.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

int run(ServeOptions& options, const CommonFlags& common) {
  options.threads = common.threads;
  options.device = common.device;
  options.on_ready = [&](const std::string& url, int port) {
    if (common.json) {
      file::OrderedJson out;
      out["url"] = url;
      out["port"] = port;
      print_json(out);
      std::fflush(stdout);
    } else {
      print_note("serving at " + url);
    }
  };
  serve_model(options);
  return 0;
}

/// A flag that turns something off. ("!--name" says the same to CLI11, which then shows "--name{false}".)
void add_off_flag(CLI::App& app, const char* name, bool& value, const char* help) {
  app.add_flag_callback(
      name, [&value] { value = false; }, help);
}

void add_engine_flags(CLI::App& app, ServeOptions& o) {
  app.add_option("--max-model-len", o.max_model_len, "Tokens of one sequence (0: the model's context, or what fits)")
      ->capture_default_str();
  app.add_option("--max-num-seqs", o.max_num_seqs, "Sequences in one step")->capture_default_str();
  app.add_option("--max-num-batched-tokens", o.max_num_batched_tokens, "Tokens in one step (0: 512, on a device 2048)")
      ->capture_default_str();
  add_device_memory_flags(app, o.gpu_memory_utilization, o.kv_cache_memory_bytes);
  add_kv_dtype_flag(app, o.kv_dtype);
  add_dtype_flag(app, o.dtype);
  add_cuda_linear_flag(app, o.cuda_linear);
  add_threads_decode_flag(app, o.threads_decode);
  app.add_option("--activations", o.activations,
                 "Inputs of linears: int8 (bf16 for BF16 weights and in attention), int15 (those as they are) or f32")
      ->capture_default_str();
  app.add_option("--head", o.head, "Output matrix: as stored, or rounded to int8 at load")->capture_default_str();
  add_off_flag(app, "--no-prefix-caching", o.prefix_caching, "Compute every prompt from its beginning");
  app.add_option("--spec-tokens", o.spec_tokens, "Tokens guessed per step from earlier text (0: none)")
      ->capture_default_str();
}

void add_limit_flags(CLI::App& app, ServeOptions& o) {
  for (const ServeLimitInfo& row : serve_limits()) {
    std::string status = row.status == 0 ? "the connection is closed" : fmt::format("{}", row.status);
    if (row.field == &ServeLimits::max_stream_buffer_bytes) status = "the request rests";
    app.add_option(fmt::format("--{}", row.name), o.limits.*row.field,
                   fmt::format("{} (beyond: {}; {} to {})", row.help, status, row.min, row.max))
        ->capture_default_str()
        ->group("Limits");
  }
}

}  // namespace

std::function<int()> add_serve(CLI::App& app, CommonFlags& common) {
  auto options = std::make_shared<ServeOptions>();
  ServeOptions& o = *options;
  app.add_option("model", o.model, "Model folder")->required();
  app.add_option("--host", o.host, "Address to listen at; beyond loopback a key is asked for")->capture_default_str();
  app.add_option("--port", o.port, "Port (0: any that is free)")->capture_default_str();
  app.add_option("--api-key-file", o.api_key_file, "Keys, one per line (AWQ_API_KEY in the environment is one more)");
  app.add_flag("--allow-no-key", o.allow_no_key, "Listen beyond loopback without a key");
  app.add_flag("--open-metrics", o.open_metrics, "/metrics needs no key");
  app.add_option("--tls-cert", o.tls_certificate, "Certificate chain, PEM");
  app.add_option("--tls-key", o.tls_key, "Its key, PEM");
  app.add_option("--served-model-name", o.served_model_names,
                 "Name in the API (default: that of the folder); may be given again")
      ->allow_extra_args(false);
  app.add_option("--chat-template", o.chat_template, "File that replaces the model's chat template");
  app.add_option("--tool-call-parser", o.tool_call_parser,
                 "auto, none, hermes, llama3_json, mistral, mistral_named, qwen3_coder or glm45")
      ->capture_default_str();
  app.add_option("--reasoning-parser", o.reasoning_parser, "auto, none or think")->capture_default_str();
  app.add_option("--generation-config", o.generation_config, "Sampling defaults: auto (the model's), none, or a folder")
      ->capture_default_str();
  app.add_option("--override-generation-config", o.override_generation_config, "JSON object that goes over them");
  app.add_option("--workers", o.worker_threads, "Threads that parse, tokenize and format")->capture_default_str();
  app.add_option("--log-level", o.log_level, "debug, info, warning, error or off")->capture_default_str();
  add_off_flag(app, "--no-page", o.page, "No chat page at /");
  add_off_flag(app, "--no-prompt-tokens-details", o.prompt_tokens_details, "Leave cached tokens out of usage");
  add_engine_flags(app, o);
  add_limit_flags(app, o);
  return [options, &common] { return run(*options, common); };
}

}  // namespace awq::cli
