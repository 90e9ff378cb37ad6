#include "server/startup.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>

#include "awq/version.h"
#include "base/check.h"
#include "base/cpu_features.h"
#include "base/resources.h"
#include "engine/engine_core.h"
#include "engine/language_step_model.h"
#include "file/input_file.h"
#include "file/sha256.h"
#include "gpu/load.h"
#include "ops/kernel_choice.h"
#include "ops/kv_dtype.h"

namespace awq::server {
namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::uint64_t kMaxTemplateBytes = 4 << 20;
constexpr int kMaxWorkers = 64;
constexpr std::int64_t kDefaultBatchedTokens = 512;

std::string size(std::uint64_t bytes) {
  constexpr double kGiB = 1 << 30, kMiB = 1 << 20;
  const auto value = static_cast<double>(bytes);
  return value >= kGiB ? fmt::format("{:.2f} GiB", value / kGiB) : fmt::format("{:.1f} MiB", value / kMiB);
}

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, " and ")); }

/// The kernels of the layers' linears for `m` tokens, each once.
std::string cpu_kernels(const model::LanguageModel& model, std::int64_t m) {
  std::vector<std::string> names;
  for (const model::DecoderLayer& layer : model.layers()) {
    for (const ops::Linear& linear : layer.linears) {
      std::string name = ops::kernel_name({.bits = linear.packed_bits(), .dtype = linear.dtype()}, m);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }
  }
  return joined(names);
}

}  // namespace

