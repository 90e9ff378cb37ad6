#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/tokenizer.h"

namespace awq::text {

/// What tokenizer_config.json adds to a tokenizer.model.
struct SentencePieceSettings {
  bool add_bos_token = true;
  bool add_eos_token = false;
  /// Every run between special tokens gets the leading space of the model, not only the first one.
  bool legacy = true;
  std::vector<AddedToken> added_tokens;
};

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(std::string_view bytes, const std::string& name,
                                                        const SentencePieceSettings& settings);

}  // namespace awq::text
