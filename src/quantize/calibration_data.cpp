#include "quantize/calibration_data.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "file/sha256.h"

namespace awq::quantize {
namespace {

/// `wanted` of `count` block numbers, in rising order.
std::vector<std::int64_t> choose_blocks(std::int64_t count, std::int64_t wanted, std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  if (count <= wanted) return order;
  std::vector<std::uint64_t> keys(order.size());
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = random_bits(seed, i);
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return std::pair(keys[static_cast<std::size_t>(a)], a) < std::pair(keys[static_cast<std::size_t>(b)], b);
  });
  order.resize(static_cast<std::size_t>(wanted));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

CalibrationSplit split_held_out(text::Documents documents) {
  CalibrationSplit out;
  out.calibration.is_list = out.held_out.is_list = documents.is_list;
  if (documents.is_list && documents.texts.size() >= 2) {
    const std::size_t last = documents.texts.size() - 1;
    for (std::size_t i = 0; i <= last; ++i) {
      const bool held = i % 10 == 9 || (last < 9 && i == last);
      (held ? out.held_out : out.calibration).texts.push_back(std::move(documents.texts[i]));
    }
    return out;
  }
  std::string& whole = documents.texts.front();
  std::size_t cut = whole.find('\n', whole.size() - whole.size() / 10);
  if (cut == std::string::npos || cut + 1 >= whole.size()) {
    out.calibration = std::move(documents);
    return out;
  }
  out.held_out.texts.push_back(whole.substr(cut + 1));
  whole.resize(cut + 1);
  out.calibration.texts.push_back(std::move(whole));
  return out;
}

CalibrationBlocks make_blocks(const text::Documents& documents, const text::Tokenizer& tokenizer,
                              std::int64_t max_blocks, std::int64_t length, std::uint64_t seed,
                              std::int64_t vocab_size) {
  std::vector<std::int32_t> all;
  for (const std::string& text : documents.texts) {
    const std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special_tokens = true});
    all.insert(all.end(), ids.begin(), ids.end());
  }
  const std::int64_t available = static_cast<std::int64_t>(all.size()) / length;
  if (available < kMinBlocks) {
    fail(ErrorCode::kCorruptFile, "the calibration text has {} tokens, {} blocks of {}; expected at least {} blocks",
         all.size(), available, length, kMinBlocks);
  }
  const auto bad = std::find_if(all.begin(), all.end(), [&](std::int32_t id) { return id < 0 || id >= vocab_size; });
  if (bad != all.end()) {
    fail(ErrorCode::kCorruptFile, "the tokenizer gives id {}, but the model has {} tokens (config.json vocab_size)",
         *bad, vocab_size);
  }
  CalibrationBlocks blocks;
  blocks.length = length;
  for (const std::int64_t block : choose_blocks(available, max_blocks, seed)) {
    blocks.ids.insert(blocks.ids.end(), all.begin() + block * length, all.begin() + (block + 1) * length);
    ++blocks.count;
  }
  blocks.digest = file::Sha256().update(std::as_bytes(std::span(blocks.ids))).hex();
  return blocks;
}

}  // namespace awq::quantize
