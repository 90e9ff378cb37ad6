#include "model/config_reader.h"

#include <cmath>

#include "base/check.h"

namespace awq::model {

const file::Json* ConfigReader::find(const std::string& key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(const std::string& key) const { return find(key) != nullptr; }

bool ConfigReader::is_null(const std::string& key) const {
  const auto found = object_.find(key);
  return found != object_.end() && found->is_null();
}

void ConfigReader::wrong(const std::string& key, const char* expected) const {
  const file::Json* value = find(key);
  const std::string text = value == nullptr ? "missing" : file::to_line(*value);
  fail(ErrorCode::kCorruptFile, "{}: \"{}\" is {}, expected {}", file_, key, printable(text), expected);
}

std::int64_t ConfigReader::required_size(const std::string& key, std::int64_t max) const {
  const file::Json* value = find(key);
  if (value == nullptr || !value->is_number_integer()) wrong(key, "a whole number");
  // Unsigned numbers above 2^63 come back negative and fail the range below.
  const auto number = value->get<std::int64_t>();
  if (number < 1 || number > max) {
    fail(ErrorCode::kCorruptFile, "{}: \"{}\" is {}, expected a number from 1 to {}", file_, key, number, max);
  }
  return number;
}

std::int64_t ConfigReader::size_or(const std::string& key, std::int64_t fallback, std::int64_t max) const {
  return has(key) ? required_size(key, max) : fallback;
}

double ConfigReader::number_or(const std::string& key, double fallback) const {
  const file::Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) wrong(key, "a number");
  const double number = value->get<double>();
  if (!std::isfinite(number)) wrong(key, "a finite number");
  return number;
}

bool ConfigReader::bool_or(const std::string& key, bool fallback) const {
  const file::Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) wrong(key, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::string_or(const std::string& key, const std::string& fallback) const {
  const file::Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) wrong(key, "a string");
  return value->get<std::string>();
}

std::vector<std::int32_t> ConfigReader::ids(const std::string& key) const {
  const file::Json* value = find(key);
  if (value == nullptr) return {};
  const file::Json list = value->is_array() ? *value : file::Json::array({*value});
  std::vector<std::int32_t> out;
  for (const file::Json& item : list) {
    if (!item.is_number_integer() || item.get<std::int64_t>() < 0 || item.get<std::int64_t>() > kMaxSize) {
      wrong(key, "a token id or a list of token ids");
    }
    out.push_back(item.get<std::int32_t>());
  }
  return out;
}

std::optional<file::Json> ConfigReader::object(const std::string& key) const {
  const file::Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) wrong(key, "an object");
  return *value;
}

