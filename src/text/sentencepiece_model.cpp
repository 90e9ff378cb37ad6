#include "text/sentencepiece_model.h"

#include <cmath>
#include <optional>
#include <utility>

#include "base/check.h"
#include "text/protobuf_reader.h"
#include "text/utf8.h"
#include "text/vocab.h"

namespace awq::text {
namespace {

SentencePieceModel::Piece read_piece(ProtobufReader reader, const std::string& where) {
  SentencePieceModel::Piece piece;
  while (const std::optional<ProtobufReader::Field> field = reader.next()) {
    if (field->number == 1) {
      piece.text = reader.bytes(*field);
    } else if (field->number == 2) {
      piece.score = reader.number(*field);
    } else if (field->number == 3) {
      const std::int64_t type = reader.integer(*field);
      if (type < 1 || type > 6) fail(ErrorCode::kCorruptFile, "{}: type: found {}, expected 1 to 6", where, type);
      piece.type = static_cast<SentencePieceModel::Type>(type);
    }
  }
  if (piece.text.empty() || valid_utf8_prefix(piece.text) != piece.text.size()) {
    fail(ErrorCode::kCorruptFile, "{}: piece: found \"{}\", expected valid UTF-8 that is not empty", where,
         printable(piece.text));
  }
  if (!std::isfinite(piece.score)) {
    fail(ErrorCode::kCorruptFile, "{}: score: found {}, expected a finite number", where, piece.score);
  }
  return piece;
}

void read_trainer(ProtobufReader reader, const std::string& name, SentencePieceModel& model) {
  std::int64_t model_type = 1;  // the default of the format is unigram
  while (const std::optional<ProtobufReader::Field> field = reader.next()) {
    switch (field->number) {
      case 3:
        model_type = reader.integer(*field);
        break;
      case 24:
        if (reader.boolean(*field)) {
          fail(ErrorCode::kUnsupported, "{}: trainer_spec.treat_whitespace_as_suffix is not implemented", name);
        }
        break;
      case 35:
        model.byte_fallback = reader.boolean(*field);
        break;
      case 40:
        model.unk_id = reader.integer(*field);
        break;
      case 41:
        model.bos_id = reader.integer(*field);
        break;
      case 42:
        model.eos_id = reader.integer(*field);
        break;
      default:
        break;
    }
  }
  if (model_type != 2) {
    fail(ErrorCode::kUnsupported, "{}: trainer_spec.model_type: found {} (1 unigram, 3 word, 4 char), expected 2 (BPE)",
         name, model_type);
  }
}

void read_normalizer_spec(ProtobufReader reader, const std::string& name, SentencePieceModel& model) {
  while (const std::optional<ProtobufReader::Field> field = reader.next()) {
    switch (field->number) {
      case 2:
        if (!reader.bytes(*field).empty()) {
          fail(ErrorCode::kUnsupported,
               "{}: normalizer_spec.precompiled_charsmap: found {} bytes, expected none (the identity rule)", name,
               field->bytes.size());
        }
        break;
      case 3:
        model.add_dummy_prefix = reader.boolean(*field);
        break;
      case 4:
        model.remove_extra_whitespaces = reader.boolean(*field);
        break;
      case 5:
        model.escape_whitespaces = reader.boolean(*field);
        break;
      default:
        break;
    }
  }
}

void refuse_denormalizer(ProtobufReader reader, const std::string& name) {
  while (const std::optional<ProtobufReader::Field> field = reader.next()) {
    if (field->number == 2 && !reader.bytes(*field).empty()) {
      fail(ErrorCode::kUnsupported, "{}: denormalizer_spec.precompiled_charsmap is not implemented", name);
    }
  }
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& name) {
  SentencePieceModel model;
  bool has_trainer = false;
  ProtobufReader reader(bytes, name);
  while (const std::optional<ProtobufReader::Field> field = reader.next()) {
    switch (field->number) {
      case 1:
        if (model.pieces.size() > static_cast<std::size_t>(kMaxTokenId)) {
          fail(ErrorCode::kCorruptFile, "{}: pieces: found more than {}", name, kMaxTokenId);
        }
        model.pieces.push_back(
            read_piece(reader.message(*field), fmt::format("{}: pieces[{}]", name, model.pieces.size())));
        break;
      case 2:
        read_trainer(reader.message(*field), name, model);
        has_trainer = true;
        break;
      case 3:
        read_normalizer_spec(reader.message(*field), name, model);
        break;
      case 5:
        refuse_denormalizer(reader.message(*field), name);
        break;
      default:
        break;
    }
  }
  if (model.pieces.empty()) fail(ErrorCode::kCorruptFile, "{}: pieces: found none, expected a vocabulary", name);
  if (!has_trainer) fail(ErrorCode::kUnsupported, "{}: no trainer_spec, so the model is unigram; expected BPE", name);
  return model;
}

}  // namespace awq::text
