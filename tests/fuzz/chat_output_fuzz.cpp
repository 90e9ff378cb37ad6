// What a model says, taken apart into thoughts, calls and text. First byte of the input: the format of calls and what
// is looked for. However the text is cut, what a client puts together is the same; a call has a name before it has
// arguments; and where nothing is looked for, all of it is text.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "chat/output_parser.h"

namespace {

using namespace awq::chat;

OutputOptions options_of(std::uint8_t choice) {
  const auto formats = tool_formats();
  static const auto tools = std::make_shared<const awq::file::OrderedJson>(awq::file::OrderedJson::parse(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties":
          {"a": {"type": "string"}, "b": {"type": "integer"}}}}}])"));
  OutputOptions out;
  out.tools = formats[choice % formats.size()];
  choice = static_cast<std::uint8_t>(choice / formats.size());
  out.reasoning = (choice & 1) != 0;
  out.in_reasoning = (choice & 3) == 3;
  out.enforced = (choice & 4) != 0;
  if ((choice & 8) != 0) {
    out.tool_names = {"f"};
    out.tool_list = tools;
  }
  return out;
}

/// Pieces of one kind in a row, joined.
void join(std::vector<ChatDelta>& all, std::vector<ChatDelta> more) {
  for (ChatDelta& delta : more) {
    const bool same = !all.empty() && all.back().kind == delta.kind && delta.kind != ChatDelta::Kind::kToolStart &&
                      all.back().index == delta.index;
    if (same) {
      all.back().text += delta.text;
    } else {
      all.push_back(std::move(delta));
    }
  }
}

std::vector<ChatDelta> parse(std::string_view text, const OutputOptions& options, std::size_t piece) {
  OutputParser parser(options);
  std::vector<ChatDelta> out;
  for (std::size_t at = 0; at < text.size(); at += piece) join(out, parser.push(text.substr(at, piece)));
  join(out, parser.finish());
  int calls = 0;
  for (const ChatDelta& delta : out) {
    if (delta.kind == ChatDelta::Kind::kToolStart && (delta.index != calls++ || delta.name.empty())) std::abort();
    if (delta.kind == ChatDelta::Kind::kToolArguments && delta.index != calls - 1) std::abort();
  }
  if (calls != parser.call_count()) std::abort();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const OutputOptions options = options_of(data[0]);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::vector<ChatDelta> whole = parse(text, options, std::max<std::size_t>(text.size(), 1));
  for (const std::size_t piece : {1, 2, 7}) {
    if (parse(text, options, piece) != whole) std::abort();
  }
  if (options.tools == ToolFormat::kNone && !options.reasoning && parse_output(text, options).content != text)
    std::abort();
  return 0;
}