std::vector<std::string> ConfigReader::strings(const std::string& key) const {
  const file::Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) wrong(key, "a list of strings");
  std::vector<std::string> out;
  for (const file::Json& item : *value) {
    if (!item.is_string()) wrong(key, "a list of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

void ConfigReader::expect_string(const std::string& key, const std::string& expected) const {
  const std::string found = string_or(key, expected);
  if (found != expected) {
    fail(ErrorCode::kUnsupported, "{}: \"{}\" is \"{}\", only \"{}\" is supported for this architecture", file_, key,
         printable(found), expected);
  }
}

RopeConfig read_rope(const ConfigReader& in, const ModelConfig& config, double default_theta) {
  RopeConfig rope;
  // Newer files hold everything in rope_parameters; older ones have rope_theta beside rope_scaling.
  const auto parameters = in.object("rope_parameters");
  const auto scaling = parameters.has_value() ? parameters : in.object("rope_scaling");
  const file::Json empty = file::Json::object();
  const std::string where = in.file_name() + (parameters.has_value() ? " rope_parameters" : " rope_scaling");
  const ConfigReader r(scaling.has_value() ? *scaling : empty, where);
  rope.theta = r.number_or("rope_theta", in.number_or("rope_theta", default_theta));
  if (!(rope.theta > 0))
    fail(ErrorCode::kCorruptFile, "{}: \"rope_theta\" is {}, expected a positive number", in.file_name(), rope.theta);
  const std::string kind = r.string_or("rope_type", r.string_or("type", "default"));
  if (r.number_or("partial_rotary_factor", in.number_or("partial_rotary_factor", 1.0)) != 1.0) {
    fail(ErrorCode::kUnsupported, "{}: \"partial_rotary_factor\" other than 1 is not supported", in.file_name());
  }
  if (kind == "default") return rope;
  rope.factor = r.number_or("factor", 1.0);
  if (!(rope.factor >= 1.0))
    fail(ErrorCode::kCorruptFile, "{}: \"factor\" is {}, expected at least 1", where, rope.factor);
  rope.original_max_position_embeddings =
      in.size_or("original_max_position_embeddings",
                 r.size_or("original_max_position_embeddings", config.max_position_embeddings, std::int64_t{1} << 31),
                 std::int64_t{1} << 31);
  if (kind == "linear") {
    rope.kind = RopeConfig::Kind::kLinear;
  } else if (kind == "dynamic") {
    rope.kind = RopeConfig::Kind::kDynamic;
    if (r.has("alpha")) fail(ErrorCode::kUnsupported, "{}: dynamic scaling with \"alpha\" is not supported", where);
    rope.original_max_position_embeddings = config.max_position_embeddings;
  } else if (kind == "llama3") {
    rope.kind = RopeConfig::Kind::kLlama3;
    rope.low_freq_factor = r.number_or("low_freq_factor", 1.0);
    rope.high_freq_factor = r.number_or("high_freq_factor", 4.0);
    if (!(rope.low_freq_factor > 0) || !(rope.high_freq_factor > rope.low_freq_factor)) {
      fail(ErrorCode::kCorruptFile, "{}: low_freq_factor {} and high_freq_factor {}, expected 0 < low < high", where,
           rope.low_freq_factor, rope.high_freq_factor);
    }
  } else if (kind == "yarn") {
    rope.kind = RopeConfig::Kind::kYarn;
    rope.beta_fast = r.number_or("beta_fast", 32.0);
    rope.beta_slow = r.number_or("beta_slow", 1.0);
    if (r.has("attention_factor")) rope.attention_factor = r.number_or("attention_factor", 1.0);
    if (r.has("mscale")) rope.mscale = r.number_or("mscale", 1.0);
    if (r.has("mscale_all_dim")) rope.mscale_all_dim = r.number_or("mscale_all_dim", 1.0);
    rope.truncate = r.bool_or("truncate", true);
  } else {
    fail(ErrorCode::kUnsupported, "{}: rope type \"{}\", expected default, linear, dynamic, llama3 or yarn", where,
         printable(kind));
  }
  return rope;
}

ModelConfig read_llama_like(const ConfigReader& in, const ModelConfig& defaults) {
  ModelConfig c = defaults;
  c.hidden_size = in.required_size("hidden_size");
  c.intermediate_size = in.required_size("intermediate_size");
  c.num_hidden_layers = in.required_size("num_hidden_layers", 4096);
  c.num_attention_heads = in.required_size("num_attention_heads", 65536);
  // null means "as many as query heads"; a missing key means the class default where there is one.
  const std::int64_t missing_kv = defaults.num_key_value_heads > 0 && !in.is_null("num_key_value_heads")
                                      ? defaults.num_key_value_heads
                                      : c.num_attention_heads;
  c.num_key_value_heads = in.size_or("num_key_value_heads", missing_kv, 65536);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    fail(ErrorCode::kCorruptFile, "{}: \"num_attention_heads\" {} is not a multiple of \"num_key_value_heads\" {}",
         in.file_name(), c.num_attention_heads, c.num_key_value_heads);
  }
  if (!in.has("head_dim") && defaults.head_dim == 0 && c.hidden_size % c.num_attention_heads != 0) {
    fail(ErrorCode::kCorruptFile, "{}: \"hidden_size\" {} is not a multiple of \"num_attention_heads\" {}",
         in.file_name(), c.hidden_size, c.num_attention_heads);
  }
  c.head_dim =
      in.size_or("head_dim", defaults.head_dim > 0 ? defaults.head_dim : c.hidden_size / c.num_attention_heads, 65536);
  if (c.head_dim % 2 != 0) {
    fail(ErrorCode::kCorruptFile, "{}: \"head_dim\" {} is odd, rotary embedding needs pairs", in.file_name(),
         c.head_dim);
  }
  c.vocab_size = in.required_size("vocab_size",
                                  4'000'000);  // fifteen times the largest there is; drawing counts on less than 2^23
  c.max_position_embeddings =
      in.size_or("max_position_embeddings", defaults.max_position_embeddings, std::int64_t{1} << 31);
  c.rms_norm_eps = in.number_or("rms_norm_eps", defaults.rms_norm_eps);
  if (!(c.rms_norm_eps >= 0) || c.rms_norm_eps > 1) {
    fail(ErrorCode::kCorruptFile, "{}: \"rms_norm_eps\" is {}, expected 0 to 1", in.file_name(), c.rms_norm_eps);
  }
  c.tie_word_embeddings = in.bool_or("tie_word_embeddings", defaults.tie_word_embeddings);
  in.expect_string("hidden_act", "silu");
  c.rope = read_rope(in, c, defaults.rope.theta);
  c.eos_token_ids = in.ids("eos_token_id");
  if (const auto bos = in.ids("bos_token_id"); !bos.empty()) c.bos_token_id = bos.front();
  c.layer_window.assign(static_cast<std::size_t>(c.num_hidden_layers), 0);
  return c;
}

}  // namespace awq::model
