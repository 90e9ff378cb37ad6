#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/documents.h"
#include "text/tokenizer.h"

namespace awq::quantize {

/// The calibration text that comes with the program (calibration/ in the source), a list of documents.
std::string_view default_calibration_text();

/// A text split in two: what is calibrated on, and the tenth that quality is measured on.
struct CalibrationSplit {
  text::Documents calibration;
  text::Documents held_out;  ///< empty texts when there is nothing to hold out
};
/// Holds out every tenth document of a list, or the last tenth (at a line end) of a running text.
CalibrationSplit split_held_out(text::Documents documents);

struct CalibrationBlocks {
  std::vector<std::int32_t> ids;  ///< [count * length]
  std::int64_t count = 0;
  std::int64_t length = 0;
  std::string digest;  ///< of the ids: part of what a resumed run must share
};

/// Fewest blocks that statistics can be taken from.
inline constexpr std::int64_t kMinBlocks = 16;

/// Tokenizes every document (with the tokenizer's BOS), concatenates, and cuts into blocks of `length`; the tail is
/// dropped. Of more than `max_blocks` blocks, a selection that depends on `seed` alone is used, in text order.
/// Throws kCorruptFile for fewer than kMinBlocks, or an id outside `vocab_size`.
CalibrationBlocks make_blocks(const text::Documents& documents, const text::Tokenizer& tokenizer,
                              std::int64_t max_blocks, std::int64_t length, std::uint64_t seed,
                              std::int64_t vocab_size);

}  // namespace awq::quantize
