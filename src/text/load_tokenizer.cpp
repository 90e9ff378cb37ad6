#include <charconv>
#include <optional>
#include <string>

#include "base/check.h"
#include "file/input_file.h"
#include "file/json.h"
#include "text/json_field.h"
#include "text/json_tokenizer.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

namespace awq::text {
namespace {

constexpr std::uint64_t kMaxTokenizerBytes = 128ULL << 20;
constexpr std::uint64_t kMaxConfigBytes = 16ULL << 20;

AddedToken read_decoder_entry(const std::string& key, const JsonField& list) {
  std::int32_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size() || id < 0 || id > kMaxTokenId) {
    list.corrupt("the key \"" + key + "\"", fmt::format("an id from 0 to {}", kMaxTokenId));
  }
  return read_added_token(list.at(key), id);
}

SentencePieceSettings read_settings(const std::filesystem::path& config_path) {
  SentencePieceSettings settings;
  if (!file::is_regular_file(config_path)) return settings;
  const file::Json json = file::read_json_file(config_path, {.max_bytes = kMaxConfigBytes});
  const std::string name = config_path.string();
  const JsonField config(json, name);
  settings.add_bos_token = config.boolean_or("add_bos_token", true);
  settings.add_eos_token = config.boolean_or("add_eos_token", false);
  settings.legacy = config.boolean_or("legacy", true);
  if (const std::optional<JsonField> added = config.get("added_tokens_decoder")) {
    if (!added->is_object()) added->corrupt(added->json().type_name(), "an object");
    for (const auto& [key, value] : added->json().items()) {
      settings.added_tokens.push_back(read_decoder_entry(key, *added));
    }
  }
  return settings;
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& folder) {
  const std::filesystem::path json = folder / "tokenizer.json";
  if (file::is_regular_file(json)) return from_json(file::read_text_file(json, kMaxTokenizerBytes), json.string());
  const std::filesystem::path model = folder / "tokenizer.model";
  if (!file::is_regular_file(model)) {
    fail(ErrorCode::kNotFound, "{}: found neither tokenizer.json nor tokenizer.model", folder.string());
  }
  return make_sentencepiece_tokenizer(file::read_text_file(model, kMaxTokenizerBytes), model.string(),
                                      read_settings(folder / "tokenizer_config.json"));
}

}  // namespace awq::text
