#include "formats/checkpoint_index.h"

#include "base/check.h"
#include "file/json.h"

namespace awq::formats {
namespace {

constexpr std::size_t kMaxNameBytes = 255;  // what file systems take

/// Null when `name` is a plain file name that cannot lead out of the folder, else the reason in words.
const char* refuse_file_name(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kMaxNameBytes) return "is too long for a file name";
  if (name.find_first_of("/\\") != std::string_view::npos) return "contains a path separator";
  if (name.find('\0') != std::string_view::npos) return "contains a zero byte";
  if (name.find("..") != std::string_view::npos) return "contains \"..\"";
  if (!name.ends_with(".safetensors")) return "does not end in .safetensors";
  return nullptr;
}

}  // namespace

std::map<std::string, std::string> parse_checkpoint_index(std::string_view text, const std::string& name) {
  const file::Json document = file::parse_json<file::Json>(text, name);
  if (!document.is_object()) fail(ErrorCode::kCorruptFile, "{}: not a JSON object", name);
  const auto weight_map = document.find("weight_map");
  if (weight_map == document.end()) fail(ErrorCode::kCorruptFile, "{}: weight_map is missing", name);
  if (!weight_map->is_object()) fail(ErrorCode::kCorruptFile, "{}: weight_map is not an object", name);
  if (weight_map->empty()) fail(ErrorCode::kCorruptFile, "{}: weight_map is empty", name);
  std::map<std::string, std::string> files;
  for (const auto& [tensor, value] : weight_map->items()) {
    if (!value.is_string()) {
      fail(ErrorCode::kCorruptFile, "{}: weight_map[\"{}\"] is not a string", name, printable(tensor));
    }
    const std::string& file_name = value.get_ref<const std::string&>();
    if (const char* reason = refuse_file_name(file_name)) {
      fail(ErrorCode::kCorruptFile, "{}: weight_map[\"{}\"]: file name \"{}\" {}", name, printable(tensor),
           printable(file_name), reason);
    }
    files.emplace_hint(files.end(), tensor, file_name);
  }
  return files;
}

}  // namespace awq::formats
