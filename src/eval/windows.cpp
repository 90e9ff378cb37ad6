#include "eval/windows.h"

#include <algorithm>

#include "base/check.h"

namespace awq::eval {

Windows make_windows(const text::Documents& documents, const text::Tokenizer& tokenizer, std::int64_t context,
                     std::int64_t max_tokens, std::int64_t vocab_size) {
  Windows windows;
  std::int64_t total = 0;
  const auto length = static_cast<std::size_t>(context);
  // False once the limit is reached.
  const auto add = [&](std::vector<std::int32_t> window) {
    if (window.size() < 2) return true;
    if (max_tokens > 0 && !windows.empty() && total + static_cast<std::int64_t>(window.size()) > max_tokens)
      return false;
    total += static_cast<std::int64_t>(window.size());
    windows.push_back(std::move(window));
    return true;
  };
  for (const std::string& text : documents.texts) {
    std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special_tokens = documents.is_list});
    if (documents.is_list || ids.size() < length) {
      if (ids.size() > length) ids.resize(length);
      if (!add(std::move(ids))) break;
      continue;
    }
    for (std::size_t begin = 0; begin + length <= ids.size(); begin += length) {
      if (!add({ids.begin() + static_cast<std::ptrdiff_t>(begin),
                ids.begin() + static_cast<std::ptrdiff_t>(begin + length)}))
        break;
    }
  }
  if (windows.empty()) fail(ErrorCode::kCorruptFile, "the evaluation text has fewer than two tokens");
  for (const auto& window : windows) {
    const auto bad =
        std::find_if(window.begin(), window.end(), [&](std::int32_t id) { return id < 0 || id >= vocab_size; });
    if (bad != window.end()) {
      fail(ErrorCode::kCorruptFile, "the tokenizer gives id {}, but the model has {} tokens (config.json vocab_size)",
           *bad, vocab_size);
    }
  }
  return windows;
}

std::int64_t token_count(const Windows& windows) {
  std::int64_t total = 0;
  for (const auto& window : windows) total += static_cast<std::int64_t>(window.size());
  return total;
}

}  // namespace awq::eval
