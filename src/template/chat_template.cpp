#include "template/chat_template.h"

#include <algorithm>

#include "base/check.h"
#include "file/input_file.h"
#include "template/json_value.h"
#include "template/lexer.h"
#include "template/parser.h"
#include "template/scope.h"

namespace awq::templates {
namespace {

using Json = file::OrderedJson;

constexpr std::uint64_t kMaxTemplateBytes = 4 << 20;
constexpr std::uint64_t kMaxConfigBytes = 64 << 20;
constexpr const char* kSpecialTokens[] = {"bos_token", "eos_token", "unk_token",  "sep_token",
                                          "pad_token", "cls_token", "mask_token", "additional_special_tokens"};
// What the renderer sets itself or gives a meaning of its own; a client cannot replace these.
constexpr const char* kReserved[] = {"messages",
                                     "tools",
                                     "documents",
                                     "add_generation_prompt",
                                     "chat_template",
                                     "tokenize",
                                     "conversation",
                                     "continue_final_message",
                                     "raise_exception",
                                     "namespace",
                                     "strftime_now",
                                     "range",
                                     "dict",
                                     "loop",
                                     "return_tensors",
                                     "return_dict"};

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  localtime_r(&now, &out);
  return out;
}

/// A special token is a text, or an object with its `content`.
Json token_text(const Json& value) {
  if (value.is_string()) return value;
  if (value.is_object() && value.contains("content") && value["content"].is_string()) return value["content"];
  if (!value.is_array()) return nullptr;
  Json out = Json::array();
  for (const Json& item : value) {
    if (Json text = token_text(item); text.is_string()) out.push_back(std::move(text));
  }
  return out;
}

/// Whether a template handles content that is a list of parts: it loops over something called content, or looks at
/// the `type` of what it loops over. Templates that do not would print such a list as Python does.
bool looks_into_parts(const Block& block) {
  const auto is_content = [](const Expr& e) {
    const Expr* at = &e;
    while (at->kind == ExprKind::kFilter && at->parts[0] != nullptr) at = at->parts[0].get();
    if (at->kind == ExprKind::kName || at->kind == ExprKind::kAttribute) return at->name == "content";
    return at->kind == ExprKind::kItem && at->parts[1]->value.is_string() &&
           at->parts[1]->value.as_string() == "content";
  };
  bool found = false;
  const std::function<void(const Block&)> walk = [&](const Block& inner) {
    for (const auto& stmt : inner) {
      if (stmt->kind == StmtKind::kFor && is_content(*stmt->expr)) found = true;
      for (const auto& branch : stmt->branches) walk(branch.second);
      walk(stmt->body);
      walk(stmt->otherwise);
      if (stmt->macro != nullptr) walk(stmt->macro->body);
    }
  };
  walk(block);
  return found;
}

/// The text of a list of parts, or nothing when one of them is not text.
std::optional<std::string> joined_text(const Json& parts) {
  std::string out;
  bool first = true;
  for (const Json& part : parts) {
    const bool text =
        part.is_object() && part.value("type", Json()) == "text" && part.contains("text") && part["text"].is_string();
    if (!text) return std::nullopt;
    if (!first) out += '\n';
    first = false;
    out += part["text"].get_ref<const std::string&>();
  }
  return out;
}

void parse_arguments(Json& message) {
  if (!message.contains("tool_calls") || !message["tool_calls"].is_array()) return;
  for (Json& call : message["tool_calls"]) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    Json& function = call["function"];
    if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
    try {
      Json parsed = file::parse_json<Json>(function["arguments"].get_ref<const std::string&>(), "arguments");
      if (parsed.is_object()) function["arguments"] = std::move(parsed);
    } catch (const Error&) {
      // Not JSON: the template sees the text as it is.
    }
  }
}

}  // namespace

void ChatTemplate::add(std::string name, std::string source, const std::string& file) {
  Variant variant{.name = std::move(name), .source = std::move(source)};
  variant.block = parse(variant.source, file);
  variant.reads_parts = looks_into_parts(variant.block);
  variants_.push_back(std::move(variant));
}

std::unique_ptr<ChatTemplate> ChatTemplate::from_source(
    std::string source, const std::string& name, std::vector<std::pair<std::string, std::string>> special_tokens) {
  std::unique_ptr<ChatTemplate> out(new ChatTemplate);
  out->name_ = name;
  out->add("default", std::move(source), name);
  for (auto& [token, text] : special_tokens) out->special_tokens_.emplace_back(token, std::move(text));
  return out;
}

