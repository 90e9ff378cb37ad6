// Chat templates: any bytes as a template, rendered on a fixed conversation with small budgets. The result is valid
// UTF-8 or an error; the same twice.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "awq/error.h"
#include "template/chat_template.h"
#include "text/utf8.h"

namespace {

std::string outcome(std::string_view source) {
  static const auto messages = awq::file::parse_json<awq::file::OrderedJson>(
      R"([{"role":"system","content":"s"},{"role":"user","content":" h\u00e9 "},
          {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"a":[1,2.5,null]}}}]}])",
      "messages");
  try {
    const auto chat = awq::templates::ChatTemplate::from_source(std::string(source), "fuzz", {{"bos_token", "<s>"}});
    awq::templates::RenderOptions options;
    options.tools = messages;
    options.limits = {.steps = 20'000, .output_bytes = 1 << 16, .range_length = 1000, .depth = 100};
    options.clock = [] { return std::tm{}; };
    const std::string text = chat->render(messages, options);
    if (awq::text::valid_utf8_prefix(text) != text.size()) std::abort();
    return text;
  } catch (const awq::Error& error) {
    const awq::ErrorCode code = error.code();
    const bool expected = code == awq::ErrorCode::kInvalidArgument || code == awq::ErrorCode::kCorruptFile ||
                          code == awq::ErrorCode::kUnsupported;
    if (!expected) std::abort();
    return error.message();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  if (outcome(source) != outcome(source)) std::abort();
  return 0;
}