void check_options(const ServeOptions& o) {
  check_limits(o.limits);
  if (o.port < 0 || o.port > 65535) fail(ErrorCode::kInvalidArgument, "--port {}: expected 0 to 65535", o.port);
  if (o.worker_threads < 1 || o.worker_threads > kMaxWorkers)
    fail(ErrorCode::kInvalidArgument, "--workers {}: expected 1 to {}", o.worker_threads, kMaxWorkers);
  if (o.tls_certificate.empty() != o.tls_key.empty())
    fail(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key: expected both or none");
  for (const std::string& name : o.served_model_names) {
    if (name.empty()) fail(ErrorCode::kInvalidArgument, "--served-model-name: expected a name");
  }
}

engine::EngineOptions engine_options(const ServeOptions& o, bool on_device) {
  engine::EngineOptions out;
  out.kv_dtype = ops::kv_dtype_of_processor(o.kv_dtype);
  out.kv_cache_memory_bytes = o.kv_cache_memory_bytes;
  out.max_model_len = o.max_model_len;
  out.max_num_seqs = o.max_num_seqs;
  out.max_num_batched_tokens = o.max_num_batched_tokens;
  if (out.max_num_batched_tokens == 0) {
    out.max_num_batched_tokens = on_device ? gpu::kDefaultBatchedTokens : kDefaultBatchedTokens;
  }
  out.max_waiting_requests = o.limits.max_requests + o.limits.max_prompts;  // a request may have that many prompts
  out.max_waiting_tokens = o.limits.max_queued_tokens;
  out.prefix_caching = o.prefix_caching;
  out.constraint_work_per_step = o.limits.max_grammar_work;
  out.spec_tokens = o.spec_tokens;
  out.limits.max_n = o.limits.max_n;
  out.limits.max_logprobs = o.limits.max_logprobs;
  out.limits.max_stop_ids = o.limits.max_stop_token_ids;
  out.limits.max_bias = o.limits.max_logit_bias;
  out.limits.max_bad_words = o.limits.max_bad_words;
  return out;
}

LoadedModel load_model(const ServeOptions& o, const model::ModelFiles& files, int device) {
  LoadedModel out;
  out.options = engine_options(o, device >= 0);
  engine::check_sizes(out.options);
  gpu::ModelOptions on_device = gpu::model_options(o.dtype, o.cuda_linear, device >= 0);
  if (device < 0) {
    auto model = std::make_unique<model::LanguageModel>(files, o.head == "int8");
    out.weight_bytes = model->bytes_per_token();
    out.decode_kernels = cpu_kernels(*model, 1);
    out.prefill_kernels = cpu_kernels(*model, out.options.max_num_batched_tokens);
    out.model = std::make_unique<engine::LanguageStepModel>(std::move(model), out.options);
    out.runs_on = isa_name(active_isa());
    out.kv_type = ops::kv_dtype_name(out.options.kv_dtype);
    return out;
  }
  const device::Properties properties = device::open(device);
  on_device.f32_as = gpu::f32_activation_type(files);
  on_device.kv_dtype = ops::parse_kv_dtype(o.kv_dtype);
  auto model = gpu::load_step_model(files, on_device,
                                    {.max_model_len = o.max_model_len,
                                     .max_num_seqs = o.max_num_seqs,
                                     .max_num_batched_tokens = out.options.max_num_batched_tokens,
                                     .memory_utilization = o.gpu_memory_utilization,
                                     .cache_memory_bytes = o.kv_cache_memory_bytes,
                                     .graphs = gpu::graphs_by_environment()});
  out.weight_bytes = model->model().bytes_per_token();
  out.decode_kernels = joined(model->model().linear_kernels(1));
  out.prefill_kernels = joined(model->model().linear_kernels(out.options.max_num_batched_tokens));
  out.runs_on = gpu::describe(properties, model->model().type());
  out.kv_type = ops::kv_dtype_name(model->model().kv_dtype());
  out.model = std::move(model);
  return out;
}

GenerationDefaults load_defaults(const ServeOptions& o) {
  GenerationDefaults defaults;
  if (o.generation_config != "none" && o.generation_config != "vllm") {
    const bool automatic = o.generation_config == "auto";
    const std::filesystem::path folder = automatic ? o.model : std::filesystem::path(o.generation_config);
    const std::filesystem::path path = folder / "generation_config.json";
    if (std::filesystem::exists(path)) {
      merge_defaults(defaults, file::read_json_file<OrderedJson>(path, {.max_bytes = kMaxConfigBytes}), path.string());
    } else if (!automatic) {
      fail(ErrorCode::kNotFound, "{}: not found (--generation-config)", path.string());
    }
  }
  if (!o.override_generation_config.empty()) {
    const std::string name = "--override-generation-config";
    try {
      merge_defaults(defaults, file::parse_json<OrderedJson>(o.override_generation_config, name), name);
    } catch (const Error& error) {
      throw Error(ErrorCode::kInvalidArgument, error.message());
    }
  }
  return defaults;
}

std::unique_ptr<ChatFormat> load_chat_format(const ServeOptions& o, const text::Tokenizer& tokenizer) {
  std::unique_ptr<templates::ChatTemplate> chat_template;
  if (o.chat_template.empty()) {
    chat_template = templates::ChatTemplate::load(o.model);
  } else {
    std::vector<std::pair<std::string, std::string>> special;
    const std::filesystem::path config = o.model / "tokenizer_config.json";
    if (std::filesystem::exists(config)) {
      const OrderedJson json = file::read_json_file<OrderedJson>(config, {.max_bytes = kMaxConfigBytes});
      for (const char* name : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
        if (!json.contains(name)) continue;
        const OrderedJson& token = json[name];
        if (token.is_string()) special.emplace_back(name, token.get<std::string>());
        if (token.is_object() && token.contains("content") && token["content"].is_string())
          special.emplace_back(name, token["content"].get<std::string>());
      }
    }
    chat_template = templates::ChatTemplate::from_source(file::read_text_file(o.chat_template, kMaxTemplateBytes),
                                                         o.chat_template.string(), std::move(special));
  }
  if (!chat_template) return nullptr;
  return std::make_unique<ChatFormat>(std::move(chat_template), tokenizer, o.tool_call_parser, o.reasoning_parser);
}

ServedModel describe_model(const ServeOptions& o, const model::ModelFiles& files, const text::Tokenizer& tokenizer,
                           engine::Engine& engine, const std::string& runs_on) {
  ServedModel out;
  std::filesystem::path folder = std::filesystem::absolute(o.model).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();
  const std::string own_name = folder.filename().string();
  out.names = o.served_model_names;
  if (out.names.empty()) out.names = {own_name};
  out.root = own_name;
  constexpr std::size_t kHashDigits = 8;
  out.fingerprint =
      fmt::format("awq-{}-{}", kVersion, file::sha256_hex(files.config_json().dump() + runs_on).substr(0, kHashDigits));
  out.created = std::time(nullptr);
  out.max_model_len = engine.limits().max_model_len;
  out.vocab_size = files.config().vocab_size;
  out.eos_ids = files.config().eos_token_ids;
  out.tokenizer = &tokenizer;
  out.engine = &engine;
  return out;
}

void add_vocabularies(ServedModel& served, const text::Tokenizer& tokenizer) {
  served.vocabulary = std::make_shared<grammar::Vocabulary>(tokenizer, served.eos_ids, served.vocab_size);
  served.call_vocabulary = served.vocabulary;
  if (served.chat == nullptr) return;
  const std::vector<std::string> markers = chat::tool_markers(served.chat->tools());
  if (!markers.empty())
    served.call_vocabulary =
        std::make_shared<grammar::Vocabulary>(tokenizer, served.eos_ids, served.vocab_size, markers);
}

std::map<std::string, std::string> cache_labels(const ServeOptions& options, const engine::Engine& engine,
                                                const std::string& kv_type) {
  const engine::EngineStats stats = engine.stats();
  return {{"block_size", std::to_string(stats.kv_block_tokens)},
          {"num_gpu_blocks", std::to_string(stats.kv_blocks_total)},
          {"cache_dtype", kv_type},
          {"enable_prefix_caching", engine.options().prefix_caching ? "True" : "False"},
          {"gpu_memory_utilization", fmt::format("{}", options.gpu_memory_utilization)}};
}

std::string start_line(const model::ModelFiles& files, const engine::Engine& engine, const LoadedModel& loaded) {
  const engine::EngineStats stats = engine.stats();
  const std::int64_t tokens = stats.kv_blocks_total * stats.kv_block_tokens;
  return fmt::format(
      "{}: {} of weights read per token, on {}; linears by {} for one token, {} for {}; KV cache {} ({}) for {} "
      "tokens, the longest context that fits; {} tokens per sequence (the model's context: {}), {} sequences, {} "
      "tokens "
      "per step; {} resident",
      files.config().architecture, size(loaded.weight_bytes), loaded.runs_on, loaded.decode_kernels,
      loaded.prefill_kernels, engine.options().max_num_batched_tokens, size(stats.kv_bytes_total), loaded.kv_type,
      tokens, engine.limits().max_model_len, engine::cached_context(files.config()), engine.options().max_num_seqs,
      engine.options().max_num_batched_tokens, size(peak_rss_bytes()));
}

}  // namespace awq::server
