#pragma once

#include <cstdint>
#include <vector>

#include "text/documents.h"
#include "text/tokenizer.h"

namespace awq::eval {

/// Token sequences that are scored on their own: each predicts its tokens 1.. from those before.
using Windows = std::vector<std::vector<std::int32_t>>;

/// A list of documents: each with the tokenizer's BOS, cut at `context` tokens; documents of fewer than two tokens are
/// left out. One running text: encoded once without special tokens and cut into windows of `context` tokens without
/// overlap, the tail dropped (a text shorter than one window is one window).
/// `max_tokens` > 0 stops before the window that would pass it. Throws kCorruptFile when nothing can be scored, or an
/// id is outside `vocab_size`.
Windows make_windows(const text::Documents& documents, const text::Tokenizer& tokenizer, std::int64_t context,
                     std::int64_t max_tokens, std::int64_t vocab_size);

std::int64_t token_count(const Windows& windows);

}  // namespace awq::eval
