#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "grammar/compile.h"

namespace awq::grammar {

/// All single bytes, some longer pieces that cross the boundaries of grammars, and an end of sequence (the last id).
inline std::shared_ptr<const Vocabulary> test_vocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* more :
       {"{\"",          "\":",  "\": ",   "\",", "\"}", "}}", "[[",  "],",   "true",     "false",
        "null",         "123",  "0.",     "-1",  "e+",  "ab", "abc", "name", "\xC3\xA9", "\xE4\xBD\xA0\xE5\xA5\xBD",
        "\xF0\x9F\x98", "\\u",  "\\\"",   "\n ", "  ",  "20", "-0",  "T1",   ":3",       "{}",
        "[]",           "\"\"", "\", \"", "yes", "no",  "ye"}) {
    tokens.emplace_back(more);
  }
  tokens.emplace_back("<eos>");
  const std::int32_t eos = static_cast<std::int32_t>(tokens.size()) - 1;
  return std::make_shared<const Vocabulary>(std::move(tokens), std::vector<std::int32_t>{eos});
}

inline std::shared_ptr<CompiledGrammar> compiled(const Grammar& grammar) {
  static const std::shared_ptr<const Vocabulary> vocabulary = test_vocabulary();
  return std::make_shared<CompiledGrammar>(grammar, vocabulary);
}

/// Whether the grammar has exactly this text.
inline bool matches(const Grammar& grammar, std::string_view text) {
  Matcher matcher(compiled(grammar));
  return matcher.accept_bytes(text) && matcher.can_end();
}

inline std::vector<std::int32_t> allowed_ids(Matcher& matcher, const Vocabulary& vocabulary) {
  std::vector<std::uint32_t> mask(vocabulary.mask_words());
  matcher.allowed(mask);
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    if ((mask[i / 32] >> (i % 32) & 1) != 0) out.push_back(static_cast<std::int32_t>(i));
  }
  return out;
}

/// Follows random allowed tokens to an end; texts that grow long are steered to it by taking the end where it is
/// allowed. Empty when there was no end within `steps`.
inline std::string random_walk(const std::shared_ptr<CompiledGrammar>& grammar, std::mt19937_64& random, int steps,
                               bool& ended) {
  const Vocabulary& vocabulary = grammar->vocabulary();
  Matcher matcher(grammar);
  std::string out;
  ended = false;
  for (int i = 0; i < steps; ++i) {
    const std::vector<std::int32_t> ids = allowed_ids(matcher, vocabulary);
    if (ids.empty()) return out;
    std::int32_t id = ids[random() % ids.size()];
    // Closing brackets and quotes get the better half of the choices, or random JSON would never end.
    if (random() % 2 == 0) {
      for (const std::int32_t candidate : ids) {
        const std::string& text = vocabulary.bytes(candidate);
        if (vocabulary.is_eos(candidate) || text == "\"" || text == "}" || text == "]") id = candidate;
      }
    }
    if (!matcher.accept(id)) return out + "<an allowed token was refused>";
    if (vocabulary.is_eos(id)) {
      ended = true;
      return out;
    }
    out += vocabulary.bytes(id);
    if (matcher.finished()) {
      ended = true;
      return out;
    }
  }
  return out;
}

}  // namespace awq::grammar
