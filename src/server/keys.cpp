#include "server/keys.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "file/input_file.h"
#include "file/sha256.h"

namespace awq::server {
namespace {

constexpr std::uint64_t kMaxKeyFileBytes = 1 << 20;
constexpr std::string_view kScheme = "bearer ";

/// Looks at every byte, wherever the first difference is.
bool equal(const std::string& a, const std::string& b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

bool has_scheme(std::string_view value) {
  if (value.size() < kScheme.size()) return false;
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = value[i] >= 'A' && value[i] <= 'Z' ? static_cast<char>(value[i] - 'A' + 'a') : value[i];
    if (c != kScheme[i]) return false;
  }
  return true;
}

}  // namespace

Keys Keys::load(const std::filesystem::path& file) {
  Keys keys;
  if (!file.empty()) {
    const std::string text = file::read_text_file(file, kMaxKeyFileBytes);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string_view line = trimmed(std::string_view(text).substr(at, end - at));
      if (!line.empty()) keys.add(line);
      at = end + 1;
    }
    if (keys.empty()) fail(ErrorCode::kCorruptFile, "{}: expected a key on a line", file.string());
  }
  if (const char* key = std::getenv("AWQ_API_KEY"); key != nullptr && *key != '\0') keys.add(key);
  return keys;
}

void Keys::add(std::string_view key) {
  std::string digest = file::sha256_hex(key);
  if (std::find(digests_.begin(), digests_.end(), digest) == digests_.end()) digests_.push_back(std::move(digest));
}

std::optional<std::string> Keys::holder(std::string_view authorization, std::string_view api_key) const {
  if (digests_.empty()) return "";
  std::string_view key = api_key;
  if (has_scheme(authorization)) key = trimmed(authorization.substr(kScheme.size()));
  std::string digest = file::sha256_hex(key);
  bool found = false;
  for (const std::string& known : digests_) found |= equal(known, digest);
  if (!found) return std::nullopt;
  return digests_.size() > 1 ? std::move(digest) : std::string();
}

}  // namespace awq::server
