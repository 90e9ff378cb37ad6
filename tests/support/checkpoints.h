#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "file/json.h"
#include "support/paths.h"

namespace awq::test {

/// Folders of the committed tiny models.
inline std::vector<std::filesystem::path> golden_models() {
  std::vector<std::filesystem::path> out;
  for (const char* name : {"llama", "mistral", "qwen2", "qwen3"}) {
    out.push_back(std::filesystem::path(AWQ_SOURCE_DIR) / "tests/golden/models" / name);
  }
  return out;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Makes `to` a copy of a model folder, weights linked, with keys of config.json replaced (shallow; null is null).
inline void derive_model(const std::filesystem::path& from, const std::filesystem::path& to,
                         const file::Json& config_overrides) {
  std::filesystem::create_directories(to);
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (name == "config.json" || name == "golden.json") continue;
    std::filesystem::create_symlink(std::filesystem::absolute(entry.path()), to / name);
  }
  file::Json config = file::read_json_file(from / "config.json");
  for (const auto& [key, value] : config_overrides.items()) config[key] = value;
  write_bytes(to / "config.json", config.dump(2));
}

/// tokenizer.json of a byte-level BPE with ids below `vocab_size` for the lower-case letters, the blank and the line
/// end; the first id is BOS and is put before every text. Enough for models with tiny vocabularies.
inline std::string tiny_tokenizer_json() {
  file::Json vocab;
  vocab["<s>"] = 0;
  int next = 1;
  for (char c = 'a'; c <= 'z'; ++c) vocab[std::string(1, c)] = next++;
  vocab["\u0120"] = next++;  // the blank
  vocab["\u010A"] = next++;  // the line end
  const file::Json bos = {{"id", 0},         {"content", "<s>"}, {"special", true},    {"single_word", false},
                          {"lstrip", false}, {"rstrip", false},  {"normalized", false}};
  const file::Json single = file::Json::array(
      {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}});
  const file::Json post = {
      {"type", "TemplateProcessing"},
      {"single", single},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", file::Json::array({0})}, {"tokens", {"<s>"}}}}}}};
  return file::Json{{"version", "1.0"},
                    {"added_tokens", file::Json::array({bos})},
                    {"normalizer", nullptr},
                    {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
                    {"post_processor", post},
                    {"decoder", {{"type", "ByteLevel"}}},
                    {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", file::Json::array()}}}}
      .dump();
}

}  // namespace awq::test
