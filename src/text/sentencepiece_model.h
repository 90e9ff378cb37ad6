#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace awq::text {

/// What a tokenizer.model (sentencepiece_model.proto) says, checked.
struct SentencePieceModel {
  enum class Type : std::int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };
  std::vector<Piece> pieces;  ///< the index is the id
  bool byte_fallback = false;
  std::int64_t unk_id = 0;
  std::int64_t bos_id = 1;  ///< negative: none
  std::int64_t eos_id = 2;  ///< negative: none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Throws kCorruptFile, and kUnsupported for anything but BPE with an identity normalizer.
SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& name);

}  // namespace awq::text