std::unique_ptr<ChatTemplate> ChatTemplate::load(const std::filesystem::path& folder) {
  std::unique_ptr<ChatTemplate> out(new ChatTemplate);
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  const std::filesystem::path template_path = folder / "chat_template.jinja";
  Json config = Json::object();
  if (file::is_regular_file(config_path)) {
    config = file::read_json_file<Json>(config_path, {.max_bytes = kMaxConfigBytes});
    if (!config.is_object()) fail(ErrorCode::kCorruptFile, "{}: expected an object", config_path.string());
  }
  if (file::is_regular_file(template_path)) {
    out->name_ = template_path.filename().string();
    out->add("default", file::read_text_file(template_path, kMaxTemplateBytes), out->name_);
  } else if (const auto found = config.find("chat_template"); found != config.end() && !found->is_null()) {
    out->name_ = "tokenizer_config.json: chat_template";
    const auto text = [&](const Json& value) {
      if (!value.is_string()) fail(ErrorCode::kCorruptFile, "{}: expected a text or a list of named texts", out->name_);
      return value.get<std::string>();
    };
    if (!found->is_array()) {
      out->add("default", text(*found), out->name_);
    } else {
      for (const Json& entry : *found) {
        if (!entry.is_object()) fail(ErrorCode::kCorruptFile, "{}: expected a list of objects", out->name_);
        out->add(text(entry.value("name", Json())), text(entry.value("template", Json())), out->name_);
      }
    }
  }
  if (out->variants_.empty()) return nullptr;
  const std::filesystem::path map_path = folder / "special_tokens_map.json";
  const Json map = file::is_regular_file(map_path)
                       ? file::read_json_file<Json>(map_path, {.max_bytes = kMaxConfigBytes})
                       : Json::object();
  for (const char* name : kSpecialTokens) {
    Json value = config.contains(name) ? token_text(config[name]) : nullptr;
    if (value.is_null() && map.is_object() && map.contains(name)) value = token_text(map[name]);
    if (!value.is_null()) out->special_tokens_.emplace_back(name, std::move(value));
  }
  return out;
}

const ChatTemplate::Variant& ChatTemplate::variant(bool with_tools) const {
  const auto named = [&](std::string_view name) {
    return std::find_if(variants_.begin(), variants_.end(), [&](const Variant& v) { return v.name == name; });
  };
  if (const auto found = named("tool_use"); with_tools && found != variants_.end()) return *found;
  if (const auto found = named("default"); found != variants_.end()) return *found;
  return variants_.front();
}

const std::string& ChatTemplate::source(bool with_tools) const { return variant(with_tools).source; }

std::string ChatTemplate::special_token(std::string_view name) const {
  for (const auto& [token, value] : special_tokens_) {
    if (token == name && value.is_string()) return value.get<std::string>();
  }
  return {};
}

bool ChatTemplate::reads(std::string_view variable) const {
  return std::any_of(variants_.begin(), variants_.end(),
                     [&](const Variant& v) { return reads_name(v.block, variable); });
}

Json ChatTemplate::prepared(const Json& messages, const Variant& used) const {
  if (!messages.is_array() || messages.empty()) {
    fail(ErrorCode::kInvalidArgument, "messages: expected a list of at least one message");
  }
  Json out = messages;
  for (std::size_t i = 0; i < out.size(); ++i) {
    Json& message = out[i];
    const bool has_role = message.is_object() && message.contains("role") && message["role"].is_string();
    if (!has_role) fail(ErrorCode::kInvalidArgument, "messages[{}].role: expected a text", i);
    parse_arguments(message);
    if (!message.contains("content") || !message["content"].is_array() || used.reads_parts) continue;
    auto text = joined_text(message["content"]);
    if (!text) {
      fail(ErrorCode::kInvalidArgument, "messages[{}].content: expected text parts; this template takes no others", i);
    }
    message["content"] = std::move(*text);
  }
  return out;
}

std::string ChatTemplate::render(const Json& messages, const RenderOptions& options) const {
  if (options.add_generation_prompt && options.continue_final_message) {
    fail(ErrorCode::kInvalidArgument, "add_generation_prompt and continue_final_message exclude each other");
  }
  const bool with_tools = options.tools.is_array() && !options.tools.empty();
  const Variant& used = variant(with_tools);
  Json prepared_messages = prepared(messages, used);
  std::vector<std::pair<std::string, Value>> variables;
  for (const auto& [name, value] : special_tokens_) variables.emplace_back(name, from_json(value));
  if (options.variables.is_object()) {
    for (const auto& [name, value] : options.variables.items()) {
      const auto is_name = [&given = name](const char* reserved) { return given == reserved; };
      const bool taken = std::any_of(std::begin(kReserved), std::end(kReserved), is_name) ||
                         std::any_of(std::begin(kSpecialTokens), std::end(kSpecialTokens), is_name);
      if (taken) fail(ErrorCode::kInvalidArgument, "chat_template_kwargs.{}: cannot be set", printable(name, 40));
      if (reads_name(used.block, name)) variables.emplace_back(name, from_json(value));
    }
  }
  std::string final_text;
  if (options.continue_final_message) {
    const Json& last = prepared_messages.back();
    if (!last.contains("content") || !last["content"].is_string()) {
      fail(ErrorCode::kInvalidArgument, "continue_final_message: expected the last message to have a text");
    }
    final_text = last["content"].get<std::string>();
  }
  variables.emplace_back("messages", from_json(prepared_messages));
  variables.emplace_back("tools", with_tools ? from_json(options.tools) : Value());
  variables.emplace_back("documents", options.documents.is_array() ? from_json(options.documents) : Value());
  variables.emplace_back("add_generation_prompt", options.add_generation_prompt);
  std::string out = templates::render(used.block, name_, std::move(variables), options.limits,
                                      options.clock ? options.clock : local_time);
  if (!options.continue_final_message) return out;
  // What the template adds after the last message goes; it may have trimmed the message itself.
  std::string_view needle = strip_right(strip_left(final_text));
  const std::size_t at = out.rfind(needle);
  if (needle.empty() || at == std::string::npos) {
    fail(ErrorCode::kInvalidArgument, "continue_final_message: the template does not show the last message as it is");
  }
  const std::size_t whole = out.rfind(final_text);
  out.resize(whole != std::string::npos && whole + final_text.size() >= at + needle.size() ? whole + final_text.size()
                                                                                           : at + needle.size());
  return out;
}

}  // namespace awq::templates
