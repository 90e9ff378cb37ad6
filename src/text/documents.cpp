#include "text/documents.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/check.h"
#include "file/input_file.h"
#include "file/json.h"

namespace awq::text {
namespace {

constexpr std::uint64_t kMaxTextBytes = 4ULL << 30;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // some editors begin a file with it; it is no text
constexpr std::string_view kSeparator = "<|endoftext|>";

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

void check_utf8(std::string_view text, const std::string& name) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  std::size_t at = 0;
  while (at < text.size()) {
    utf8proc_int32_t code = 0;
    const auto length = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size() - at, 4));
    const utf8proc_ssize_t used = utf8proc_iterate(bytes + at, length, &code);
    if (used <= 0) fail(ErrorCode::kCorruptFile, "{}: byte {} is not valid UTF-8", name, at);
    at += static_cast<std::size_t>(used);
  }
}

/// Calls `take(line, number)` for each line, without its line end.
template <typename Take>
void for_each_line(std::string_view text, Take take) {
  std::size_t number = 1;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    take(line, number++);
  }
}

std::string text_of_record(const file::Json& record, const std::string& where) {
  if (record.is_object() && record.contains("text") && record["text"].is_string())
    return record["text"].get<std::string>();
  if (!record.is_object() || !record.contains("messages") || !record["messages"].is_array()) {
    fail(ErrorCode::kCorruptFile, "{}: expected an object with a string \"text\" or a list \"messages\"", where);
  }
  std::string joined;
  for (const file::Json& message : record["messages"]) {
    if (!message.is_object() || !message.contains("content") || !message["content"].is_string()) {
      fail(ErrorCode::kCorruptFile, "{}: expected a string \"content\" in every message", where);
    }
    if (!joined.empty()) joined += "\n\n";
    joined += message["content"].get<std::string>();
  }
  return joined;
}

Documents read_jsonl(std::string_view text, const std::string& name) {
  Documents out;
  out.is_list = true;
  for_each_line(text, [&](std::string_view line, std::size_t number) {
    if (is_blank(line)) return;
    const std::string where = name + " line " + std::to_string(number);
    std::string document = text_of_record(file::parse_json(line, where), where);
    if (!is_blank(document)) out.texts.push_back(std::move(document));
  });
  return out;
}

void check_not_empty(const Documents& documents, const std::string& name) {
  if (documents.texts.empty()) fail(ErrorCode::kCorruptFile, "{}: holds no text", name);
}

}  // namespace

Documents split_documents(std::string_view text, const std::string& name) {
  check_utf8(text, name);
  Documents out;
  std::size_t begin = 0;
  std::size_t line_begin = 0;
  const auto take = [&](std::size_t end) {
    std::string_view piece = text.substr(begin, end - begin);
    // The line ends next to a separator belong to it.
    if (out.is_list && piece.ends_with('\n')) piece.remove_suffix(piece.ends_with("\r\n") ? 2 : 1);
    if (!is_blank(piece)) out.texts.emplace_back(piece);
  };
  while (line_begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', line_begin), text.size());
    std::string_view line = text.substr(line_begin, end - line_begin);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line == kSeparator) {
      out.is_list = true;
      take(line_begin);
      begin = std::min(end + 1, text.size());
    }
    line_begin = end + 1;
  }
  take(text.size());
  check_not_empty(out, name);
  return out;
}

Documents read_documents(const std::filesystem::path& path) {
  const std::string bytes = file::read_text_file(path, kMaxTextBytes);
  std::string_view text = bytes;
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (path.extension() != ".jsonl") return split_documents(text, path.string());
  Documents out = read_jsonl(text, path.string());
  check_not_empty(out, path.string());
  return out;
}

}  // namespace awq::text
